package traffic

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// headerRoom is what an Archive keeps free for its header, which is known only at the end.
const headerRoom = 16 << 10

// window is how far back repetition is looked for: no more than what stays in a processor's cache.
const window = 1 << 20

// Archive writes a traffic file whose header is known last. Until Close the file is called path + ".part" and says of itself
// that it is partial; it can be read as far as it was flushed. It is not safe for concurrent use.
type Archive struct {
	lines Writer // below the header, which is a frame of its own
	path  string
	file  *os.File
	count int64
}

// CreateArchive begins a file. Close or Abandon it.
func CreateArchive(path string, provisional FileHeader) (*Archive, error) {
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) // what was captured is nobody else's
	if err != nil {
		return nil, err
	}
	a := &Archive{path: path, file: f}
	provisional.Partial = true
	if err = a.putHeader(provisional); err == nil {
		_, err = f.Seek(headerRoom, io.SeekStart)
	}
	if err == nil {
		a.lines.zstd, err = zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	}
	if err != nil {
		a.Abandon()
		return nil, err
	}
	return a, nil
}

// putHeader writes the header as a frame of its own, and fills what is left of its room with a skippable frame (RFC 8878, 3.1.2).
func (a *Archive) putHeader(h FileHeader) error {
	line, err := headerLine(h)
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	room := z.EncodeAll(line, make([]byte, 0, headerRoom))
	rest := headerRoom - len(room) - 8
	if rest < 0 {
		return fmt.Errorf("the header of %s takes %d bytes more than there is room for", a.path, -rest)
	}
	room = binary.LittleEndian.AppendUint32(room, 0x184D2A50)
	room = binary.LittleEndian.AppendUint32(room, uint32(rest))
	_, err = a.file.WriteAt(room[:headerRoom], 0)
	return err
}

// Write adds a request.
func (a *Archive) Write(r *Request) error {
	a.count++
	return a.lines.Write(r)
}

// Flush puts every request so far into the file: what a kill cannot take.
func (a *Archive) Flush() error { return a.lines.Flush() }

// Count is how many requests were written.
func (a *Archive) Count() int64 { return a.count }

// Size is how long the file is by now, but for what was not flushed yet.
func (a *Archive) Size() (int64, error) {
	info, err := a.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close writes the header and gives the file its name.
func (a *Archive) Close(h FileHeader) error { return a.CloseAs(a.path, h) }

// CloseAs writes the header and gives the file another name. Where it fails, what could be written is left as it is.
func (a *Archive) CloseAs(path string, h FileHeader) error {
	err := a.lines.Close()
	h.Requests = a.count
	if err == nil {
		err = a.putHeader(h)
	}
	if more := a.file.Close(); err == nil {
		err = more
	}
	if err != nil {
		return err
	}
	return os.Rename(a.path+".part", path)
}

// Leave closes the file as it is: partial, and under the name that says so.
func (a *Archive) Leave() {
	_ = a.lines.Close() // it may have failed before
	a.file.Close()
}

// Abandon removes the file.
func (a *Archive) Abandon() {
	if a.lines.zstd != nil {
		_ = a.lines.Close() // it ends a goroutine; the file goes
	}
	a.file.Close()
	os.Remove(a.path + ".part")
}
