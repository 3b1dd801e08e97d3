package http2

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	xhttp2 "golang.org/x/net/http2"

	"umbra/internal/traffic"
)

// event is a call of a Handler.
type event struct {
	Kind        string
	Tag         int32
	Exchange    Exchange
	Code        uint32
	Unprocessed bool
}

// events is a Handler that keeps what it is told.
type events []event

func (h *events) Begin(tag int32) { *h = append(*h, event{Kind: "begin", Tag: tag}) }

func (h *events) End(tag int32, e Exchange) {
	*h = append(*h, event{Kind: "end", Tag: tag, Exchange: e})
}

func (h *events) Reset(tag int32, e Exchange, code uint32, unprocessed bool) {
	*h = append(*h, event{"reset", tag, e, code, unprocessed})
}

func (h *events) Ready() { *h = append(*h, event{Kind: "ready"}) }

// frames gives the bytes of the frames that write writes. Illegal ones may be among them.
func frames(write func(f *xhttp2.Framer)) []byte {
	var b bytes.Buffer
	f := xhttp2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	write(f)
	return b.Bytes()
}

func headers(f *xhttp2.Framer, id uint32, end bool, fields ...string) {
	f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: block(fields...), EndHeaders: true, EndStream: end})
}

var get, _ = AppendHead(nil, "http", &traffic.Request{Method: "GET", Authority: "shop", Path: "/"}, "0123456789abcdef")

// begun is a Conn whose peer has sent its SETTINGS, with that many GETs under way, tagged from 10 on. What it had to say
// was written.
func begun(t *testing.T, opened int, settings ...xhttp2.Setting) *Conn {
	t.Helper()
	c := New(10)
	c.Start()
	var h events
	if err := c.Feed(frames(func(f *xhttp2.Framer) { f.WriteSettings(settings...) }), &h); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h, events{{Kind: "ready"}}) {
		t.Fatalf("SETTINGS: %v", h)
	}
	for i := range opened {
		if id := c.Open(int32(10+i), get, nil); id != uint32(2*i+1) {
			t.Fatalf("stream %d, want %d", id, 2*i+1)
		}
	}
	drain(c)
	return c
}

// drain writes all that there is.
func drain(c *Conn) (all []byte) {
	for b := c.Out(); len(b) > 0; b = c.Out() {
		all = append(all, b...)
		c.Wrote(len(b))
	}
	return all
}

// said is what stands in Out, a line per frame, as x/net reads it.
func said(t *testing.T, b []byte) (lines []string) {
	t.Helper()
	f := xhttp2.NewFramer(nil, bytes.NewReader(b))
	for {
		frame, err := f.ReadFrame()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatalf("what the Conn wrote is no frame: %v", err)
		}
		line := frame.Header().Type.String()
		switch frame := frame.(type) {
		case *xhttp2.RSTStreamFrame:
			line += " " + frame.ErrCode.String()
		case *xhttp2.GoAwayFrame:
			line += " " + frame.ErrCode.String()
		}
		lines = append(lines, line)
	}
}

func TestStart(t *testing.T) {
	c := New(3)
	c.Start()
	rest, ok := strings.CutPrefix(string(drain(c)), xhttp2.ClientPreface)
	if !ok {
		t.Fatal("no preface")
	}
	if diff := cmp.Diff([]string{"SETTINGS", "WINDOW_UPDATE"}, said(t, []byte(rest))); diff != "" {
		t.Error(diff)
	}
	if c.Free() != 3 || c.Active() != 0 || c.Closing() {
		t.Errorf("free %d, active %d, closing %v", c.Free(), c.Active(), c.Closing())
	}
}

// size is what fields cost in a HEADERS frame.
func size(fields ...string) int64 { return int64(frameHeader + len(block(fields...))) }

