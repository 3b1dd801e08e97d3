package packet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxPacket bounds a captured packet. Tools capture 256 KiB of each by default, and the largest that Linux hands out is
	// 512 KiB (GSO_MAX_SIZE).
	maxPacket = 1 << 20

	// maxBlock bounds what a container holds at once: a packet with what stands around it.
	maxBlock = maxPacket + 1<<16

	// usualBlock is what is read at once: more than most packets, and so little that it stays in a processor's cache.
	usualBlock = 128 << 10

	// maxWindow is what the zstd tool takes without --memory.
	maxWindow = 128 << 20
)

// errCut is the end of a file within a packet.
var errCut = errors.New("the file ends within a packet")

// input reads a file forward through one buffer, and knows where it stands.
type input struct {
	buffer     *bufio.Reader
	offset     int64  // of the next byte
	compressed string // names the compression; then offset counts unpacked bytes
}

// newInput unpacks what is packed.
func newInput(r io.Reader) (*input, error) {
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the file is empty: expected a capture (pcap or pcapng)")
	}
	unpacked, compressed, err := unpack(head[:n], io.MultiReader(bytes.NewReader(head[:n]), r))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", compressed, err)
	}
	return &input{buffer: bufio.NewReaderSize(unpacked, usualBlock), compressed: compressed}, nil
}

// unpack knows gzip (RFC 1952) and zstd (RFC 8878, also with a skippable frame in front) by their magic.
func unpack(head []byte, r io.Reader) (io.Reader, string, error) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		return z, "gzip", err
	case len(head) == 4 && (binary.LittleEndian.Uint32(head) == 0xfd2fb528 || binary.LittleEndian.Uint32(head)>>4 == 0x184d2a5):
		// Without concurrency the decoder has no goroutines, so nobody has to close it.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		return z, "zstd", err
	}
	return r, "", nil
}

// peek gives the next n bytes, n at most maxBlock, without going on; they are valid until the next peek. io.EOF tells that
// there is nothing more, errCut that there is less.
func (in *input) peek(n int) ([]byte, error) {
	if n > in.buffer.Size() {
		in.buffer = bufio.NewReaderSize(in.buffer, maxBlock)
	}
	b, err := in.buffer.Peek(n)
	if err == nil {
		return b, nil
	}
	return nil, in.explain(err, len(b) == 0)
}

// skip goes on by n bytes.
func (in *input) skip(n int64) error {
	for n > 0 {
		done, err := in.buffer.Discard(int(min(n, maxBlock)))
		in.offset += int64(done)
		n -= int64(done)
		if err != nil {
			return in.explain(err, false)
		}
	}
	return nil
}

// copy reads n bytes that the caller keeps; memory is taken only as they come.
func (in *input) copy(n int64) ([]byte, error) {
	var b bytes.Buffer
	done, err := io.CopyN(&b, in.buffer, n)
	in.offset += done
	if err != nil {
		return nil, in.explain(err, false)
	}
	return b.Bytes(), nil
}

// explain tells an end of the file from an error of reading it; between says that nothing was begun.
func (in *input) explain(err error, between bool) error {
	switch {
	case errors.Is(err, io.EOF) && between:
		return io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case in.compressed != "":
		return fmt.Errorf("byte %d, %s: %w", in.offset, in.compressed, err)
	}
	return fmt.Errorf("byte %d: %w", in.offset, err)
}

// corrupt is an error in what stands at the offset.
func (in *input) corrupt(format string, args ...any) error {
	where := fmt.Sprintf("byte %d", in.offset)
	if in.compressed != "" {
		where += " of the unpacked file"
	}
	return fmt.Errorf("%s: %s: the file is corrupt from here on; cut it there to read what is before", where, fmt.Sprintf(format, args...))
}

// Recognise tells by a file's first bytes, which may be those of a gzip or zstd stream, whether it is one that Open reads.
func Recognise(first []byte) bool {
	in, _, err := unpack(first[:min(4, len(first))], bytes.NewReader(first))
	if err != nil {
		return false
	}
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return false
	}
	_, _, pcap := pcapMagic(head[:])
	return pcap || isSection(head[:])
}

func isSection(head []byte) bool { return binary.BigEndian.Uint32(head) == blockSection }

// pcapMagic tells a pcap's byte order and how many nanoseconds its unit of time has.
func pcapMagic(head []byte) (order binary.ByteOrder, unit int64, ok bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(head) {
		case magicMicroseconds:
			return order, 1000, true
		case magicNanoseconds:
			return order, 1, true
		}
	}
	return nil, 0, false
}

// openContainer knows pcap and pcapng by their magic. Secrets go to the reader's callback.
func openContainer(in *input, r *Reader) (container, error) {
	head, err := in.peek(4)
	if errors.Is(err, errCut) || errors.Is(err, io.EOF) {
		return nil, errors.New("the file ends before it tells its format: expected a capture (pcap or pcapng)")
	}
	if err != nil {
		return nil, err
	}
	if isSection(head) {
		return openPcapng(in, r.decoder.loss, func(keylog []byte) {
			if r.Secrets != nil {
				r.Secrets(keylog)
			}
		})
	}
	if order, unit, ok := pcapMagic(head); ok {
		return openPcap(in, order, unit)
	}
	return nil, fmt.Errorf("neither a pcap nor a pcapng file, also none in gzip or zstd: it begins with % x", head)
}
