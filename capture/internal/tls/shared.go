package tls

// The bounds of what is held, in bytes.
const (
	maxHeld     = 128 << 10 // of a connection, for a hello or for keys
	maxHeldAll  = 32 << 20  // of all connections
	eventCost   = 96        // of an event that is held, whatever it carries
	maxFree     = 64        // buffers kept for the next record
	firstBuffer = 2048
)

// shared is what all connections of a capture use, one at a time.
type shared struct {
	plain []byte   // where a record is decrypted
	free  [][]byte // buffers for records that come in parts
	held  int      // bytes held by all connections
}

func newShared() shared { return shared{plain: make([]byte, 0, maxRecord)} }

func (h *shared) buffer() []byte {
	if n := len(h.free); n > 0 {
		b := h.free[n-1]
		h.free = h.free[:n-1]
		return b
	}
	return make([]byte, 0, firstBuffer)
}

func (h *shared) giveBack(b []byte) {
	if cap(b) > 0 && len(h.free) < maxFree {
		h.free = append(h.free, b[:0])
	}
}