// TestResponses feeds what a server says to one GET, and sees what comes of it.
func TestResponses(t *testing.T) {
	out := int64(frameHeader + len(get))
	const rst = frameHeader + 4
	ok := size(":status", "200")
	tests := map[string]struct {
		frames func(f *xhttp2.Framer)
		want   events
		said   []string
	}{
		"no body": {
			func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "204") },
			events{{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10, Exchange: Exchange{204, size(":status", "204"), out}}}, nil,
		},
		"a body with padding, priority, and what is unknown": {
			func(f *xhttp2.Framer) {
				f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200", "content-length", "5"), EndHeaders: true,
					PadLength: 7, Priority: xhttp2.PriorityParam{StreamDep: 3, Weight: 9}})
				f.WriteRawFrame(0x42, 0xff, 1, []byte("?"))
				f.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3})
				f.WriteDataPadded(1, false, []byte("ab"), make([]byte, 9))
				f.WriteDataPadded(1, false, nil, make([]byte, 3))
				f.WriteData(1, true, []byte("cde"))
			},
			events{{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10,
				Exchange: Exchange{200, size(":status", "200", "content-length", "5") + 1 + 5 + 7 + 9 + 1 + 2 + 9 + 9 + 1 + 3 + 9 + 3, out}}}, nil,
		},
		"a head in pieces": {
			func(f *xhttp2.Framer) {
				b := block(":status", "200", "a", "b")
				f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1], EndStream: true})
				f.WriteContinuation(1, false, b[1:3])
				f.WriteContinuation(1, false, nil)
				f.WriteContinuation(1, true, b[3:])
			},
			events{{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10, Exchange: Exchange{200, size(":status", "200", "a", "b") + 3*frameHeader, out}}}, nil,
		},
		"interim responses and trailers": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "100")
				headers(f, 1, false, ":status", "103", "link", "x")
				headers(f, 1, false, ":status", "200")
				f.WriteData(1, false, nil)
				headers(f, 1, true, "grpc-status", "0")
			},
			events{{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10,
				Exchange: Exchange{200, size(":status", "100") + size(":status", "103", "link", "x") + ok + 9 + size("grpc-status", "0"), out}}}, nil,
		},
		"101": {
			func(f *xhttp2.Framer) { headers(f, 1, false, ":status", "101") },
			events{{"reset", 10, Exchange{0, size(":status", "101"), out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"an interim response that ends": {
			func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "100") },
			events{{"reset", 10, Exchange{0, size(":status", "100"), out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"no status": {
			func(f *xhttp2.Framer) { headers(f, 1, true, "server", "x") },
			events{{"reset", 10, Exchange{0, size("server", "x"), out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"a malformed field": {
			func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "200", "Server", "x") },
			events{{"reset", 10, Exchange{0, size(":status", "200", "Server", "x"), out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"DATA before the head": {
			func(f *xhttp2.Framer) { f.WriteData(1, true, []byte("x")) },
			events{{"reset", 10, Exchange{0, 9, out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"less than its length": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "200", "content-length", "2")
				f.WriteData(1, true, []byte("x"))
			},
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, size(":status", "200", "content-length", "2") + 10, out + rst}, ProtocolError, false}},
			[]string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"nothing where there is a length": {
			func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "200", "content-length", "2") },
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, size(":status", "200", "content-length", "2"), out + rst}, ProtocolError, false}},
			[]string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"more than its length": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "200", "content-length", "2")
				f.WriteData(1, false, []byte("xyz"))
				f.WriteData(1, true, nil) // of a stream that has ended
			},
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, size(":status", "200", "content-length", "2") + 9, out + rst}, ProtocolError, false}},
			[]string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"304 has a length and no body": {
			func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "304", "content-length", "2") },
			events{{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10, Exchange: Exchange{304, size(":status", "304", "content-length", "2"), out}}}, nil,
		},
		"204 with a body": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "204")
				f.WriteData(1, true, []byte("x"))
			},
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{204, size(":status", "204") + 9, out + rst}, ProtocolError, false}},
			[]string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"trailers that do not end": {
			func(f *xhttp2.Framer) { headers(f, 1, false, ":status", "200"); headers(f, 1, false, "a", "b") },
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, ok + size("a", "b"), out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"trailers with a status": {
			func(f *xhttp2.Framer) { headers(f, 1, false, ":status", "200"); headers(f, 1, true, ":status", "200") },
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, 2 * ok, out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"reset": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "200")
				f.WriteRSTStream(1, xhttp2.ErrCodeInternal)
				f.WriteRSTStream(1, xhttp2.ErrCodeInternal)
			},
			events{{Kind: "begin", Tag: 10}, {"reset", 10, Exchange{200, ok + rst, out}, InternalError, false}}, nil,
		},
		"refused": {
			func(f *xhttp2.Framer) { f.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream) },
			events{{"reset", 10, Exchange{0, rst, out}, RefusedStream, true}}, nil,
		},
		"refused, but answered": {
			func(f *xhttp2.Framer) {
				headers(f, 1, false, ":status", "100")
				f.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream)
			},
			events{{"reset", 10, Exchange{0, size(":status", "100") + rst, out}, RefusedStream, false}}, nil,
		},
		"window of nothing": {
			func(f *xhttp2.Framer) { f.WriteWindowUpdate(1, 0) },
			events{{"reset", 10, Exchange{0, 13, out + rst}, ProtocolError, false}}, []string{"RST_STREAM PROTOCOL_ERROR"},
		},
		"window too large": {
			func(f *xhttp2.Framer) { f.WriteWindowUpdate(1, maxWindow) },
			events{{"reset", 10, Exchange{0, 13, out + rst}, FlowControlError, false}}, []string{"RST_STREAM FLOW_CONTROL_ERROR"},
		},
		"a short PRIORITY": {
			func(f *xhttp2.Framer) { f.WriteRawFrame(xhttp2.FramePriority, 0, 1, []byte("abc")) },
			events{{"reset", 10, Exchange{0, 0, out + rst}, FrameSizeError, false}}, []string{"RST_STREAM FRAME_SIZE_ERROR"},
		},
		"PING and SETTINGS are answered, their answers are not": {
			func(f *xhttp2.Framer) {
				f.WritePing(false, [8]byte{1, 2, 3})
				f.WritePing(true, [8]byte{})
				f.WriteSettings(xhttp2.Setting{ID: 0x99, Val: 1}, xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: 1})
				f.WriteSettingsAck()
			},
			nil, []string{"PING", "SETTINGS"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := begun(t, 1)
			var h events
			if err := c.Feed(frames(test.frames), &h); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, h); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.said, said(t, drain(c))); diff != "" {
				t.Error(diff)
			}
			if open := 1 - min(1, len(test.want)); c.Active() != open || c.Free() != 10-open {
				t.Errorf("active %d, free %d", c.Active(), c.Free())
			}
		})
	}
}

