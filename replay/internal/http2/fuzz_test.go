package http2

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	xhttp2 "golang.org/x/net/http2"
)

// script is what a fuzzer's bytes stand for: frames of the peer's, between them what the owner of the Conn does, and in
// the end bytes that need be no frame.
//
//	kind flags stream length payload…   a frame; kind%12, stream%32, at most 255 bytes of payload
//	11 what stream                      Open, Cancel, Out and Wrote, Close
//	255 rest                            these bytes as they are
type script []byte

// acted is a Handler whose owner also acts from within: it opens a stream when one ends, and cancels some as they begin.
type acted struct {
	events
	c      *Conn
	opened int32 // tags 0 to opened-1
	ids    []uint32
	gone   []int32 // cancelled
	said   []byte
}

func (h *acted) open(body []byte) {
	if id := h.c.Open(h.opened, get, body); id != 0 {
		h.ids = append(h.ids, id)
		h.opened++
	}
}

func (h *acted) cancel(tag int32) {
	before := h.c.Active()
	if h.c.Cancel(h.ids[tag]); h.c.Active() < before {
		h.gone = append(h.gone, tag)
	}
}

func (h *acted) Begin(tag int32) {
	h.events.Begin(tag)
	if tag%5 == 4 {
		h.cancel(tag)
	}
}

func (h *acted) End(tag int32, e Exchange) {
	h.events.End(tag, e)
	if tag%3 == 0 {
		h.open(nil)
	}
}

func (h *acted) write(n int) {
	out := h.c.Out()
	n = min(n, len(out))
	h.said = append(h.said, out[:n]...)
	h.c.Wrote(n)
}

// fuzzBody is longer than a new stream's window.
var fuzzBody = make([]byte, 70_000)

// play plays a script, with what comes in one go cut into pieces of so many bytes (0: whole), up to the connection's
// error, and abandons what is open in the end.
func (s script) play(piece int) (h *acted, err error) {
	h = &acted{c: New(6)}
	h.c.Start()
	h.open(nil)
	h.open(fuzzBody)
	h.open(nil)
	var pending []byte
	flush := func() {
		for len(pending) > 0 && err == nil {
			n := len(pending)
			if piece > 0 {
				n = min(n, piece)
			}
			err = h.c.Feed(pending[:n], h)
			pending = pending[n:]
		}
	}
	for len(s) >= 4 && s[0] != 255 && err == nil {
		if s[0]%12 == 11 {
			flush()
			h.act(s[1], s[2])
			s = s[3:]
			continue
		}
		n := min(int(s[3]), len(s)-4)
		pending = append(appendFrame(pending, n, s[0]%12, s[1], uint32(s[2]%32)), s[4:4+n]...)
		s = s[4+n:]
	}
	if len(s) > 0 {
		pending = append(pending, s[1:]...)
	}
	flush()
	h.write(1 << 30)
	h.c.Abandon(func(tag int32, e Exchange) {
		h.events = append(h.events, event{Kind: "abandon", Tag: tag, Exchange: e})
	})
	return h, err
}

func (h *acted) act(what, which byte) {
	switch what % 4 {
	case 0:
		h.open(fuzzBody[:int(which)*300%len(fuzzBody)])
	case 1:
		h.cancel(int32(which) % h.opened)
	case 2:
		h.write(int(which) * 100)
	case 3:
		h.c.Close()
	}
}

// check holds what a script came to against what must be: each stream ends once, and only frames were written.
func (h *acted) check(t *testing.T) {
	t.Helper()
	ended := slices.Clone(h.gone)
	begun := map[int32]bool{}
	for _, e := range h.events {
		switch e.Kind {
		case "begin":
			if begun[e.Tag] || slices.Contains(ended, e.Tag) && !slices.Contains(h.gone, e.Tag) {
				t.Fatalf("stream %d begins again", e.Tag)
			}
			begun[e.Tag] = true
		case "end", "reset", "abandon":
			ended = append(ended, e.Tag)
			if (e.Exchange.Status != 0) != begun[e.Tag] || e.Kind == "end" && !begun[e.Tag] || e.Unprocessed && begun[e.Tag] {
				t.Fatalf("begun %v: %+v", begun[e.Tag], e)
			}
		}
	}
	slices.Sort(ended)
	if len(slices.Compact(slices.Clone(ended))) != int(h.opened) || len(ended) != int(h.opened) {
		t.Fatalf("%d streams were opened, those that ended are %v", h.opened, ended)
	}
	if h.c.Active() != 0 || h.c.Free() != 0 {
		t.Fatalf("active %d, free %d", h.c.Active(), h.c.Free())
	}
	f := xhttp2.NewFramer(nil, bytes.NewReader(h.said[len(preface):]))
	for {
		if _, err := f.ReadFrame(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("what was written is no frame: %v", err)
		}
	}
}

// FuzzFeed plays scripts whole and in pieces: both come to the same, which is one end for each stream.
func FuzzFeed(f *testing.F) {
	const (
		settings = "\x04\x00\x00\x00"
		both     = flagEndHeaders | flagEndStream
	)
	f.Add([]byte(settings+"\x01\x05\x01\x01\x88\x01\x04\x03\x01\x88\x00\x01\x03\x05hello\x03\x00\x05\x04\x00\x00\x00\x07"), uint8(1))
	f.Add([]byte(settings+"\x01\x04\x01\x05\x48\x03200\x00\x09\x01\x05\x02abxx\x01\x05\x05\x01\xbe\x07\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x00"), uint8(3))
	f.Add([]byte("\x04\x00\x00\x06\x00\x04\x00\x00\x00\x09"+"\x08\x00\x03\x04\x00\x00\xff\xff\x0b\x02\xff\x08\x00\x00\x04\x00\x00\xff\xff\x0b\x02\xff\x01\x05\x03\x01\x88"), uint8(7))
	f.Add([]byte(settings+"\x01\x00\x01\x01\x88\x09\x00\x01\x00\x09\x04\x01\x05\x00\x01a\x01b\x01\x05\x01\x05\x00\x01a\x01b"), uint8(2))
	f.Add([]byte(settings+"\x0b\x00\x09\x0b\x01\x02\x0b\x03\x00\x01\x05\x07\x01\x88\x06\x00\x00\x0812345678\x05\x00\x01\x00"), uint8(5))
	f.Add([]byte(settings+"\x01\x2d\x01\x0a\x02\x00\x00\x00\x00\x00\x88\x00\x00\x00\x02\x00\x03\x05\x00\x00\x00\x00\x00\x03\x00\x05\x04\x00\x00\x00\x08"), uint8(4))
	f.Add([]byte(settings+"\xffHTTP/1.1 400 Bad Request\r\n\r\n"), uint8(6))
	f.Add([]byte(fmt.Sprintf("%s\x01%c\x01\x01\x88\x01%c\x07\x01\x88\x01%c\x09\x01\x88", settings, both, both, both)), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		whole, err := script(b).play(0)
		whole.check(t)
		pieces, again := script(b).play(1 + int(piece)%40)
		pieces.check(t)
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("whole: %v, in pieces: %v", err, again)
		}
		if !slices.Equal(whole.events, pieces.events) || !slices.Equal(whole.gone, pieces.gone) {
			t.Fatalf("whole: %+v, in pieces: %+v", whole.events, pieces.events)
		}
		if !bytes.Equal(whole.said, pieces.said) {
			t.Fatal("in pieces it wrote something else")
		}
	})
}
