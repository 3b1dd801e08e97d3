package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Bounds of what is decompressed.
const (
	maxPlain   = 64 << 20 // bytes of a body, and of a zstd window
	maxCodings = 3        // one upon the other
)

// unpacker takes content codings (RFC 9110, section 8.4.1) off a body. The zero value is ready; its parts are made when they
// are needed, and used again.
type unpacker struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder
}

// all takes the codings off, the last one first.
func (u *unpacker) all(body []byte, codings []string) ([]byte, error) {
	if len(codings) > maxCodings {
		return nil, fmt.Errorf("the body has %d content codings", len(codings))
	}
	for i := len(codings) - 1; i >= 0; i-- {
		plain, err := u.one(body, codings[i])
		if err != nil {
			return nil, err
		}
		body = plain
	}
	return body, nil
}

func (u *unpacker) one(body []byte, coding string) (plain []byte, err error) {
	in := bytes.NewReader(body)
	switch coding {
	case "gzip", "x-gzip":
		plain, err = u.gunzip(in)
	case "deflate":
		plain, err = inflate(in)
	case "zstd":
		plain, err = u.unzstd(in)
	default:
		return nil, errors.New("the body's Content-Encoding is not one of gzip, deflate and zstd")
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the body is no valid %s: %w", coding, err)
	case len(plain) > maxPlain:
		return nil, fmt.Errorf("the body is larger than %d MiB, decompressed", maxPlain>>20)
	case in.Len() > 0:
		return nil, errors.New("the body has more bytes behind the end of its " + strconv.Quote(coding))
	}
	return plain, nil
}

func (u *unpacker) gunzip(in *bytes.Reader) ([]byte, error) {
	if u.gzip == nil {
		u.gzip = new(gzip.Reader)
	}
	if err := u.gzip.Reset(in); err != nil {
		return nil, err
	}
	return readPlain(u.gzip)
}

// inflate reads zlib's format, as the standard has it, or else bare deflate, as some clients send it.
func inflate(in *bytes.Reader) ([]byte, error) {
	if z, err := zlib.NewReader(in); err == nil {
		if plain, err := readPlain(z); err == nil {
			return plain, nil
		}
	}
	in.Seek(0, io.SeekStart)
	return readPlain(flate.NewReader(in))
}

func (u *unpacker) unzstd(in *bytes.Reader) ([]byte, error) {
	if u.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		u.zstd = z
	}
	if err := u.zstd.Reset(in); err != nil {
		return nil, err
	}
	return readPlain(u.zstd)
}

// readPlain reads one byte more than is allowed, so that too much is seen.
func readPlain(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxPlain+1)) }
