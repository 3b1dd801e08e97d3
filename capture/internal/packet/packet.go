// Package packet reads the TCP packets of a capture file (pcap, pcapng) or of a live interface: it takes off the link layer and
// IP, puts IP fragments together, and counts what could not be read.
package packet

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

// Packet is one TCP segment as it was captured. What its slices point to is valid until the next packet is read into it.
type Packet struct {
	At      time.Time // when it was seen, to the nanosecond where the capture has them; UTC
	From    netip.Addr
	To      netip.Addr
	TCP     layers.TCP // decoded; TCP.Payload is what was captured of the payload
	Missing int        // bytes of the payload that followed TCP.Payload on the wire, and that the capture left out
}

// Reader reads the TCP packets of a capture file. It is not safe for concurrent use.
type Reader struct {
	// Secrets, where it is set, is given the TLS key log text of each secrets block before the packets that follow it. The text
	// is the callee's to keep. To be set before the first Next.
	Secrets func(keylog []byte)

	container container
	frame     frame
	decoder   *decoder
	end       error // what ended the capture: every later Next returns it
}

// container is a file format that holds frames.
type container interface {
	// next reads the next frame: io.EOF behind the last one, errCut where the file ends within one.
	next(f *frame) error
}

// frame is a packet with its link layer, as a container holds it.
type frame struct {
	at     time.Time
	link   int    // the LINKTYPE_ value of https://www.tcpdump.org/linktypes.html
	data   []byte // valid until the next frame is read
	length int    // on the wire: at least len(data)
}

// Open recognises the format of a capture file: pcap or pcapng, as it is or in gzip or zstd. It reads forward only; loss is
// added to as Next goes on. An error says what the file seems to be.
func Open(r io.Reader, loss exchange.Loss) (*Reader, error) {
	in, err := newInput(r)
	if err != nil {
		return nil, err
	}
	reader := &Reader{decoder: newDecoder(loss)}
	reader.container, err = openContainer(in, reader)
	return reader, err
}

// Next reads the next TCP packet into p and skips all others. It returns io.EOF behind the last one, also where the file ends
// within a packet (FileTruncated); of a corrupt file the error names the byte.
func (r *Reader) Next(p *Packet) error {
	if r.end != nil {
		return r.end
	}
	for {
		if err := r.container.next(&r.frame); err != nil {
			return r.finish(err)
		}
		if r.decoder.decode(&r.frame, p) {
			return nil
		}
	}
}

func (r *Reader) finish(err error) error {
	if errors.Is(err, errCut) {
		r.decoder.loss.Add(exchange.FileTruncated, 1)
		err = io.EOF
	}
	r.decoder.finish()
	r.end = err
	return err
}
