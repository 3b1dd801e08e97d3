package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"umbra/capture/internal/exchange"
)

// Block types of pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html, section 11.1).
const (
	blockSection    = 0x0a0d0d0a // reads the same in both byte orders
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 0x0a
)

const (
	byteOrderMagic = 0x1a2b3c4d
	tlsKeyLog      = 0x544c534b // a secrets block's type: the text of an SSLKEYLOGFILE

	optionEnd        = 0
	optionDropCount  = 4  // of an enhanced packet
	optionIfDrop     = 5  // of statistics
	optionOSDrop     = 7  // of statistics
	optionResolution = 9  // of an interface
	optionOffset     = 14 // of an interface

	blockFrame = 12 // type and length in front of a block, and its length again behind

	maxSecrets    = 16 << 20 // a secrets block: the keys of more than 10,000 connections
	maxInterfaces = 1 << 16  // of a section
)

// pcapng is a pcapng file.
type pcapng struct {
	in         *input
	loss       exchange.Loss
	secrets    func(keylog []byte)
	order      binary.ByteOrder // of the section
	interfaces []captureInterface
	last       time.Time // when the last packet was seen
}

// captureInterface is what a section says of one of its interfaces.
type captureInterface struct {
	link    int
	snap    int    // bytes kept of a packet; 0 for no limit
	second  uint64 // units of its stamps
	offset  int64  // seconds, to be added to them
	between int64  // packets dropped, as the packets behind tell
	total   int64  // packets dropped, as the statistics tell
}

func openPcapng(in *input, loss exchange.Loss, secrets func(keylog []byte)) (container, error) {
	c := &pcapng{in: in, loss: loss, secrets: secrets, last: time.Unix(0, 0).UTC()}
	err := c.section()
	if errors.Is(err, errCut) {
		return nil, errors.New("the pcapng file ends within its header")
	}
	return c, err
}

func (c *pcapng) next(f *frame) error {
	for {
		head, err := c.in.peek(8)
		if err != nil {
			return err
		}
		found, err := c.block(f, c.order.Uint32(head), c.order.Uint32(head[4:]))
		if err != nil || found {
			return err
		}
	}
}

// block reads a block and tells whether it held a packet.
func (c *pcapng) block(f *frame, kind, length uint32) (bool, error) {
	if kind == blockSection {
		return false, c.section()
	}
	if length < blockFrame || length%4 != 0 {
		return false, c.in.corrupt("a block of %d bytes", length)
	}
	switch kind {
	case blockEnhanced, blockPacket, blockSimple, blockInterface, blockStatistics:
		return c.held(f, kind, length)
	case blockSecrets:
		return false, c.keys(length)
	}
	return false, c.pass(length)
}

// pass skips a block that is not read.
func (c *pcapng) pass(length uint32) error {
	if err := c.in.skip(int64(length) - 4); err != nil {
		return err
	}
	return c.closing(length)
}

// closing reads the length behind a block.
func (c *pcapng) closing(length uint32) error {
	tail, err := c.in.peek(4)
	if errors.Is(err, io.EOF) {
		return errCut
	}
	if err != nil {
		return err
	}
	if again := c.order.Uint32(tail); again != length {
		return c.in.corrupt("a block of %d bytes that ends as one of %d", length, again)
	}
	return c.in.skip(4)
}

// section begins a section: its byte order is its own, and so are its interfaces.
func (c *pcapng) section() error {
	head, err := c.in.peek(16)
	if err != nil {
		return err
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(head[8:]):
		c.order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[8:]):
		c.order = binary.BigEndian
	default:
		return c.in.corrupt("a section of unknown byte order (% x)", head[8:12])
	}
	if major := c.order.Uint16(head[12:]); major != 1 {
		return fmt.Errorf("byte %d: a pcapng section of version %d: only version 1 is read", c.in.offset, major)
	}
	length := c.order.Uint32(head[4:])
	if length < 28 || length%4 != 0 {
		return c.in.corrupt("a section header of %d bytes", length)
	}
	c.interfaces = c.interfaces[:0]
	return c.pass(length)
}

