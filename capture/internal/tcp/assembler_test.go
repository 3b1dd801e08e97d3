package tcp

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

const (
	fromClient = exchange.FromClient
	fromServer = exchange.FromServer
)

func TestAssembler(t *testing.T) {
	again := func(w *wire, i int) *wire { w.packets = append(w.packets, w.packets[i]); return w }
	tests := []struct {
		name string
		wire *wire
		want string
		loss exchange.Loss
	}{
		{name: "a whole connection",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").close(),
			want: "c:ab s:cd c. s. close"},
		{name: "numbers wrap around",
			wire: newWire(4000, 0xFFFFFFFD, 0xFFFFFFFF).open().client("abcd").server("xyz").client("efg").close(),
			want: "c:abcd s:xyz c:efg c. s. close"},
		{name: "numbers wrap around in a hole",
			wire: newWire(4000, 0xFFFFFFFC, 9).open().client("ab").client("cd").client("ef").order(0, 1, 2, 3, 5, 4),
			want: "c:ab c:cd c:ef close", loss: exchange.Loss{exchange.OutOfOrder: 1}},
		{name: "a hole of one byte where numbers wrap around",
			wire: newWire(4000, 0xFFFFFFFC, 9).open().client("ab").client("c").client("def").without(4),
			want: "c:ab c?1 c:def close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 1}},
		{name: "sent again",
			wire: again(newWire(4000, 1, 9).open().client("ab").client("cd"), 3),
			want: "c:ab c:cd close", loss: exchange.Loss{exchange.Retransmitted: 2}},
		{name: "sent again, with new bytes",
			wire: newWire(4000, 1, 9).open().client("abc").send(fromClient, "bcde", func(t *layers.TCP) { t.Seq -= 2 }),
			want: "c:abc c:de close", loss: exchange.Loss{exchange.Retransmitted: 2}},
		{name: "sent again across the wrap",
			wire: newWire(4000, 0xFFFFFFFC, 9).open().client("abcdef").send(fromClient, "bcdefg", func(t *layers.TCP) { t.Seq -= 5 }),
			want: "c:abcdef c:g close", loss: exchange.Loss{exchange.Retransmitted: 5}},
		{name: "sent again behind a hole",
			wire: again(newWire(4000, 1, 9).open().client("ab").client("cd").client("ef").order(0, 1, 2, 4, 5, 4, 3), 1),
			want: "c:ab c:cd c:ef close", loss: exchange.Loss{exchange.Retransmitted: 2, exchange.OutOfOrder: 2}},
		{name: "keep-alive probes",
			wire: newWire(4000, 1, 9).open().client("ab").
				send(fromClient, "", func(t *layers.TCP) { t.Seq-- }).
				send(fromClient, "b", func(t *layers.TCP) { t.Seq-- }),
			want: "c:ab close", loss: exchange.Loss{exchange.Retransmitted: 1}},
		{name: "a lost segment, given up at the end",
			wire: newWire(4000, 1, 9).open().client("ab").client("cd").client("ef").without(4),
			want: "c:ab c?2 c:ef close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 2}},
		{name: "a lost request, shown by its answer's acknowledgement",
			wire: newWire(4000, 1, 9).open().client("abc").server("de").close().without(3),
			want: "c?3 s:de c. s. close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 3}},
		{name: "holes in both directions keep the turns",
			wire: newWire(4000, 1, 9).open().client("q0").server("a0").client("q1").server("a1").client("q2").server("a2").client("q3").server("a3").without(5, 8),
			want: "c:q0 s:a0 c?2 s:a1 c:q2 s?2 c:q3 s:a3 close", loss: exchange.Loss{exchange.Gaps: 2, exchange.MissingBytes: 4}},
		{name: "a gap of several answers keeps the turns",
			wire: newWire(4000, 1, 9).open().client("q0").server("a0").client("q1").server("a1").client("q2").server("a2").without(4, 6),
			want: "c:q0 s?2 c:q1 s?2 c:q2 s:a2 close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 4}},
		{name: "a gap of several requests keeps the turns",
			wire: newWire(4000, 1, 9).open().client("q0").server("a0").client("q1").server("a1").client("q2").server("a2").without(3, 5),
			want: "c?2 s:a0 c?2 s:a1 c:q2 s:a2 close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 4}},
		{name: "joined midway behind several requests",
			wire: newWire(4000, 1, 9).open().client("q0").server("a0").client("q1").server("a1").client("q2").server("a2").without(0, 1, 4),
			want: "c?-1 c:q0 c:q1 s?-1 s:a1 c:q2 s:a2 close", loss: exchange.Loss{exchange.JoinedMidway: 1}},
		{name: "a lost last segment, shown by a bare acknowledgement",
			wire: newWire(4000, 1, 9).open().client("ab").client("cde").ack(fromServer).without(4),
			want: "c:ab c?3 close", loss: exchange.Loss{exchange.Gaps: 1, exchange.MissingBytes: 3}},
		{name: "an answer before its request",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").order(0, 1, 2, 4, 3),
			want: "c:ab s:cd close"},
		{name: "before its SYN",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").close().order(3, 4, 5, 6, 0, 1, 2, 7),
			want: "c:ab s:cd c. s. close"},
		{name: "FIN before the last bytes",
			wire: newWire(4000, 1, 9).open().client("ab").fin(fromClient).fin(fromServer).order(0, 1, 2, 4, 5, 3),
			want: "c:ab c. s. close"},
		{name: "bytes with SYN and FIN",
			wire: newWire(4000, 1, 9).
				send(fromClient, "ab", func(t *layers.TCP) { t.SYN, t.ACK = true, false }).
				send(fromServer, "", func(t *layers.TCP) { t.SYN = true }).
				send(fromServer, "cd", func(t *layers.TCP) { t.FIN = true }).fin(fromClient),
			want: "c:ab s:cd s. c. close"},
		{name: "stragglers of an ended connection",
			wire: again(again(newWire(4000, 1, 9).open().client("ab").close(), 3), 4),
			want: "c:ab c. s. close"},
		{name: "reset",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").rst(fromClient).server("ef"),
			want: "c:ab s:cd c!reset close"},
		{name: "reset before the last bytes",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").rst(fromServer).order(0, 1, 2, 5, 3, 4),
			want: "c:ab s:cd s!reset close"},
		{name: "a stale reset",
			wire: newWire(4000, 1, 9).open().client("ab").send(fromClient, "", func(t *layers.TCP) { t.RST, t.Seq = true, t.Seq-2 }).client("cd"),
			want: "c:ab c:cd close"},
		{name: "joined midway",
			wire: newWire(4000, 1, 9).client("ab").server("cd").client("ef"),
			want: "c?-1 c:ab s?-1 s:cd c:ef close", loss: exchange.Loss{exchange.JoinedMidway: 1}},
		{name: "joined at the end",
			wire: newWire(4000, 1, 9).ack(fromClient).close(),
			want: ""},
		{name: "SYN lost",
			wire: newWire(4000, 1, 9).open().client("ab").server("cd").close().without(0),
			want: "c:ab s:cd c. s. close"},
		{name: "both directions at once",
			wire: newWire(4000, 1, 9).open().client("ab").
				send(fromServer, "x", func(t *layers.TCP) { t.Ack -= 2 }).
				send(fromClient, "cd", func(t *layers.TCP) { t.Ack-- }).server("y"),
			want: "c:ab s:x c:cd s:y close"},
		{name: "ports used again",
			wire: func() *wire {
				w := newWire(4000, 1, 9).open().client("ab").close()
				w.seq = [2]uint32{0x5000_0000, 0x6000_0000}
				return w.open().client("cd").server("ef").close()
			}(),
			want: "c:ab c. s. close | c:cd s:ef c. s. close"},
		{name: "ports used again without an end",
			wire: func() *wire {
				w := newWire(4000, 1, 9).open().client("ab").server("x")
				w.seq = [2]uint32{700, 800}
				return w.open().client("cd").close()
			}(),
			want: "c:ab s:x close | c:cd c. s. close"},
		{name: "a segment of another connection",
			wire: func() *wire {
				w := newWire(4000, 1, 9).open().client("ab").server("x")
				w.seq = [2]uint32{0x7000_0000, 0x8000_0000}
				return w.client("cd")
			}(),
			want: "c:ab s:x close | c?-1 c:cd close", loss: exchange.Loss{exchange.JoinedMidway: 1}},
		{name: "nothing but a refusal",
			wire: newWire(4000, 1, 9).send(fromClient, "", func(t *layers.TCP) { t.SYN, t.ACK = true, false }).
				send(fromServer, "", func(t *layers.TCP) { t.RST, t.Seq = true, 0 }),
			want: ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCapture(Options{}).packets(test.wire.packets)
			c.Close()
			if got := c.String(); got != test.want {
				t.Errorf("told\n\t%s, want\n\t%s", got, test.want)
			}
			if test.loss == nil {
				test.loss = exchange.Loss{}
			}
			if diff := cmp.Diff(test.loss, c.loss); diff != "" {
				t.Errorf("loss (-want +got):\n%s", diff)
			}
			checkEmpty(t, c)
		})
	}
}

// checkEmpty checks that nothing is held any more.
func checkEmpty(t *testing.T, c *capture) {
	t.Helper()
	if c.pages != 0 || len(c.Assembler.conns) != 0 || c.unsure.Len()+c.lost.Len()+c.live.Len()+c.closed.Len() != 0 {
		t.Errorf("after Close: %d pages, %d connections, %d+%d waiting", c.pages, len(c.Assembler.conns), c.unsure.Len(), c.lost.Len())
	}
	if asm := c.sorter.asm; asm != nil && !strings.Contains(asm.Dump(), "used: 0,") {
		t.Errorf("gopacket holds pages: %s", asm.Dump())
	}
	for _, r := range c.conns {
		if r.closed != 1 || r.ends[0] > 1 || r.ends[1] > 1 {
			t.Errorf("%s: closed %d times, ended %v times", r.Session, r.closed, r.ends)
		}
	}
}

func TestConn(t *testing.T) {
	tests := []struct {
		name           string
		wire           *wire
		client, server string
		midway         bool
	}{
		{"SYN", newWire(79, 1, 9).open().client("a"), "10.0.0.1:79", "10.0.0.2:80", false},
		{"SYN-ACK only", newWire(79, 1, 9).open().client("a").without(0), "10.0.0.1:79", "10.0.0.2:80", false},
		{"joined midway: the higher port", newWire(4000, 1, 9).server("b").client("a"), "10.0.0.1:4000", "10.0.0.2:80", true},
		{"joined midway: the higher port, wrongly", newWire(79, 1, 9).client("b"), "10.0.0.2:80", "10.0.0.1:79", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCapture(Options{}).packets(test.wire.packets)
			c.Close()
			if len(c.conns) != 1 {
				t.Fatalf("%d connections, want 1", len(c.conns))
			}
			got := c.conns[0].Conn
			if got.Client.String() != test.client || got.Server.String() != test.server || got.Midway != test.midway {
				t.Errorf("client %s, server %s, midway %t, want %s, %s, %t", got.Client, got.Server, got.Midway, test.client, test.server, test.midway)
			}
			if want := test.client + "-" + test.server + "#1"; got.Session != want || !got.Begun.Equal(test.wire.packets[0].at) {
				t.Errorf("session %s, begun %s, want %s, %s", got.Session, got.Begun, want, test.wire.packets[0].at)
			}
		})
	}
}

func TestSessionsDiffer(t *testing.T) {
	w := newWire(4000, 1, 9).open().client("a").close()
	w.seq = [2]uint32{500, 900}
	c := newCapture(Options{}).packets(w.open().client("b").close().packets)
	if len(c.conns) != 2 || c.conns[0].Session == c.conns[1].Session {
		t.Errorf("connections %v, want two with names of their own", c)
	}
}

// TestPatience checks when a hole is given up: what comes after it must show that, before Close.
func TestPatience(t *testing.T) {
	hole := func() *wire { return newWire(4000, 1, 9).open().client("ab").client("cd").client("ef").without(4) }
	noise := newWire(5000, 1, 9)
	tests := []struct {
		name string
		wire *wire
		wait time.Duration
		want string
	}{
		{"a hole nobody acknowledged waits", hole(), 9 * time.Second, "c:ab"},
		{"until it was idle", hole(), 11 * time.Second, "c:ab c?2 c:ef close"},
		{"a hole that was acknowledged waits", hole().ack(fromServer), 400 * time.Millisecond, "c:ab"},
		{"for a shorter time", hole().ack(fromServer), 600 * time.Millisecond, "c:ab c?2 c:ef"},
		{"an answer waits for its request", newWire(4000, 1, 9).open().client("ab").server("cd").without(3), 400 * time.Millisecond, ""},
		{"for a short time", newWire(4000, 1, 9).open().client("ab").server("cd").without(3), 600 * time.Millisecond, "c?2 s:cd"},
		{"a connection joined midway waits for its SYN", newWire(4000, 1, 9).client("ab").server("cd"), 400 * time.Millisecond, ""},
		{"only for a short time, when bytes were acknowledged", newWire(4000, 1, 9).client("ab").server("cd").client("ef"), 600 * time.Millisecond, "c?-1 c:ab s?-1 s:cd c:ef"},
		{"one direction only, with its SYN, waits for the other", newWire(4000, 1, 9).open().client("ab").client("cd").without(1), 400 * time.Millisecond, ""},
		{"for a short time, once", newWire(4000, 1, 9).open().client("ab").wait(time.Second).client("cd").without(1), 0, "c:ab c:cd"},
		{"a silent connection is closed", newWire(4000, 1, 9).open().client("ab"), 11 * time.Second, "c:ab close"},
		{"an end that never comes", newWire(4000, 1, 9).open().client("ab").client("cd").fin(fromClient).without(4), 11 * time.Second, "c:ab c?2 c. close"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCapture(Options{Idle: 10 * time.Second}).packets(test.wire.packets)
			noise.at = test.wire.at.Add(test.wait)
			noise.packets = nil
			c.packets(noise.ack(fromClient).packets)
			if got := c.String(); got != test.want {
				t.Errorf("told\n\t%s, want\n\t%s", got, test.want)
			}
		})
	}
}

// TestMidwayGoesOn checks that a connection joined midway is read at once when it is known to be.
func TestMidwayGoesOn(t *testing.T) {
	w := newWire(4000, 1, 9).client("ab").wait(11 * time.Second).client("cd").server("ef")
	c := newCapture(Options{Idle: 10 * time.Second}).packets(w.packets)
	if got, want := c.String(), "c?-1 c:ab close"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	w = newWire(4000, 1, 9).client("ab").ack(fromServer).wait(time.Second).client("cd").server("ef")
	c = newCapture(Options{}).packets(w.packets)
	if got, want := c.String(), "c?-1 c:ab c:cd s?-1 s:ef"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

func TestSnapLength(t *testing.T) {
	cut := func(w *wire, missing int, indexes ...int) *wire {
		for _, i := range indexes {
			p := &w.packets[i].t
			p.Payload = p.Payload[:len(p.Payload)-missing]
			w.packets[i].missing = missing
		}
		return w
	}
	three := func() *wire { return newWire(4000, 1, 9).open().client("abcd").client("efgh").client("ijkl") }
	tests := []struct {
		name    string
		wire    *wire
		want    string
		gaps    int64
		missing int64
	}{
		{"in order", cut(three(), 2, 3, 4, 5), "c:ab c?2 c:ef c?2 c:ij c?2 close", 3, 6},
		{"out of order", cut(three(), 2, 3, 4, 5).order(0, 1, 2, 4, 5, 3), "c:ab c?2 c:ef c?2 c:ij c?2 close", 3, 6},
		{"without any byte", cut(three(), 4, 4), "c:abcd c?4 c:ijkl close", 1, 4},
		{"without any byte, out of order", cut(three(), 4, 4).order(0, 1, 2, 5, 4, 3), "c:abcd c?4 c:ijkl close", 1, 4},
		{"without any byte, behind a hole", cut(three(), 4, 5).without(3), "c?4 c:efgh c?4 close", 2, 8},
		{"and lost", cut(three(), 2, 3, 5).without(4), "c:ab c?2 c?4 c:ij c?2 close", 3, 8},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCapture(Options{}).packets(test.wire.packets)
			c.Close()
			if got := c.String(); got != test.want {
				t.Errorf("told\n\t%s, want\n\t%s", got, test.want)
			}
			if c.loss[exchange.Gaps] != test.gaps || c.loss[exchange.MissingBytes] != test.missing {
				t.Errorf("loss %v, want %d gaps of %d bytes", c.loss, test.gaps, test.missing)
			}
			checkEmpty(t, c)
		})
	}
}

// TestTimes checks that bytes have the time stamp of the packet that brought them, also those that waited.
func TestTimes(t *testing.T) {
	w := newWire(4000, 1, 9).open().client("ab").client(strings.Repeat("c", 5000)).client("d").order(0, 1, 2, 4, 5, 3)
	var got []string
	c := New(Options{Loss: exchange.Loss{}, Open: func(Conn) exchange.Stream { return times{&got} }})
	(&capture{Assembler: c}).packets(w.packets)
	want := []string{"2 5ms", "1900 3ms", "1900 3ms", "1200 3ms", "1 4ms"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bytes and times (-want +got):\n%s", diff)
	}
}

type times struct{ got *[]string }

func (s times) Data(_ exchange.Direction, b []byte, at time.Time) {
	*s.got = append(*s.got, fmt.Sprint(len(b), " ", at.Sub(epoch)))
}
func (times) Gap(exchange.Direction, int64, time.Time) {}
func (times) End(exchange.Direction, time.Time, bool)  {}
func (times) Close(time.Time)                          {}

// TestWindow has the segments of a window of 1 MB come in reverse.
func TestWindow(t *testing.T) {
	w := newWire(4000, 0xFFFF_0000, 9).open()
	var want bytes.Buffer
	for i := range 720 {
		s := strings.Repeat(string(rune('a'+i%26)), 1460)
		want.WriteString(s)
		w.client(s)
	}
	indexes := []int{0, 1, 2}
	for i := 722; i >= 3; i-- {
		indexes = append(indexes, i)
	}
	c := newCapture(Options{}).packets(w.order(indexes...).packets)
	if got := c.conns[0].bytes[0].String(); got != want.String() {
		t.Errorf("%d bytes, want the %d that were sent", len(got), want.Len())
	}
	c.Close()
	if diff := cmp.Diff(exchange.Loss{exchange.OutOfOrder: 719}, c.loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
	checkEmpty(t, c)
}

// TestLong passes more bytes than there are numbers, with a hole every now and then.
func TestLong(t *testing.T) {
	payload := strings.Repeat("x", 1<<20)
	w := newWire(4000, 77, 9).open()
	var got int64
	loss := exchange.Loss{}
	a := &capture{Assembler: New(Options{Loss: loss, Open: func(Conn) exchange.Stream { return counter{&got} }})}
	a.packets(w.packets)
	for i := range 5000 {
		w.packets = nil
		w.client(payload)
		if i%100 == 0 {
			w.client("yz").client(payload).client("z")
			w.packets[1], w.packets[2] = w.packets[2], w.packets[1]
			w.packets[1].at, w.packets[2].at = w.packets[2].at, w.packets[1].at
		}
		a.packets(w.packets)
	}
	a.Close()
	if want := int64(5050)<<20 + 150; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	if diff := cmp.Diff(exchange.Loss{exchange.OutOfOrder: 50}, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

type counter struct{ n *int64 }

func (c counter) Data(_ exchange.Direction, b []byte, _ time.Time) { *c.n += int64(len(b)) }
func (counter) Gap(exchange.Direction, int64, time.Time)           {}
func (counter) End(exchange.Direction, time.Time, bool)            {}
func (counter) Close(time.Time)                                    {}

func TestBounds(t *testing.T) {
	t.Run("pages", func(t *testing.T) {
		c := newCapture(Options{Pages: 64})
		for port := range 40 {
			w := newWire(4000+port, 1, 9).open()
			for range 20 {
				w.client("a").client("b")
				w.packets = append(w.packets[:len(w.packets)-2], w.packets[len(w.packets)-1])
			}
			c.packets(w.packets)
			if c.pages > 64 {
				t.Fatalf("%d pages, want 64 at most", c.pages)
			}
		}
		c.Close()
		if c.loss[exchange.Gaps] != 800 || c.loss[exchange.MissingBytes] != 800 {
			t.Errorf("loss %v, want 800 gaps of a byte each", c.loss)
		}
		checkEmpty(t, c)
	})
	t.Run("connections", func(t *testing.T) {
		c := newCapture(Options{Connections: 3})
		for port := range 5 {
			c.packets(newWire(4000+port, 1, 9).open().client("a").packets)
		}
		if got, want := c.String(), "c:a close | c:a close | c:a | c:a | c:a"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if diff := cmp.Diff(exchange.Loss{exchange.BuffersFull: 2}, c.loss); diff != "" {
			t.Errorf("loss (-want +got):\n%s", diff)
		}
	})
	t.Run("connections that ended", func(t *testing.T) {
		c := newCapture(Options{Connections: 3})
		c.packets(newWire(3000, 1, 9).open().client("a").packets)
		for port := range 20 {
			c.packets(newWire(4000+port, 1, 9).open().client("a").close().packets)
		}
		if c.conns[0].closed != 0 || len(c.loss) != 0 || len(c.Assembler.conns) != 3 {
			t.Errorf("loss %v, %d connections, the idle one closed %d times; want none, 3, 0", c.loss, len(c.Assembler.conns), c.conns[0].closed)
		}
	})
}

func TestUnreadableAddresses(t *testing.T) {
	c := newCapture(Options{})
	c.Packet(netip.Addr{}, netip.Addr{}, &layers.TCP{SYN: true}, 0, epoch)
	if diff := cmp.Diff(exchange.Loss{exchange.PacketsUnreadable: 1}, c.loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
}

// TestShuffle checks that however the packets of several connections are shuffled and repeated, the same bytes come out, and no
// answer before its request.
func TestShuffle(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 5))
			var packets []packet
			want := map[string][2]string{}
			for port := range 1 + random.IntN(5) {
				w, sent := conversation(random, 4000+port)
				packets = append(packets, w.packets...)
				want[w.ends[0].String()] = sent
			}
			for range random.IntN(len(packets)) {
				packets = append(packets, packets[random.IntN(len(packets))])
			}
			random.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
			c := newCapture(Options{}).packets(packets)
			c.Close()
			got := map[string][2]string{}
			for _, r := range c.conns {
				got[r.Client.String()] = [2]string{r.bytes[0].String(), r.bytes[1].String()}
				inTurn(t, r)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("bytes (-want +got):\n%.2000s", diff)
			}
			for cause := range maps.Keys(c.loss) {
				if !cause.Harmless() {
					t.Errorf("%d %s, want none", c.loss[cause], cause)
				}
			}
			checkEmpty(t, c)
		})
	}
}