// TestConnectionErrors feeds what makes a connection of no use.
func TestConnectionErrors(t *testing.T) {
	setting := func(id xhttp2.SettingID, value uint32) func(f *xhttp2.Framer) {
		return func(f *xhttp2.Framer) { f.WriteSettings(xhttp2.Setting{ID: id, Val: value}) }
	}
	raw := func(kind xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload string) func(f *xhttp2.Framer) {
		return func(f *xhttp2.Framer) { f.WriteRawFrame(kind, flags, id, []byte(payload)) }
	}
	tests := map[string]struct {
		frames func(f *xhttp2.Framer)
		code   uint32
	}{
		"PUSH_PROMISE": {func(f *xhttp2.Framer) {
			f.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, ProtocolError},
		"a frame too long":        {func(f *xhttp2.Framer) { f.WriteData(1, false, make([]byte, maxFrame+1)) }, FrameSizeError},
		"DATA without a stream":   {raw(xhttp2.FrameData, 0, 0, "x"), ProtocolError},
		"DATA of the peer's":      {raw(xhttp2.FrameData, 0, 2, "x"), ProtocolError},
		"DATA not asked for":      {raw(xhttp2.FrameData, 0, 5, "x"), ProtocolError},
		"DATA of padding alone":   {raw(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, "\x01"), ProtocolError},
		"DATA without padding":    {raw(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, ""), ProtocolError},
		"HEADERS not asked for":   {func(f *xhttp2.Framer) { headers(f, 5, true, ":status", "200") }, ProtocolError},
		"HEADERS of padding":      {raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersPadded, 1, "\x01"), ProtocolError},
		"HEADERS without padding": {raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersPadded, 1, ""), ProtocolError},
		"HEADERS cut":             {raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersPriority, 1, "\x01"), ProtocolError},
		"HEADERS no HPACK":        {raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, 1, "\x80"), CompressionError},
		"CONTINUATION of nothing": {func(f *xhttp2.Framer) { f.WriteContinuation(1, true, nil) }, ProtocolError},
		"a head not continued": {func(f *xhttp2.Framer) {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1})
			f.WritePing(false, [8]byte{})
		}, ProtocolError},
		"a head continued on another stream": {func(f *xhttp2.Framer) {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1})
			f.WriteContinuation(3, true, nil)
		}, ProtocolError},
		"a head without end": {func(f *xhttp2.Framer) {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1})
			for range maxBlock/(maxFrame+frameHeader) + 1 {
				f.WriteContinuation(1, false, make([]byte, maxFrame))
			}
		}, EnhanceYourCalm},
		"a head of nothing without end": {func(f *xhttp2.Framer) {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1})
			for range maxBlock/frameHeader + 1 {
				f.WriteContinuation(1, false, nil)
			}
		}, EnhanceYourCalm},
		"PRIORITY without a stream":   {raw(xhttp2.FramePriority, 0, 0, "12345"), ProtocolError},
		"RST_STREAM not asked for":    {raw(xhttp2.FrameRSTStream, 0, 5, "1234"), ProtocolError},
		"RST_STREAM without a stream": {raw(xhttp2.FrameRSTStream, 0, 0, "1234"), ProtocolError},
		"RST_STREAM cut":              {raw(xhttp2.FrameRSTStream, 0, 1, "123"), FrameSizeError},
		"SETTINGS on a stream":        {raw(xhttp2.FrameSettings, 0, 1, ""), ProtocolError},
		"SETTINGS cut":                {raw(xhttp2.FrameSettings, 0, 0, "12345"), FrameSizeError},
		"an answer to SETTINGS, full": {raw(xhttp2.FrameSettings, xhttp2.FlagSettingsAck, 0, "123456"), FrameSizeError},
		"ENABLE_PUSH of a server":     {setting(xhttp2.SettingEnablePush, 1), ProtocolError},
		"INITIAL_WINDOW_SIZE":         {setting(xhttp2.SettingInitialWindowSize, 1<<31), FlowControlError},
		"MAX_FRAME_SIZE too small":    {setting(xhttp2.SettingMaxFrameSize, maxFrame-1), ProtocolError},
		"MAX_FRAME_SIZE too large":    {setting(xhttp2.SettingMaxFrameSize, 1<<24), ProtocolError},
		"PING on a stream":            {raw(xhttp2.FramePing, 0, 1, "12345678"), ProtocolError},
		"PING cut":                    {raw(xhttp2.FramePing, 0, 0, "1234567"), FrameSizeError},
		"GOAWAY on a stream":          {raw(xhttp2.FrameGoAway, 0, 1, "12345678"), ProtocolError},
		"GOAWAY cut":                  {raw(xhttp2.FrameGoAway, 0, 0, "1234567"), FrameSizeError},
		"WINDOW_UPDATE cut":           {raw(xhttp2.FrameWindowUpdate, 0, 0, "123"), FrameSizeError},
		"WINDOW_UPDATE of nothing":    {func(f *xhttp2.Framer) { f.WriteWindowUpdate(0, 0) }, ProtocolError},
		"WINDOW_UPDATE not asked for": {func(f *xhttp2.Framer) { f.WriteWindowUpdate(5, 1) }, ProtocolError},
		"WINDOW_UPDATE beyond 2^31-1": {func(f *xhttp2.Framer) { f.WriteWindowUpdate(0, maxWindow) }, FlowControlError},
		"windows beyond 2^31-1, later": {func(f *xhttp2.Framer) {
			f.WriteWindowUpdate(1, 1<<30)
			setting(xhttp2.SettingInitialWindowSize, 1<<30)(f)
		}, FlowControlError},
		"PINGs without end": {func(f *xhttp2.Framer) {
			for range maxReplies + 1 {
				f.WritePing(false, [8]byte{})
			}
		}, EnhanceYourCalm},
		"SETTINGS without end": {func(f *xhttp2.Framer) {
			for range maxReplies + 1 {
				f.WriteSettings()
			}
		}, EnhanceYourCalm},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := begun(t, 2)
			var h events
			err := c.Feed(frames(test.frames), &h)
			var e *Error
			if !errors.As(err, &e) || e.Code != test.code {
				t.Fatalf("got %v, want %s", err, CodeName(test.code))
			}
			if len(h) > 0 {
				t.Errorf("it told %v", h)
			}
			if again := c.Feed(frames(func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "200") }), &h); again != err || len(h) > 0 {
				t.Errorf("it went on: %v, %v", again, h)
			}
			out := drain(c)
			if lines := said(t, out); lines[len(lines)-1] != "GOAWAY "+CodeName(test.code) || len(out) > maxReplies*17+100 {
				t.Errorf("it said %d bytes, in the end %v", len(out), lines[len(lines)-1])
			}
			if c.Free() != 0 || !c.Closing() || c.Active() != 2 {
				t.Errorf("free %d, closing %v, active %d", c.Free(), c.Closing(), c.Active())
			}
			if tags := abandon(c); !slices.Equal(tags, []int32{10, 11}) || c.Active() != 0 {
				t.Errorf("abandoned %v, active %d", tags, c.Active())
			}
		})
	}
}

