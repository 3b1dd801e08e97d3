package http2

import (
	"testing"

	xhttp2 "golang.org/x/net/http2"
)

// counter is a Handler that does next to nothing.
type counter struct{ ended, reset int }

func (h *counter) Begin(int32)                         {}
func (h *counter) End(int32, Exchange)                 { h.ended++ }
func (h *counter) Reset(int32, Exchange, uint32, bool) { h.reset++ }
func (h *counter) Ready()                              {}

// exchanges gives a Conn, and what a server sends to streams GETs at once: a head and 100 bytes each.
func exchanges(tb testing.TB, streams int, head []byte) (c *Conn, h *counter, turn func()) {
	c, h = New(streams), &counter{}
	c.Start()
	if err := c.Feed(frames(func(f *xhttp2.Framer) { f.WriteSettings() }), h); err != nil {
		tb.Fatal(err)
	}
	c.Wrote(len(c.Out()))
	var answers []byte
	body := make([]byte, 100)
	return c, h, func() {
		answers = answers[:0]
		for tag := range streams {
			id := c.Open(int32(tag), get, nil)
			answers = append(appendFrame(answers, len(head), frameHeaders, flagEndHeaders, id), head...)
			answers = append(appendFrame(answers, len(body), frameData, flagEndStream, id), body...)
		}
		c.Wrote(len(c.Out()))
		if err := c.Feed(answers, h); err != nil {
			tb.Fatal(err)
		}
		if c.next > maxStream/2 {
			c.next = 1 // a benchmark may need more ids than a connection has
		}
	}
}

// indexedHead is a head all of whose fields stand in tables, as Envoy sends it the second time.
func indexedHead() []byte { return []byte{0x88, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3} }

// BenchmarkExchange is a request and its response, as the client's CPU sees it without the kernel; the making of the
// response's bytes is in it.
func BenchmarkExchange(b *testing.B) {
	for _, test := range []struct {
		name  string
		first []byte
		head  []byte
	}{
		{"nginx", nil, nginxBlock()},
		{"literals", nil, block(":status", "200", "server", "nginx", "content-type", "text/html", "content-length", "100",
			"last-modified", "Mon, 02 Nov 2026 09:08:07 GMT", "etag", `"6547e8a7-64"`)},
		{"indexed", nginxBlock(), indexedHead()[:6]},
	} {
		b.Run(test.name, func(b *testing.B) {
			const streams = 32
			c, h, turn := exchanges(b, streams, test.head)
			if test.first != nil {
				if _, err := c.decoder.decode(test.first); err != nil {
					b.Fatal(err)
				}
			}
			turn()
			b.ReportAllocs()
			for i := 0; i < b.N; i += streams {
				turn()
			}
			if h.reset > 0 || h.ended == 0 {
				b.Fatalf("%d ended, %d were reset", h.ended, h.reset)
			}
		})
	}
}

// BenchmarkBody takes bodies, in bytes per second, in what one read brings.
func BenchmarkBody(b *testing.B) {
	c, h, _ := exchanges(b, 1, nil)
	id := c.Open(0, get, nil)
	if err := c.Feed(frames(func(f *xhttp2.Framer) { headers(f, id, false, ":status", "200") }), h); err != nil {
		b.Fatal(err)
	}
	read := frames(func(f *xhttp2.Framer) {
		for range 4 {
			f.WriteData(id, false, make([]byte, maxFrame))
		}
	})
	b.SetBytes(int64(len(read)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Feed(read, h); err != nil {
			b.Fatal(err)
		}
		c.Wrote(len(c.Out()))
	}
}

// TestNoAllocation holds the machine to none per request.
func TestNoAllocation(t *testing.T) {
	for name, head := range map[string][]byte{"nginx": nginxBlock(), "static": {0x88}} {
		t.Run(name, func(t *testing.T) {
			_, h, turn := exchanges(t, 32, head)
			turn()
			if n := testing.AllocsPerRun(100, turn); n != 0 || h.reset > 0 {
				t.Errorf("%v allocations in 32 requests, %d resets", n, h.reset)
			}
		})
	}
}