// held reads a block that fits into the buffer: those of interfaces and packets.
func (c *pcapng) held(f *frame, kind, length uint32) (bool, error) {
	if length > maxBlock {
		return false, c.in.corrupt("a block of %d bytes (more than %d)", length, maxBlock)
	}
	block, err := c.in.peek(int(length))
	if err != nil {
		return false, err
	}
	if again := c.order.Uint32(block[length-4:]); again != length {
		return false, c.in.corrupt("a block of %d bytes that ends as one of %d", length, again)
	}
	body := block[8 : length-4]
	packet := true
	switch kind {
	case blockEnhanced:
		err = c.enhanced(f, body)
	case blockSimple:
		err = c.simple(f, body)
	case blockPacket:
		err = c.obsolete(f, body)
	case blockStatistics:
		packet, err = false, c.statistics(body)
	case blockInterface:
		packet, err = false, c.newInterface(body)
	}
	if err != nil {
		return false, err
	}
	return packet, c.in.skip(int64(length))
}

// newInterface reads an interface description.
func (c *pcapng) newInterface(body []byte) error {
	if len(body) < 8 {
		return c.in.corrupt("an interface description of %d bytes", len(body))
	}
	if len(c.interfaces) == maxInterfaces {
		return c.in.corrupt("a section of more than %d interfaces", maxInterfaces)
	}
	i := captureInterface{link: int(c.order.Uint16(body)), snap: int(c.order.Uint32(body[4:])), second: 1e6}
	for kind, value := range c.options(body[8:]) {
		switch {
		case kind == optionResolution && len(value) >= 1:
			if i.second = unitsPerSecond(value[0]); i.second == 0 {
				return c.in.corrupt("an interface whose stamps have the resolution %#x", value[0])
			}
		case kind == optionOffset && len(value) >= 8:
			i.offset = int64(c.order.Uint64(value))
		}
	}
	c.interfaces = append(c.interfaces, i)
	return nil
}

// unitsPerSecond reads an if_tsresol: a negative power of 10, or of 2 where the first bit is set. It is 0 where 64 bits do not
// hold it.
func unitsPerSecond(resolution byte) uint64 {
	if resolution&0x80 != 0 {
		return 1 << (resolution & 0x7f)
	}
	if resolution > 19 {
		return 0
	}
	units := uint64(1)
	for range resolution {
		units *= 10
	}
	return units
}

// time gives the instant of a stamp.
func (i *captureInterface) time(stamp uint64) time.Time {
	seconds, rest := stamp/i.second, stamp%i.second
	high, low := bits.Mul64(rest, 1e9) // rest < second, so the quotient is below 1e9
	nanoseconds, _ := bits.Div64(high, low, i.second)
	return time.Unix(int64(seconds)+i.offset, int64(nanoseconds)).UTC()
}

func (c *pcapng) enhanced(f *frame, body []byte) error {
	if len(body) < 20 {
		return c.in.corrupt("a packet block of %d bytes", len(body))
	}
	number := c.order.Uint32(body)
	rest, err := c.packet(f, number, body[4:])
	if err != nil {
		return err
	}
	for kind, value := range c.options(rest) {
		if kind == optionDropCount && len(value) >= 8 {
			c.dropped(number, c.order.Uint64(value))
		}
	}
	return nil
}

// obsolete reads a packet block as it was before the enhanced one.
func (c *pcapng) obsolete(f *frame, body []byte) error {
	if len(body) < 20 {
		return c.in.corrupt("a packet block of %d bytes", len(body))
	}
	number := uint32(c.order.Uint16(body))
	if _, err := c.packet(f, number, body[4:]); err != nil {
		return err
	}
	if drops := c.order.Uint16(body[2:]); drops != 0xffff { // which says that nobody knows
		c.dropped(number, uint64(drops))
	}
	return nil
}

