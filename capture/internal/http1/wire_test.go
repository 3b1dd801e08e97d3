package http1

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
	"umbra/capture/internal/tcp"
)

// packet is a segment of a captured connection.
type packet struct {
	flow gopacket.Flow
	tcp  layers.TCP
	at   time.Time
}

// talk makes the packets of a connection whose client waits for each answer and then thinks for a while: of pieces of some of
// its messages, and of acknowledgements alone. The body of the answer to /n is n.
func talk(r *rand.Rand, port, exchanges int, think time.Duration) []packet {
	var all []packet
	ends := [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(port)), netip.MustParseAddrPort("10.0.0.2:80")}
	seq := [2]uint32{r.Uint32(), r.Uint32()}
	now := epoch.Add(time.Duration(r.Int64N(int64(think) + 1)))
	add := func(d exchange.Direction, text string, syn bool) {
		now = now.Add(time.Duration(50+r.IntN(100)) * time.Microsecond)
		o := d.Other()
		t := layers.TCP{SrcPort: layers.TCPPort(ends[d].Port()), DstPort: layers.TCPPort(ends[o].Port()), Seq: seq[d], Ack: seq[o], SYN: syn}
		t.ACK = !syn || d == exchange.FromServer
		t.Payload = []byte(text)
		all = append(all, packet{gopacket.NewFlow(layers.EndpointIPv4, ends[d].Addr().AsSlice(), ends[o].Addr().AsSlice()), t, now})
		seq[d] += uint32(len(text))
		if syn {
			seq[d]++
		}
	}
	send := func(d exchange.Direction, text string) {
		for text != "" {
			n := len(text)
			if r.IntN(8) == 0 {
				n = 1 + r.IntN(n)
			}
			add(d, text[:n], false)
			if r.IntN(2) == 0 {
				add(d.Other(), "", false)
			}
			text = text[n:]
		}
	}
	add(exchange.FromClient, "", true)
	add(exchange.FromServer, "", true)
	add(exchange.FromClient, "", false)
	for i := range exchanges {
		send(exchange.FromClient, get(i))
		send(exchange.FromServer, ok(fmt.Sprint(i)))
		now = now.Add(think)
	}
	return all
}

// Packets that are lost here and there cost the exchanges that they carried, and those behind whose answers nobody can tell
// apart; not all the rest of their connection. And whatever is lost, nothing is paired wrongly.
func TestLostPackets(t *testing.T) {
	const connections, exchanges = 8, 300
	for _, think := range []time.Duration{0, 100 * time.Microsecond, 3 * time.Millisecond, 40 * time.Millisecond, time.Second} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint("thinking for ", think, " with seed ", seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 7))
				var all []packet
				for i := range connections {
					all = append(all, talk(r, 4000+i, exchanges, think)...)
				}
				slices.SortStableFunc(all, func(a, b packet) int { return a.at.Compare(b.at) })
				all = slices.DeleteFunc(all, func(packet) bool { return r.IntN(50) == 0 })
				paired, gaps := assemble(t, all)
				lost := connections*exchanges - paired
				t.Logf("%d of %d exchanges are lost to %d gaps", lost, connections*exchanges, gaps)
				if gaps == 0 || lost > 2*gaps {
					t.Errorf("%d of %d exchanges are lost to %d gaps, want two for each at most", lost, connections*exchanges, gaps)
				}
			})
		}
	}
}

// assemble reads packets, checks that what is paired is so rightly, and gives the number of pairs and gaps.
func assemble(t *testing.T, all []packet) (pairs, gaps int) {
	t.Helper()
	sink := newSink()
	a := tcp.New(tcp.Options{Loss: sink.loss, Open: func(c tcp.Conn) exchange.Stream {
		return New(Options{Sink: sink, Loss: sink.loss, Limits: limits, Session: c.Session, Scheme: "http"})
	}})
	for i := range all {
		a.Packet(all[i].flow, &all[i].tcp, 0, all[i].at)
	}
	a.Close()
	for _, e := range sink.begun {
		if answer := e.Request.Response; answer != nil {
			pairs++
			if answer.BodySHA256[:6] != digest(strings.TrimPrefix(e.Request.Path, "/")) {
				t.Fatal(describe(e))
			}
		}
	}
	return pairs, int(sink.loss[exchange.Gaps])
}
