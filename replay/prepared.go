package replay

import (
	"unsafe"

	"umbra/internal/traffic"
	"umbra/replay/internal/http2"
)

// preparedSlots is how many requests' bytes are kept; inline is up to which size a body is sent together with its head.
const (
	preparedSlots = 1 << 8
	inline        = 16 << 10
)

// prepared keeps the bytes of the requests that were last sent, so that one that is sent again only gets its id patched
// in. A slot keeps its request, so the address that it is found by is no other's.
type prepared struct {
	slots   [preparedSlots]preparedRequest
	blocks  bool // HTTP/2: a header block, without the body
	closing bool // HTTP/1.1: the server is told to close after it
	scheme  string
}

type preparedRequest struct {
	request *traffic.Request
	bytes   []byte
	idAt    int
}

// bytes gives the request's bytes, valid until the next call, and what of the body is not among them.
func (p *prepared) bytes(id string, r *traffic.Request) (head, body []byte) {
	slot := &p.slots[uintptr(unsafe.Pointer(r))>>5%preparedSlots]
	if slot.request == r && len(id) == idLength {
		copy(slot.bytes[slot.idAt:], id)
	} else {
		p.prepare(slot, id, r)
	}
	if p.blocks || len(r.Body) > inline {
		return slot.bytes, r.Body
	}
	return slot.bytes, nil
}

func (p *prepared) prepare(slot *preparedRequest, id string, r *traffic.Request) {
	slot.request = r
	if len(id) != idLength {
		slot.request = nil // nothing can be patched in
	}
	if p.blocks {
		slot.bytes, slot.idAt = http2.AppendHead(slot.bytes[:0], p.scheme, r, id)
		return
	}
	slot.bytes, slot.idAt = appendRequest(slot.bytes[:0], id, r, p.closing)
	if len(r.Body) <= inline {
		slot.bytes = append(slot.bytes, r.Body...)
	}
}