// conversation makes a connection of requests and answers, each of several segments.
func conversation(random *rand.Rand, port int) (*wire, [2]string) {
	w := newWire(port, random.Uint32(), random.Uint32()).open()
	var sent [2]strings.Builder
	for i := range random.IntN(12) + 1 {
		for d, format := range []string{"<q%d:%s>", "<a%d:%s>"} {
			s := fmt.Sprintf(format, i, strings.Repeat("x", random.IntN(4000)))
			sent[d].WriteString(s)
			for len(s) > 0 {
				n := min(len(s), 1+random.IntN(2500))
				w.send(exchange.Direction(d), s[:n], nil)
				s = s[n:]
			}
		}
	}
	return w.close(), [2]string{sent[0].String(), sent[1].String()}
}

// inTurn checks that answer i came when request i was there.
func inTurn(t *testing.T, r *recorder) {
	t.Helper()
	var requests strings.Builder
	answers := 0
	for _, e := range r.log {
		switch {
		case strings.HasPrefix(e, "c:"):
			requests.WriteString(e[2:])
		case strings.HasPrefix(e, "s:"):
			answers += strings.Count(e, "<")
			if whole := strings.Count(requests.String(), ">"); answers > whole {
				t.Fatalf("%s: answer %d came when there were %d requests", r.Session, answers, whole)
			}
		}
	}
}