func abandon(c *Conn) (tags []int32) {
	c.Abandon(func(tag int32, _ Exchange) { tags = append(tags, tag) })
	return tags
}

func TestCodeName(t *testing.T) {
	for code, want := range map[uint32]string{NoError: "NO_ERROR", HTTP11Required: "HTTP_1_1_REQUIRED", 0xabc: "code 0xabc"} {
		if got := CodeName(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

func TestFirstFrame(t *testing.T) {
	for name, first := range map[string]string{
		"HTTP/1.1":          "HTTP/1.1 400 Bad Request\r\n\r\n",
		"PING":              string(frames(func(f *xhttp2.Framer) { f.WritePing(false, [8]byte{}) })),
		"a SETTINGS answer": string(frames(func(f *xhttp2.Framer) { f.WriteSettingsAck() })),
	} {
		t.Run(name, func(t *testing.T) {
			c := New(1)
			c.Start()
			var e *Error
			if err := c.Feed([]byte(first), &events{}); !errors.As(err, &e) || e.Code != ProtocolError {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHEAD(t *testing.T) {
	for name, body := range map[string]string{"a length and no body": "", "a body": "x"} {
		t.Run(name, func(t *testing.T) {
			c := begun(t, 0)
			head, _ := AppendHead(nil, "http", &traffic.Request{Method: "HEAD", Authority: "shop", Path: "/"}, "1")
			c.Open(7, head, nil)
			var h events
			err := c.Feed(frames(func(f *xhttp2.Framer) {
				headers(f, 1, body == "", ":status", "200", "content-length", "100")
				if body != "" {
					f.WriteData(1, true, []byte(body))
				}
			}), &h)
			if want := map[string]string{"": "end", "x": "reset"}[body]; err != nil || len(h) != 2 || h[1].Kind != want {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

// TestHeadOfAnySize sends a block that needs CONTINUATIONs.
func TestHeadOfAnySize(t *testing.T) {
	for _, n := range []int{0, maxFrame - 1, maxFrame, maxFrame + 1, 3 * maxFrame} {
		c := begun(t, 0)
		b := bytes.Repeat([]byte{0x82}, n)
		c.Open(1, b, nil)
		f := xhttp2.NewFramer(nil, bytes.NewReader(drain(c)))
		var got []byte
		for ended := false; !ended; {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame := frame.(type) {
			case *xhttp2.HeadersFrame:
				got, ended = append(got, frame.HeaderBlockFragment()...), frame.HeadersEnded()
				if !frame.StreamEnded() {
					t.Error("HEADERS without END_STREAM")
				}
			case *xhttp2.ContinuationFrame:
				got, ended = append(got, frame.HeaderBlockFragment()...), frame.HeadersEnded()
			}
		}
		if !bytes.Equal(got, b) {
			t.Errorf("%d bytes: %d came", n, len(got))
		}
	}
}

// uploads adds up the DATA in b by stream, and says which streams it ended.
func uploads(t *testing.T, b []byte) (sent map[uint32]int, ended map[uint32]bool) {
	t.Helper()
	sent, ended = map[uint32]int{}, map[uint32]bool{}
	f := xhttp2.NewFramer(nil, bytes.NewReader(b))
	for {
		frame, err := f.ReadFrame()
		if err == io.EOF {
			return sent, ended
		}
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := frame.(*xhttp2.DataFrame); ok {
			sent[d.StreamID] += len(d.Data())
			ended[d.StreamID] = d.StreamEnded()
		}
	}
}

// TestUploadWindows lets two bodies meet every window: the stream's, the connection's, one that SETTINGS shrink below
// what was sent, and one that they open.
func TestUploadWindows(t *testing.T) {
	c := begun(t, 0, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 50_000})
	var h events
	post, _ := AppendHead(nil, "http", &traffic.Request{Method: "POST", Authority: "shop", Path: "/", Body: make([]byte, 60_000)}, "1")
	c.Open(1, post, make([]byte, 60_000))
	c.Open(3, post, make([]byte, 60_000))
	total := map[uint32]int{}
	step := func(what string, feed func(f *xhttp2.Framer), one, three int) {
		t.Helper()
		if err := c.Feed(frames(feed), &h); err != nil {
			t.Fatal(err)
		}
		sent, ended := uploads(t, drain(c))
		for id, n := range sent {
			total[id] += n
			if ended[id] != (total[id] == 60_000) {
				t.Errorf("%s: stream %d has END_STREAM %v after %d bytes", what, id, ended[id], total[id])
			}
		}
		if sent[1] != one || sent[3] != three {
			t.Errorf("%s: %v sent, want %d and %d", what, sent, one, three)
		}
	}
	step("nothing", func(f *xhttp2.Framer) {}, 2*maxFrame, defaultWindow-2*maxFrame) // the connection's window, in turn
	step("a stream's window", func(f *xhttp2.Framer) { f.WriteWindowUpdate(1, 1) }, 0, 0)
	step("the connection's window", func(f *xhttp2.Framer) { f.WriteWindowUpdate(0, 1<<20) },
		50_001-2*maxFrame, 50_000-(defaultWindow-2*maxFrame))
	step("less than was sent", func(f *xhttp2.Framer) {
		f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10_000})
		f.WriteWindowUpdate(1, 40_000) // to 0 on stream 1; 40,000 below on stream 3
	}, 0, 0)
	step("a little", func(f *xhttp2.Framer) { f.WriteWindowUpdate(1, 5); f.WriteWindowUpdate(3, 5) }, 5, 0)
	step("all", func(f *xhttp2.Framer) {
		f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 100_000})
	}, 60_000-50_006, 10_000)
	if len(h) != 0 {
		t.Errorf("it told %v", h)
	}
}

// TestUploadIsCopiedAsItIsWritten keeps Out small, whatever the body and the windows.
func TestUploadIsCopiedAsItIsWritten(t *testing.T) {
	c := begun(t, 0, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: maxWindow})
	if err := c.Feed(frames(func(f *xhttp2.Framer) { f.WriteWindowUpdate(0, 1<<30) }), &events{}); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 10<<20)
	for i := range body {
		body[i] = byte(i * i >> 7)
	}
	c.Open(1, get, body)
	var all []byte
	for b := c.Out(); len(b) > 0; b = c.Out() {
		if len(b) > ahead+maxFrame+frameHeader+len(get) {
			t.Fatalf("%d bytes stand ready", len(b))
		}
		n := min(len(b), 7777)
		all = append(all, b[:n]...)
		c.Wrote(n)
	}
	if cap(c.out) > 4*ahead {
		t.Errorf("the buffer grew to %d", cap(c.out))
	}
	f := xhttp2.NewFramer(nil, bytes.NewReader(all))
	var got []byte
	for frame, err := f.ReadFrame(); err != io.EOF; frame, err = f.ReadFrame() {
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := frame.(*xhttp2.DataFrame); ok {
			got = append(got, d.Data()...)
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("another body was sent")
	}
}

// TestAnswerBeforeTheBodyIsSent ends a stream whose body waits for its window.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	c := begun(t, 0)
	c.Open(1, get, make([]byte, 100_000))
	drain(c)
	var h events
	if err := c.Feed(frames(func(f *xhttp2.Framer) {
		headers(f, 1, true, ":status", "413")
		f.WriteRSTStream(1, xhttp2.ErrCodeNo)
		f.WriteWindowUpdate(1, 1000)
		f.WriteWindowUpdate(0, 100_000)
	}), &h); err != nil {
		t.Fatal(err)
	}
	if len(h) != 2 || h[1].Kind != "end" || h[1].Exchange.Status != 413 {
		t.Errorf("got %v", h)
	}
	if diff := cmp.Diff([]string{"RST_STREAM NO_ERROR"}, said(t, drain(c))); diff != "" {
		t.Error(diff)
	}
}

// TestDownloadWindows sends a stream and the connection all that they may, and one byte more.
func TestDownloadWindows(t *testing.T) {
	data := frames(func(f *xhttp2.Framer) { f.WriteData(1, false, make([]byte, maxFrame)) })
	t.Run("credit", func(t *testing.T) {
		c := begun(t, 1)
		var h events
		feed(t, c, &h, frames(func(f *xhttp2.Framer) { headers(f, 1, false, ":status", "200") }))
		var updates []string
		for range 2 * connWindow / maxFrame {
			feed(t, c, &h, data)
			if out := drain(c); len(out) > 0 {
				updates = append(updates, said(t, out)...)
			}
		}
		if want := 2*connWindow/(connWindow/2) + 2*connWindow/(streamWindow/2); len(updates) != want || updates[0] != "WINDOW_UPDATE" {
			t.Errorf("%d updates, want %d", len(updates), want)
		}
		if len(h) != 1 || c.receive < connWindow/2 || c.find(1).receive < streamWindow/2 {
			t.Errorf("%v, windows %d and %d", h, c.receive, c.find(1).receive)
		}
	})
	t.Run("beyond the stream's", func(t *testing.T) {
		c := begun(t, 1)
		var h events
		feed(t, c, &h, frames(func(f *xhttp2.Framer) { headers(f, 1, false, ":status", "200") }))
		c.find(1).receive = maxFrame - 1
		feed(t, c, &h, data)
		if len(h) != 2 || h[1].Kind != "reset" || h[1].Code != FlowControlError {
			t.Errorf("got %v", h)
		}
	})
	t.Run("beyond the connection's", func(t *testing.T) {
		c := begun(t, 1)
		c.receive = maxFrame - 1
		var e *Error
		if err := c.Feed(data, &events{}); !errors.As(err, &e) || e.Code != FlowControlError {
			t.Errorf("got %v", err)
		}
	})
	t.Run("DATA of a cancelled stream counts on the connection", func(t *testing.T) {
		c := begun(t, 1)
		if e := c.Cancel(1); e != (Exchange{Out: int64(frameHeader + len(get) + 13)}) {
			t.Errorf("cancelled: %+v", e)
		}
		if e := c.Cancel(1); e != (Exchange{}) {
			t.Errorf("cancelled again: %+v", e)
		}
		drain(c)
		var h events
		for range connWindow / 2 / maxFrame {
			feed(t, c, &h, data)
		}
		if lines := said(t, drain(c)); !slices.Equal(lines, []string{"WINDOW_UPDATE"}) || len(h) > 0 {
			t.Errorf("%v, %v", lines, h)
		}
	})
}

func feed(t *testing.T, c *Conn, h Handler, b []byte) {
	t.Helper()
	if err := c.Feed(b, h); err != nil {
		t.Fatal(err)
	}
}

// TestTableOfCancelledStreams decodes the heads of streams that are gone, as later ones refer to them.
func TestTableOfCancelledStreams(t *testing.T) {
	c := begun(t, 2)
	c.Cancel(1)
	var h events
	feed(t, c, &h, frames(func(f *xhttp2.Framer) {
		f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x48\x03418"), EndHeaders: true, EndStream: true})
		f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte("\xbe"), EndHeaders: true, EndStream: true})
	}))
	if len(h) != 2 || h[1].Tag != 11 || h[1].Exchange.Status != 418 {
		t.Errorf("got %v", h)
	}
}

func TestGoAway(t *testing.T) {
	c := begun(t, 4)
	var h events
	feed(t, c, &h, frames(func(f *xhttp2.Framer) {
		headers(f, 5, false, ":status", "200")
		f.WriteGoAway(maxStream, xhttp2.ErrCodeNo, nil)
	}))
	if len(h) != 1 || !c.Closing() || c.Free() != 0 || c.Active() != 4 || c.Open(99, get, nil) != 0 {
		t.Fatalf("the first notice: %v, closing %v, free %d, active %d", h, c.Closing(), c.Free(), c.Active())
	}
	h = nil
	feed(t, c, &h, frames(func(f *xhttp2.Framer) {
		f.WriteGoAway(3, xhttp2.ErrCodeNo, []byte("bye"))
		headers(f, 1, true, ":status", "200")
	}))
	out := int64(frameHeader + len(get))
	want := events{{"reset", 12, Exchange{200, size(":status", "200"), out}, NoError, false}, {"reset", 13, Exchange{0, 0, out}, NoError, true},
		{Kind: "begin", Tag: 10}, {Kind: "end", Tag: 10, Exchange: Exchange{200, size(":status", "200"), out}}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	if c.Active() != 1 {
		t.Errorf("active %d", c.Active())
	}
}

func TestClose(t *testing.T) {
	c := begun(t, 1)
	c.Close()
	if lines := said(t, drain(c)); !slices.Equal(lines, []string{"GOAWAY NO_ERROR"}) || c.Free() != 0 || !c.Closing() {
		t.Errorf("%v, free %d", lines, c.Free())
	}
	var h events
	feed(t, c, &h, frames(func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "200") }))
	if len(h) != 2 || h[1].Kind != "end" {
		t.Errorf("got %v", h)
	}
}

func TestFree(t *testing.T) {
	t.Run("the peer's limit", func(t *testing.T) {
		c := begun(t, 2, xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 3})
		if c.Free() != 1 {
			t.Errorf("free %d, want 1", c.Free())
		}
		feed(t, c, &events{}, frames(func(f *xhttp2.Framer) {
			f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 0})
		}))
		if c.Free() != 0 || c.Closing() {
			t.Errorf("free %d, closing %v", c.Free(), c.Closing())
		}
		feed(t, c, &events{}, frames(func(f *xhttp2.Framer) {
			f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: math.MaxUint32})
		}))
		if c.Free() != 8 {
			t.Errorf("free %d, want 8", c.Free())
		}
	})
	t.Run("before SETTINGS", func(t *testing.T) {
		c := New(1000)
		c.Start()
		if c.Free() != 100 {
			t.Errorf("free %d, want 100", c.Free())
		}
		feed(t, c, &events{}, frames(func(f *xhttp2.Framer) { f.WriteSettings() }))
		if c.Free() != 1000 {
			t.Errorf("free %d, want 1000", c.Free())
		}
	})
	t.Run("our limit", func(t *testing.T) {
		c := begun(t, 10)
		if c.Free() != 0 || c.Closing() || c.Open(99, get, nil) != 0 || c.Active() != 10 {
			t.Errorf("free %d, closing %v", c.Free(), c.Closing())
		}
	})
	t.Run("the last id", func(t *testing.T) {
		c := begun(t, 0)
		c.next = maxStream
		if id := c.Open(1, get, nil); id != maxStream || c.Free() != 0 || !c.Closing() || c.Active() != 1 {
			t.Errorf("stream %d, free %d, closing %v", id, c.Free(), c.Closing())
		}
		var h events
		feed(t, c, &h, frames(func(f *xhttp2.Framer) { headers(f, maxStream, true, ":status", "200") }))
		if len(h) != 2 || c.Active() != 0 {
			t.Errorf("got %v", h)
		}
	})
}

