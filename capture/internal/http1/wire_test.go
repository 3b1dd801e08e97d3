package http1

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
	"umbra/capture/internal/tcp"
)

// packet is a segment of a captured connection.
type packet struct {
	from, to netip.Addr
	tcp      layers.TCP
	at       time.Time
}

// talk makes the packets of a connection whose client waits for each answer and then thinks for a while. Some messages come in
// pieces, of at least so many bytes but for the last, and there are bare acknowledgements. The body of the answer to /n is n.
func talk(r *rand.Rand, port, exchanges int, think time.Duration, least int) []packet {
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
		all = append(all, packet{ends[d].Addr(), ends[o].Addr(), t, now})
		seq[d] += uint32(len(text))
		if syn {
			seq[d]++
		}
	}
	send := func(d exchange.Direction, text string) {
		for text != "" {
			n := len(text)
			if r.IntN(8) == 0 {
				n = min(n, least+r.IntN(n))
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
		request, response := messages(r, i)
		send(exchange.FromClient, request)
		send(exchange.FromServer, response)
		now = now.Add(think)
	}
	return all
}

// captured makes what a capture has of several connections; of its packets, one in lost is missing, and those that lie within
// shuffled of each other come in any order.
func captured(r *rand.Rand, connections, exchanges int, think time.Duration, least, lost, shuffled int) []packet {
	var all []packet
	for i := range connections {
		all = append(all, talk(r, 4000+i, exchanges, think, least)...)
	}
	slices.SortStableFunc(all, func(a, b packet) int { return a.at.Compare(b.at) })
	all = slices.DeleteFunc(all, func(packet) bool { return r.IntN(lost) == 0 })
	for part := range slices.Chunk(all, shuffled) {
		r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	return all
}

// assemble reads packets.
func assemble(all []packet) *sink {
	s := newSink()
	a := tcp.New(tcp.Options{Loss: s.loss, Open: func(c tcp.Conn) exchange.Stream {
		return New(Options{Sink: s, Loss: s.loss, Limits: limits, Session: c.Session, Scheme: "http"})
	}})
	for i := range all {
		a.Packet(all[i].from, all[i].to, &all[i].tcp, 0, all[i].at)
	}
	a.Close()
	return s
}

// Each packet that is lost costs the exchange that it was of, and the one behind where an answer is lost; not the rest of its
// connection, however many holes there are while the reassembly waits.
func TestLostPackets(t *testing.T) {
	const connections, exchanges = 8, 300
	for _, think := range []time.Duration{0, 100 * time.Microsecond, 3 * time.Millisecond, 40 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprint("thinking for ", think), func(t *testing.T) {
			for seed := range uint64(5) {
				s := assemble(captured(rand.New(rand.NewPCG(seed, 7)), connections, exchanges, think, 20, 50, 1))
				lost, gaps := connections*exchanges-rightPairs(t, seed, s), int(s.loss[exchange.Gaps])
				if gaps == 0 || lost > 2*gaps {
					t.Errorf("seed %d: %d of %d exchanges are lost to %d gaps, want two for each at most", seed, lost, connections*exchanges, gaps)
				}
			}
		})
	}
}

// Whatever is lost and put out of order, no request gets another one's answer.
func TestNeverPairsWronglyReassembled(t *testing.T) {
	const connections, exchanges = 4, 60
	thinking := []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second}
	all, pairs := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := assemble(captured(r, connections, exchanges, thinking[r.IntN(len(thinking))], 1, 3+r.IntN(40), 1+r.IntN(12)))
		all += connections * exchanges
		pairs += rightPairs(t, seed, s)
	}
	if share := float64(pairs) / float64(all); share < 0.3 {
		t.Errorf("%.2f of the exchanges were paired: doubt does not end", share)
	} else {
		t.Logf("%.2f of the exchanges were paired", share)
	}
}