// packet reads what both kinds of packet blocks have in common, from the stamp on, and gives the options behind.
func (c *pcapng) packet(f *frame, number uint32, b []byte) ([]byte, error) {
	if uint64(number) >= uint64(len(c.interfaces)) {
		return nil, c.in.corrupt("a packet of interface %d, of which nothing was said before", number)
	}
	i := &c.interfaces[number]
	stamp := uint64(c.order.Uint32(b))<<32 | uint64(c.order.Uint32(b[4:]))
	captured, length := c.order.Uint32(b[8:]), c.order.Uint32(b[12:])
	b = b[16:]
	if uint64(captured) > uint64(len(b)) {
		return nil, c.in.corrupt("a packet of %d bytes in a block that has room for %d", captured, len(b))
	}
	f.at = i.time(stamp)
	f.link = i.link
	f.data = b[:captured]
	f.length = max(int(length), int(captured))
	c.last = f.at
	return b[min(len(b), (int(captured)+3)&^3):], nil
}

// simple reads a packet block without a stamp: it was not seen before the packet in front of it, which is all that is known.
func (c *pcapng) simple(f *frame, body []byte) error {
	if len(c.interfaces) == 0 || len(body) < 4 {
		return c.in.corrupt("a simple packet block of %d bytes, with %d interfaces", len(body), len(c.interfaces))
	}
	i := &c.interfaces[0]
	f.length = int(c.order.Uint32(body))
	captured := f.length
	if i.snap > 0 {
		captured = min(captured, i.snap)
	}
	if captured > len(body)-4 {
		return c.in.corrupt("a packet of %d bytes in a block that has room for %d", captured, len(body)-4)
	}
	f.at = c.last
	f.link = i.link
	f.data = body[4 : 4+captured]
	return nil
}

// statistics reads what an interface dropped since the begin of the capture.
func (c *pcapng) statistics(body []byte) error {
	if len(body) < 12 {
		return c.in.corrupt("a statistics block of %d bytes", len(body))
	}
	number := c.order.Uint32(body)
	if uint64(number) >= uint64(len(c.interfaces)) {
		return c.in.corrupt("statistics of interface %d, of which nothing was said before", number)
	}
	i := &c.interfaces[number]
	var total uint64
	for kind, value := range c.options(body[12:]) {
		if (kind == optionIfDrop || kind == optionOSDrop) && len(value) >= 8 {
			total += min(c.order.Uint64(value), 1<<48)
		}
	}
	before := i.drops()
	i.total = max(i.total, int64(total))
	c.loss.Add(exchange.PacketsDropped, i.drops()-before)
	return nil
}

// dropped tells that n packets were dropped in front of one.
func (c *pcapng) dropped(number uint32, n uint64) {
	i := &c.interfaces[number]
	before := i.drops()
	i.between = min(i.between+int64(min(n, 1<<48)), 1<<48)
	c.loss.Add(exchange.PacketsDropped, i.drops()-before)
}

// drops is how many packets were dropped: statistics count again what packets told one by one.
func (i *captureInterface) drops() int64 { return max(i.between, i.total) }

// options ranges over a block's options; those behind one that is cut are left out.
func (c *pcapng) options(b []byte) func(yield func(kind uint16, value []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			kind, length := c.order.Uint16(b), int(c.order.Uint16(b[2:]))
			if kind == optionEnd || 4+length > len(b) || !yield(kind, b[4:4+length]) {
				return
			}
			b = b[min(len(b), 4+(length+3)&^3):]
		}
	}
}

// keys hands on the key log of a secrets block, and skips secrets of other kinds.
func (c *pcapng) keys(length uint32) error {
	if length < blockFrame+8 {
		return c.in.corrupt("a secrets block of %d bytes", length)
	}
	head, err := c.in.peek(16)
	if err != nil {
		return err
	}
	kind, size := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	if size > length-blockFrame-8 {
		return c.in.corrupt("secrets of %d bytes in a block of %d", size, length)
	}
	if kind != tlsKeyLog {
		return c.pass(length)
	}
	if size > maxSecrets {
		return c.in.corrupt("a key log of %d bytes (more than %d)", size, maxSecrets)
	}
	if err := c.in.skip(16); err != nil {
		return err
	}
	keylog, err := c.in.copy(int64(size))
	if err != nil {
		return err
	}
	c.secrets(keylog)
	if err := c.in.skip(int64(length - 16 - size - 4)); err != nil {
		return err
	}
	return c.closing(length)
}