// TestRestart uses a Conn for a second connection.
func TestRestart(t *testing.T) {
	c := begun(t, 3)
	c.Open(20, get, make([]byte, 1<<20))
	feed(t, c, &events{}, append(frames(func(f *xhttp2.Framer) {
		f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x48\x03418"), EndHeaders: true})
		f.WriteData(1, false, make([]byte, 100))
		f.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
		f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1})
	}), 0, 0)) // in the middle of a block and of a frame
	abandon(c)
	c.Start()
	if c.Free() != 10 || c.Active() != 0 || c.Closing() {
		t.Fatalf("free %d, active %d, closing %v", c.Free(), c.Active(), c.Closing())
	}
	var h events
	id := c.Open(1, get, []byte("body"))
	if !strings.HasPrefix(string(drain(c)), preface) || id != 1 {
		t.Errorf("stream %d", id)
	}
	feed(t, c, &h, frames(func(f *xhttp2.Framer) { f.WriteSettings(); headers(f, 1, true, ":status", "200") }))
	if c.decoder.n != 0 || len(h) != 3 || h[2].Kind != "end" || h[2].Exchange.Out != int64(frameHeader+len(get)+frameHeader+4) {
		t.Errorf("got %v", h)
	}
}

// TestRepliesAreCountedAnewWhenRead lets a peer that reads ask for more than maxReplies.
func TestRepliesAreCountedAnewWhenRead(t *testing.T) {
	c := begun(t, 0)
	ping := frames(func(f *xhttp2.Framer) { f.WritePing(false, [8]byte{}) })
	for range 5 * maxReplies {
		feed(t, c, &events{}, ping)
		if out := c.Out(); len(out) > 17*maxReplies/2 { // it never runs empty
			c.Wrote(len(out) - 1)
		}
	}
}