// FuzzAssembler takes any bytes for segments of a few connections: 8 bytes a segment.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x00\x02\x00\x00\x00\x00\x00\x00\x01\x12\x00\x00\x00\x01\x00\x00\x00\x10\x00\x01\x00\x01\x05\x00"))
	f.Add([]byte("\x00\x10\x00\x09\x00\x01\x05\x00\x00\x10\x00\x05\x00\x01\x06\x00\x00\x10\x00\x03\x00\x01\x05\x03\x00\x04\x00\x03\x00\x01\x05\x03"))
	f.Add(bytes.Repeat([]byte("\x02\x10\xff\xf0\x00\x01\xff\x00\x03\x11\x00\x40\x20\x01\x01\x20"), 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCapture(Options{Pages: 16, Connections: 4, Idle: time.Second})
		at := epoch
		var given int64
		for ; len(b) >= 8; b = b[8:] {
			p := fuzzed(b, at)
			given += int64(len(p.t.Payload))
			at = at.Add(time.Duration(int8(b[7])) * time.Millisecond * 20)
			c.packets([]packet{p})
			if c.pages > 16 || len(c.Assembler.conns) > 4 {
				t.Fatalf("%d pages of 16, %d connections of 4", c.pages, len(c.Assembler.conns))
			}
		}
		c.Close()
		checkEmpty(t, c)
		for _, r := range c.conns {
			for _, e := range r.log {
				if e[1:2] == ":" {
					given -= int64(len(e) - 2)
				}
			}
		}
		if given < 0 {
			t.Errorf("%d more bytes were told than came", -given)
		}
	})
}

