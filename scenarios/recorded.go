package scenarios

import (
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"umbra/internal/diag"
	"umbra/internal/traffic"
	"umbra/replay"
)

// Recorded is a traffic file that was read to its end and found good.
type Recorded struct {
	File     string
	Count    int           // of its requests, from 1
	Length   time.Duration // from the start of the capture to its last request
	Sessions int           // requests that name their session

	adapt func(*traffic.Request)
	kept  []*traffic.Request // all of them; nil where that would take more than keepBytes
}

// keepBytes is how much of a traffic file is kept in memory: its requests are then read once, and items of the plan that
// send the same one share it. A longer file is read again while it is played, a request at a time.
const keepBytes = 32 << 20

// ReadTraffic reads a traffic file to its end, so that no run starts with one that it cannot finish. adapt may change each
// request before it is sent. The error is diag.Faults with the line.
func ReadTraffic(file string, adapt func(*traffic.Request)) (*Recorded, error) {
	return readTraffic(file, adapt, keepBytes)
}

func readTraffic(file string, adapt func(*traffic.Request), keep int) (*Recorded, error) {
	r := &Recorded{File: file, adapt: adapt}
	held := 0
	for request, err := range r.read() {
		if err != nil {
			return nil, err
		}
		r.Count++
		if request.At < r.Length {
			return nil, diag.Faults{{File: file, Line: r.Count + 1, Msg: fmt.Sprintf("request %d was captured %v before the one in front of it: sort the lines by at_ns", r.Count, r.Length-request.At)}}
		}
		r.Length = request.At
		if request.Session != "" {
			r.Sessions++
		}
		if held += sizeOf(request); held <= keep {
			r.kept = append(r.kept, request)
		}
	}
	if r.Count == 0 {
		return nil, diag.Faults{{File: file, Msg: "no requests in it: there is nothing to replay"}}
	}
	if held > keep {
		r.kept = nil
	}
	return r, nil
}

// sizeOf is about what a request takes in memory, in bytes.
func sizeOf(r *traffic.Request) int {
	n := 256 + len(r.Session) + len(r.Authority) + len(r.Path) + len(r.Body)
	for _, h := range r.Headers {
		n += 32 + len(h[0]) + len(h[1])
	}
	return n
}

// Requests gives the requests in their order, from the first again behind the last where again says so.
func (r *Recorded) Requests(again bool) replay.Requests {
	if r.kept != nil {
		return r.fromMemory(again)
	}
	return func() (func() (replay.Item, error), func()) {
		pull, stop := iter.Pull2(r.reread(again))
		return func() (replay.Item, error) {
			request, err, more := pull()
			if !more {
				err = io.EOF
			}
			return replay.Item{Request: request}, err
		}, stop
	}
}

func (r *Recorded) fromMemory(again bool) replay.Requests {
	return func() (func() (replay.Item, error), func()) {
		i := 0
		return func() (replay.Item, error) {
			if i == len(r.kept) && again {
				i = 0
			}
			if i == len(r.kept) {
				return replay.Item{}, io.EOF
			}
			i++
			return replay.Item{Request: r.kept[i-1]}, nil
		}, func() {}
	}
}

// reread reads the file once, or for ever; a file that has become empty ends it.
func (r *Recorded) reread(again bool) iter.Seq2[*traffic.Request, error] {
	return func(yield func(*traffic.Request, error) bool) {
		for read := true; read; read = read && again {
			read = false
			for request, err := range r.read() {
				read = true
				if !yield(request, err) || err != nil {
					return
				}
			}
		}
	}
}

// read reads the file once. An error, the last there is, is diag.Faults with the line.
func (r *Recorded) read() iter.Seq2[*traffic.Request, error] {
	return func(yield func(*traffic.Request, error) bool) {
		f, err := os.Open(r.File)
		if err != nil {
			yield(nil, diag.Faults{{File: r.File, Msg: "cannot be read: " + reason(err).Error()}})
			return
		}
		defer f.Close()
		if err := r.decode(f, yield); err != nil {
			var faults diag.Faults
			faults.Add(r.File, err)
			yield(nil, faults)
		}
	}
}

func (r *Recorded) decode(f io.Reader, yield func(*traffic.Request, error) bool) error {
	reader, err := traffic.NewReader(f)
	if err != nil {
		return err
	}
	defer reader.Close()
	line := 1
	for request, err := range reader.Requests() {
		line++
		if err == nil {
			err = checkRequest(line, &request)
		}
		if err != nil {
			return err
		}
		r.adapt(&request)
		if !yield(&request, nil) {
			return nil
		}
	}
	return nil
}

func checkRequest(line int, r *traffic.Request) error {
	if r.Authority == "" {
		return fmt.Errorf("line %d: \"authority\" is missing: give the Host that the request had", line)
	}
	if err := replay.CheckRequest(r); err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return nil
}
