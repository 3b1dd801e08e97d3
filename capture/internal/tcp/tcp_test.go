package tcp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
)

// epoch is when the captures of these tests begin.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// packet is a segment as a capture has it.
type packet struct {
	src, dst netip.AddrPort
	t        layers.TCP
	missing  int
	at       time.Time
}

// wire makes the packets of one connection.
type wire struct {
	ends    [2]netip.AddrPort // client, server
	seq     [2]uint32
	packets []packet
	at      time.Time
	step    time.Duration
}

func newWire(port int, client, server uint32) *wire {
	return &wire{
		ends: [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(port)), netip.MustParseAddrPort("10.0.0.2:80")},
		seq:  [2]uint32{client, server}, at: epoch, step: time.Millisecond,
	}
}

// send adds a segment; edit may change it before it is on the wire.
func (w *wire) send(d exchange.Direction, payload string, edit func(*layers.TCP)) *wire {
	t := layers.TCP{SrcPort: layers.TCPPort(w.ends[d].Port()), DstPort: layers.TCPPort(w.ends[1-d].Port()),
		Seq: w.seq[d], Ack: w.seq[1-d], ACK: true}
	t.Payload = []byte(payload)
	if edit != nil {
		edit(&t)
	}
	w.packets = append(w.packets, packet{w.ends[d], w.ends[1-d], t, 0, w.at})
	w.at = w.at.Add(w.step)
	w.seq[d] += uint32(len(payload))
	if t.SYN || t.FIN {
		w.seq[d]++
	}
	return w
}

func (w *wire) open() *wire {
	w.send(exchange.FromClient, "", func(t *layers.TCP) { t.SYN, t.ACK, t.Ack = true, false, 0 })
	w.send(exchange.FromServer, "", func(t *layers.TCP) { t.SYN = true })
	return w.ack(exchange.FromClient)
}

func (w *wire) client(s string) *wire { return w.send(exchange.FromClient, s, nil) }
func (w *wire) server(s string) *wire { return w.send(exchange.FromServer, s, nil) }
func (w *wire) ack(d exchange.Direction) *wire {
	return w.send(d, "", nil)
}
func (w *wire) fin(d exchange.Direction) *wire {
	return w.send(d, "", func(t *layers.TCP) { t.FIN = true })
}
func (w *wire) rst(d exchange.Direction) *wire {
	return w.send(d, "", func(t *layers.TCP) { t.RST = true })
}
func (w *wire) close() *wire {
	return w.fin(exchange.FromClient).fin(exchange.FromServer).ack(exchange.FromClient)
}

// wait lets capture time pass.
func (w *wire) wait(d time.Duration) *wire { w.at = w.at.Add(d); return w }

// order gives the packets in another order; the time stamps stay in theirs.
func (w *wire) order(indexes ...int) *wire {
	old := w.packets
	w.packets = nil
	for i, j := range indexes {
		p := old[j]
		p.at = epoch.Add(time.Duration(i) * w.step)
		w.packets = append(w.packets, p)
	}
	return w
}

// without loses packets.
func (w *wire) without(indexes ...int) *wire {
	for n, i := range indexes {
		i -= n
		w.packets = append(w.packets[:i:i], w.packets[i+1:]...)
	}
	return w
}

// recorder notes what a stream was told.
type recorder struct {
	Conn
	log    []string
	bytes  [2]strings.Builder
	closed int
	ends   [2]int
}

func (r *recorder) note(d exchange.Direction, format string, args ...any) {
	r.log = append(r.log, string("cs"[d])+fmt.Sprintf(format, args...))
}

func (r *recorder) Data(d exchange.Direction, b []byte, at time.Time) {
	r.alive()
	r.bytes[d].Write(b)
	r.note(d, ":%s", b)
}

func (r *recorder) Gap(d exchange.Direction, n int64, at time.Time) {
	r.alive()
	if n > 0 && n < 1<<20 {
		r.bytes[d].WriteString(strings.Repeat("?", int(n)))
	}
	r.note(d, "?%d", n)
}

func (r *recorder) End(d exchange.Direction, at time.Time, reset bool) {
	r.alive()
	r.ends[d]++
	if reset {
		r.note(d, "!reset")
		return
	}
	r.note(d, ".")
}

func (r *recorder) Close(at time.Time) {
	r.alive()
	r.closed++
	r.log = append(r.log, "close")
}

func (r *recorder) alive() {
	if r.closed > 0 {
		panic("told something after Close")
	}
}

// capture runs packets through an Assembler.
type capture struct {
	*Assembler
	conns []*recorder
	loss  exchange.Loss
}

func newCapture(o Options) *capture {
	c := &capture{loss: exchange.Loss{}}
	o.Loss = c.loss
	o.Open = func(conn Conn) exchange.Stream {
		c.conns = append(c.conns, &recorder{Conn: conn})
		return c.conns[len(c.conns)-1]
	}
	c.Assembler = New(o)
	return c
}

func (c *capture) packets(packets []packet) *capture {
	for i := range packets {
		p := &packets[i]
		c.Packet(p.src.Addr(), p.dst.Addr(), &p.t, p.missing, p.at)
	}
	return c
}

// String tells all that the streams were told.
func (c *capture) String() string {
	var s []string
	for _, r := range c.conns {
		s = append(s, strings.Join(r.log, " "))
	}
	return strings.Join(s, " | ")
}