// fuzzed makes a segment of 8 bytes. Numbers are near each other, as those of one connection, or far apart.
func fuzzed(b []byte, at time.Time) packet {
	w := newWire(4000+int(b[0]>>1&3), 0, 0)
	d := exchange.Direction(b[0] & 1)
	w.at = at
	w.send(d, strings.Repeat("z", int(b[6])*int(1+b[7]&15)), func(t *layers.TCP) {
		t.FIN, t.SYN, t.RST, t.ACK = b[1]&1 != 0, b[1]&2 != 0, b[1]&4 != 0, b[1]&16 != 0
		t.Seq = uint32(b[2]&0xf0)<<24 - 8 + uint32(b[3])<<(b[2]&15)
		t.Ack = uint32(b[4]&0xf0)<<24 - 8 + uint32(b[5])<<(b[4]&15)
	})
	p := w.packets[0]
	p.missing = int(b[1]>>5) * int(b[6])
	return p
}

// benchmarkPackets measures per packet; the packets of one round are given again and again, further on in time and numbers.
func benchmarkPackets(b *testing.B, w *wire) {
	a := &capture{Assembler: New(Options{Loss: exchange.Loss{}, Open: func(Conn) exchange.Stream { return counter{new(int64)} }})}
	a.packets(newWire(4000, 0, 0).open().packets)
	span := [2]uint32{w.seq[0] - 1, w.seq[1] - 1}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := &w.packets[i%len(w.packets)]
		d := 0
		if p.src == w.ends[1] {
			d = 1
		}
		a.Packet(w.ends[d].Addr(), w.ends[1-d].Addr(), &p.t, 0, p.at)
		p.t.Seq += span[d]
		p.t.Ack += span[1-d]
		p.at = p.at.Add(w.step * time.Duration(len(w.packets)))
	}
}

