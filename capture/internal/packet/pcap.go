package packet

import (
	"encoding/binary"
	"errors"
	"time"
)

// The magics of pcap (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html, section 4), in the file's byte order.
const (
	magicMicroseconds = 0xa1b2c3d4
	magicNanoseconds  = 0xa1b23c4d
)

const (
	pcapFileHeader   = 24
	pcapPacketHeader = 16
)

// pcap is a pcap file behind its header.
type pcap struct {
	in    *input
	order binary.ByteOrder
	unit  int64 // of a stamp's fraction, in nanoseconds
	link  int
}

func openPcap(in *input, order binary.ByteOrder, unit int64) (container, error) {
	head, err := in.peek(pcapFileHeader)
	if errors.Is(err, errCut) {
		return nil, errors.New("the pcap file ends within its header")
	}
	if err != nil {
		return nil, err
	}
	// The upper half of the link type tells of frame check sequences, which the lengths of IP leave out.
	link := int(order.Uint32(head[20:]) & 0xffff)
	return &pcap{in, order, unit, link}, in.skip(pcapFileHeader)
}

func (c *pcap) next(f *frame) error {
	head, err := c.in.peek(pcapPacketHeader)
	if err != nil {
		return err
	}
	captured, length := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	if captured > maxPacket {
		return c.in.corrupt("a packet of %d bytes (more than %d)", captured, maxPacket)
	}
	record, err := c.in.peek(pcapPacketHeader + int(captured))
	if err != nil {
		return err
	}
	f.at = time.Unix(int64(c.order.Uint32(record)), int64(c.order.Uint32(record[4:]))*c.unit).UTC()
	f.link = c.link
	f.data = record[pcapPacketHeader:]
	f.length = max(int(length), int(captured))
	return c.in.skip(int64(len(record)))
}
