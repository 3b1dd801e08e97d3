// Package sample makes the small captures of the examples: a shop's traffic as a packet capture and as a HAR. Equal calls make
// equal files.
package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// The names of the files.
const (
	PCAP = "shop.pcap"
	HAR  = "shop.har"
)

// Make writes both files into dir.
func Make(dir string) error {
	return errors.Join(write(filepath.Join(dir, PCAP), Packets), write(filepath.Join(dir, HAR), Archive))
}

func write(path string, content func(io.Writer) error) error {
	var b bytes.Buffer
	if err := content(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

const host = "my-app.example.com"

var begun = time.Date(2026, 3, 9, 20, 15, 0, 0, time.UTC)

// visit is one request of the shop's traffic.
type visit struct {
	at      time.Duration
	session int
	method  string
	path    string
	body    string
	took    time.Duration
}

// visits are so many requests, the times between them exponential, of 24 sessions; every tenth is an order.
func visits(n int, perSecond float64) []visit {
	random := rand.New(rand.NewPCG(2026, 3))
	var out []visit
	at := 0.0
	free := make([]time.Duration, 24) // when each session's answer is there
	for len(out) < n {
		at += random.ExpFloat64() / perSecond
		now := time.Duration(at * float64(time.Second))
		s := random.IntN(len(free))
		if free[s] > now {
			continue
		}
		v := visit{now, s, "GET", fmt.Sprintf("/api/items?page=%d", 1+random.IntN(50)), "", time.Duration(1+random.IntN(9)) * time.Millisecond}
		if random.IntN(10) == 0 {
			v.method, v.path, v.body = "POST", "/api/orders", fmt.Sprintf(`{"sku":"mug","quantity":%d}`, 1+random.IntN(5))
		}
		free[s] = now + v.took + time.Millisecond
		out = append(out, v)
	}
	return out
}

func (v visit) request() string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: shop/1.0\r\nCookie: session=%08x\r\n", v.method, v.path, host, v.session*7919)
	if v.body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(v.body))
	}
	return head + "\r\n" + v.body
}

func (v visit) status() int {
	if v.method == "POST" {
		return 201
	}
	return 200
}

func (v visit) answer() string {
	body := fmt.Sprintf(`{"of":%q}`, v.path)
	return fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v.status(), len(body), body)
}

// Packets writes 1,500 requests in some 5 s as a pcap of Ethernet frames, good to the nanosecond.
func Packets(w io.Writer) error {
	p := &packets{}
	ends := map[int]time.Duration{}
	for _, v := range visits(1500, 300) {
		c := p.connection(v)
		if _, open := ends[v.session]; !open {
			p.open(c, v.at-time.Millisecond)
		}
		p.send(c, true, []byte(v.request()), v.at)
		p.send(c, false, []byte(v.answer()), v.at+v.took)
		ends[v.session] = v.at + v.took
	}
	for s := range len(p.conns) {
		p.end(p.conns[s], ends[s]+time.Millisecond)
	}
	return p.write(w)
}

// connection is a session's TCP connection: the next sequence number of each side.
type connection struct {
	port uint16
	next [2]uint32
}

type packets struct {
	conns map[int]*connection
	all   []packet
	err   error
}

type packet struct {
	at    time.Duration
	bytes []byte
}

func (p *packets) connection(v visit) *connection {
	if p.conns == nil {
		p.conns = map[int]*connection{}
	}
	if p.conns[v.session] == nil {
		p.conns[v.session] = &connection{port: uint16(40000 + v.session), next: [2]uint32{1000, 5000}}
	}
	return p.conns[v.session]
}

func (p *packets) open(c *connection, at time.Duration) {
	p.add(c, true, at, nil, func(t *layers.TCP) { t.SYN, t.ACK = true, false })
	c.next[0]++
	p.add(c, false, at+100*time.Microsecond, nil, func(t *layers.TCP) { t.SYN = true })
	c.next[1]++
	p.add(c, true, at+200*time.Microsecond, nil, nil)
}

func (p *packets) send(c *connection, client bool, b []byte, at time.Duration) {
	p.add(c, client, at, b, func(t *layers.TCP) { t.PSH = true })
	c.next[side(client)] += uint32(len(b))
}

func (p *packets) end(c *connection, at time.Duration) {
	for _, client := range []bool{true, false} {
		p.add(c, client, at, nil, func(t *layers.TCP) { t.FIN = true })
		c.next[side(client)]++
	}
}

func side(client bool) int {
	if client {
		return 0
	}
	return 1
}

// add adds a segment; change may set flags.
func (p *packets) add(c *connection, client bool, at time.Duration, payload []byte, change func(*layers.TCP)) {
	user, shop := net.IP{10, 0, 0, 9}, net.IP{10, 0, 0, 1}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: user, DstIP: shop}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(c.port), DstPort: 80, Seq: c.next[0], Ack: c.next[1], ACK: true, Window: 64240}
	if !client {
		ip.SrcIP, ip.DstIP = shop, user
		tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = tcp.DstPort, tcp.SrcPort, c.next[1], c.next[0]
	}
	if change != nil {
		change(tcp)
	}
	p.err = errors.Join(p.err, tcp.SetNetworkLayerForChecksum(ip))
	b := gopacket.NewSerializeBuffer()
	p.err = errors.Join(p.err, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}, ip, tcp, gopacket.Payload(payload)))
	p.all = append(p.all, packet{at, b.Bytes()})
}

func (p *packets) write(w io.Writer) error {
	slices.SortStableFunc(p.all, func(a, b packet) int { return int(a.at - b.at) })
	out := pcapgo.NewWriterNanos(w)
	p.err = errors.Join(p.err, out.WriteFileHeader(65536, layers.LinkTypeEthernet))
	for _, one := range p.all {
		p.err = errors.Join(p.err, out.WritePacket(gopacket.CaptureInfo{Timestamp: begun.Add(one.at), CaptureLength: len(one.bytes), Length: len(one.bytes)}, one.bytes))
	}
	return p.err
}

// Archive writes 400 requests in some 4 s as a HAR, as a browser would.
func Archive(w io.Writer) error {
	entries := []any{}
	for _, v := range visits(400, 100) {
		request := map[string]any{"method": v.method, "url": "http://" + host + v.path, "httpVersion": "HTTP/1.1", "cookies": []any{}, "queryString": []any{}, "headersSize": -1, "bodySize": len(v.body),
			"headers": []any{map[string]string{"name": "User-Agent", "value": "shop/1.0"}}}
		if v.body != "" {
			request["postData"] = map[string]any{"mimeType": "application/json", "text": v.body}
		}
		ms := float64(v.took) / float64(time.Millisecond)
		entries = append(entries, map[string]any{"startedDateTime": begun.Add(v.at).Format("2006-01-02T15:04:05.000000Z07:00"), "time": ms, "connection": fmt.Sprint(v.session), "request": request,
			"response": map[string]any{"status": v.status(), "statusText": "OK", "httpVersion": "HTTP/1.1", "cookies": []any{}, "headers": []any{}, "redirectURL": "", "headersSize": -1, "bodySize": 20,
				"content": map[string]any{"size": 20, "mimeType": "application/json"}},
			"cache": map[string]any{}, "timings": map[string]any{"send": 0, "wait": ms, "receive": 0}})
	}
	return json.NewEncoder(w).Encode(map[string]any{"log": map[string]any{"version": "1.2", "creator": map[string]string{"name": "umbra's example", "version": "1"}, "entries": entries}})
}