func BenchmarkInOrder(b *testing.B) {
	w := newWire(4000, 1, 1)
	for range 8 {
		w.client(strings.Repeat("q", 200)).server(strings.Repeat("a", 1400))
	}
	benchmarkPackets(b, w)
}

func BenchmarkReordered(b *testing.B) {
	w := newWire(4000, 1, 1)
	for range 8 {
		w.client(strings.Repeat("q", 200)).client(strings.Repeat("r", 1400))
	}
	for i := 0; i < len(w.packets); i += 4 {
		w.packets[i], w.packets[i+1] = w.packets[i+1], w.packets[i]
	}
	benchmarkPackets(b, w)
}

// TestBetween holds between against time.Time's own.
func TestBetween(t *testing.T) {
	for _, from := range []time.Time{{}, epoch, epoch.Add(1), epoch.Add(-time.Nanosecond), time.Unix(0, 999_999_999).UTC(), time.Unix(1<<40, 5).UTC(), time.Unix(-1<<40, 5).UTC()} {
		for _, to := range []time.Time{{}, epoch, epoch.Add(time.Hour), time.Unix(1, 0).UTC(), time.Unix(1<<33, 0).UTC(), time.Unix(1<<40, 4).UTC()} {
			if got, want := between(from, to), to.Sub(from); got != want {
				t.Errorf("from %v to %v: %v, want %v", from, to, got, want)
			}
		}
	}
}