// TestLongStreams keeps streams open while thousands of others come and go, so that the table has chains.
func TestLongStreams(t *testing.T) {
	c := begun(t, 7)
	var h events
	for i := range 10_000 {
		id := c.Open(int32(1000+i), get, nil)
		feed(t, c, &h, frames(func(f *xhttp2.Framer) { headers(f, id, true, ":status", "200") }))
		if len(h) != 2 || h[1].Kind != "end" || h[1].Tag != int32(1000+i) || c.Active() != 7 {
			t.Fatalf("stream %d: %v, active %d", id, h, c.Active())
		}
		h = h[:0]
		c.Wrote(len(c.Out()))
	}
	if tags := abandon(c); len(tags) != 7 || slices.Max(tags) != 16 {
		t.Errorf("abandoned %v", tags)
	}
}

// stopper cancels a stream as its response begins, and opens another as one ends.
type stopper struct {
	events
	c      *Conn
	cancel uint32
	opened uint32
}

func (h *stopper) Begin(tag int32) {
	h.events.Begin(tag)
	if h.cancel != 0 {
		h.c.Cancel(h.cancel)
	}
}

func (h *stopper) End(tag int32, e Exchange) {
	h.events.End(tag, e)
	h.opened = h.c.Open(77, get, nil)
}

func TestHandlerActs(t *testing.T) {
	t.Run("cancel", func(t *testing.T) {
		c := begun(t, 1)
		h := &stopper{c: c, cancel: 1}
		feed(t, c, h, frames(func(f *xhttp2.Framer) { headers(f, 1, true, ":status", "200") }))
		if len(h.events) != 1 || c.Active() != 0 {
			t.Errorf("got %v", h.events)
		}
	})
	t.Run("open", func(t *testing.T) {
		c := begun(t, 1)
		h := &stopper{c: c}
		feed(t, c, h, frames(func(f *xhttp2.Framer) {
			headers(f, 1, true, ":status", "200")
			headers(f, 3, false, ":status", "200")
		}))
		if want := []string{"begin", "end", "begin"}; h.opened != 3 || len(h.events) != len(want) || h.events[2].Tag != 77 {
			t.Errorf("stream %d: %v", h.opened, h.events)
		}
	})
}
