package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// connections are open at a time, each with keep-alive.
const connections = 100

// maker writes a capture, packet by packet.
type maker struct {
	w       *pcapgo.Writer
	at      time.Time
	size    int64
	packets int
	next    [connections][2]uint32 // sequence numbers, of the client and the server; 0 where it is not open
	port    [connections]uint16
	opened  int // how many connections were
	err     error
	buffer  gopacket.SerializeBuffer
}

// makeCapture writes small requests and their answers until the file has its size.
func makeCapture(file string, size int64, varied bool) (requests, packets int, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, 0, err
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	m := &maker{w: pcapgo.NewWriterNanos(buffered), at: time.Unix(1_770_000_000, 0), buffer: gopacket.NewSerializeBuffer()}
	m.err = m.w.WriteFileHeader(65536, layers.LinkTypeEthernet)
	exchange := m.uniform
	if varied {
		exchange = newShop(m).exchange
	}
	for ; m.err == nil && m.size < size; requests++ {
		exchange(requests % connections)
	}
	return requests, m.packets, errors.Join(m.err, buffered.Flush(), f.Close())
}

// uniform is an exchange of one client program with one server: the heads differ in path, cookie, id and length.
func (m *maker) uniform(c int) {
	if m.next[c] == [2]uint32{} {
		m.open(c)
	}
	m.send(c, true, fmt.Sprintf("GET /api/items/%08d?page=%d HTTP/1.1\r\nHost: my-app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nCookie: session=%08x\r\nX-Request-Id: %016x\r\n\r\n", m.packets, c, c*7919, m.packets*31))
	body := fmt.Sprintf(`{"id":%d,"name":"mug","price":12.5,"stock":17}`, m.packets)
	m.send(c, false, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n%s", len(body), body))
}

// open begins a connection from a port of its own.
func (m *maker) open(c int) {
	m.port[c] = uint16(20000 + m.opened%40000)
	m.opened++
	m.next[c] = [2]uint32{uint32(m.opened) * 7919, uint32(m.opened) * 104729}
	m.segment(c, true, "", layers.TCP{SYN: true})
	m.segment(c, false, "", layers.TCP{SYN: true, ACK: true})
}

// close ends a connection from both sides.
func (m *maker) close(c int) {
	m.segment(c, true, "", layers.TCP{FIN: true, ACK: true})
	m.segment(c, false, "", layers.TCP{FIN: true, ACK: true})
	m.next[c] = [2]uint32{}
}

// send sends a message in segments as large as Ethernet takes.
func (m *maker) send(c int, client bool, message string) {
	const most = 1448
	for ; len(message) > most; message = message[most:] {
		m.segment(c, client, message[:most], layers.TCP{ACK: true})
	}
	m.segment(c, client, message, layers.TCP{ACK: true, PSH: true})
}

func (m *maker) segment(c int, client bool, payload string, tcp layers.TCP) {
	from, to := 0, 1
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 9}, DstIP: net.IP{10, 0, 0, 1}}
	tcp.SrcPort, tcp.DstPort, tcp.Window = layers.TCPPort(m.port[c]), 80, 64240
	if !client {
		from, to = 1, 0
		ip.SrcIP, ip.DstIP, tcp.SrcPort, tcp.DstPort = ip.DstIP, ip.SrcIP, tcp.DstPort, tcp.SrcPort
	}
	tcp.Seq, tcp.Ack = m.next[c][from], m.next[c][to]
	m.next[c][from] += uint32(len(payload))
	if tcp.SYN || tcp.FIN {
		m.next[c][from]++
	}
	_ = tcp.SetNetworkLayerForChecksum(ip) // IPv4 cannot fail
	m.err = errors.Join(m.err, gopacket.SerializeLayers(m.buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}, ip, &tcp, gopacket.Payload(payload)))
	b := m.buffer.Bytes()
	m.at = m.at.Add(10 * time.Microsecond)
	m.err = errors.Join(m.err, m.w.WritePacket(gopacket.CaptureInfo{Timestamp: m.at, CaptureLength: len(b), Length: len(b)}, b))
	m.size += int64(len(b)) + 16
	m.packets++
}
