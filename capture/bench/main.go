// Command bench measures umbra capture beside tshark and beside reading the file, on one core and the same capture, which it
// makes. It prints requests a second, their ratios, and the most memory that umbra took. It needs Linux, bin/umbra and tshark.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

func main() {
	size := flag.Int64("mb", 1000, "the capture's size in MB")
	n := flag.Int("n", 3, "runs of umbra and of reading; tshark runs once")
	umbra := flag.String("umbra", "bin/umbra", "the umbra to measure")
	memory := flag.String("memory", "", "umbra's --memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *size*1e6, *n, *umbra, *memory); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, size int64, n int, umbra, memory string) error {
	dir, err := os.MkdirTemp("", "umbra-capture-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "shop.pcap")
	requests, packets, err := makeCapture(file, size)
	if err != nil {
		return err
	}
	fmt.Printf("capture: %d MB, %d packets, %d requests; each program on one core\n\n", size/1e6, packets, requests)
	args := []string{umbra, "capture", file, "-o", filepath.Join(dir, "shop.jsonl.zst")}
	if memory != "" {
		args = append(args, "--memory", memory)
	}
	read, err := repeat(ctx, n, []string{"cat", file})
	if err != nil {
		return err
	}
	ours, err := repeat(ctx, n, args)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %10s %14s %8s\n", "", "CPU s", "requests/s", "MB RSS")
	show := func(name string, runs []ran) {
		fmt.Printf("%-28s %10.2f %14.0f %8d   n = %d, %.2f … %.2f s\n", name, median(runs).cpu, float64(requests)/median(runs).cpu, median(runs).rss>>20, len(runs), runs[0].cpu, runs[len(runs)-1].cpu)
	}
	show("cat", read)
	show("umbra capture", ours)
	if _, err := exec.LookPath("tshark"); err != nil {
		fmt.Println("tshark is missing: apt-get install tshark")
		return nil
	}
	theirs, err := repeat(ctx, 1, []string{"tshark", "-n", "-r", file, "-Y", "http"})
	if err != nil {
		return err
	}
	show("tshark -Y http", theirs)
	fmt.Printf("\numbra does %.1f times tshark's requests a second, and takes %.1f times as long as reading the file\n", median(theirs).cpu/median(ours).cpu, median(ours).cpu/median(read).cpu)
	return nil
}

// ran is what a run took.
type ran struct {
	cpu float64 // seconds, user and system
	rss int64   // bytes, the most
}

func median(runs []ran) ran { return runs[len(runs)/2] }

// repeat runs a command n times on one core, and gives what it took, the least first.
func repeat(ctx context.Context, n int, args []string) ([]ran, error) {
	var out []ran
	for range n {
		c := exec.CommandContext(ctx, "taskset", append([]string{"-c", "0"}, args...)...)
		c.Stdout, c.Stderr = io.Discard, nil
		if err := c.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		used := c.ProcessState.SysUsage().(*syscall.Rusage)
		out = append(out, ran{(c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), used.Maxrss << 10})
	}
	slices.SortFunc(out, func(a, b ran) int { return int((a.cpu - b.cpu) * 1e6) })
	return out, nil
}

// connections are open at a time, each with keep-alive.
const connections = 100

// makeCapture writes small requests and their answers until the file has its size.
func makeCapture(file string, size int64) (requests, packets int, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, 0, err
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := pcapgo.NewWriterNanos(buffered)
	m := &maker{w: w, at: time.Unix(1_770_000_000, 0)}
	m.err = w.WriteFileHeader(65536, layers.LinkTypeEthernet)
	for m.err == nil && m.size < size {
		m.exchange(requests % connections)
		requests++
	}
	return requests, m.packets, errors.Join(m.err, buffered.Flush(), f.Close())
}

type maker struct {
	w       *pcapgo.Writer
	at      time.Time
	size    int64
	packets int
	next    [connections][2]uint32
	err     error
	buffer  gopacket.SerializeBuffer
}

func (m *maker) exchange(c int) {
	if m.next[c] == [2]uint32{} {
		m.segment(c, true, "", true)
		m.segment(c, false, "", true)
	}
	m.segment(c, true, fmt.Sprintf("GET /api/items/%08d?page=%d HTTP/1.1\r\nHost: my-app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nCookie: session=%08x\r\nX-Request-Id: %016x\r\n\r\n", m.packets, c, c*7919, m.packets*31), false)
	body := fmt.Sprintf(`{"id":%d,"name":"mug","price":12.5,"stock":17}`, m.packets)
	m.segment(c, false, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n%s", len(body), body), false)
}

func (m *maker) segment(c int, client bool, payload string, syn bool) {
	from, to := 0, 1
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 9}, DstIP: net.IP{10, 0, 0, 1}}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(20000 + c), DstPort: 80, ACK: true, SYN: syn, Window: 64240}
	if !client {
		from, to = 1, 0
		ip.SrcIP, ip.DstIP, tcp.SrcPort, tcp.DstPort = ip.DstIP, ip.SrcIP, tcp.DstPort, tcp.SrcPort
	}
	if syn {
		tcp.ACK = !client
		m.next[c][from] = uint32(1000 * (c + 1))
	}
	tcp.Seq, tcp.Ack = m.next[c][from], m.next[c][to]
	m.next[c][from] += uint32(len(payload))
	if syn {
		m.next[c][from]++
	}
	if m.buffer == nil {
		m.buffer = gopacket.NewSerializeBuffer()
	}
	_ = tcp.SetNetworkLayerForChecksum(ip) // IPv4 cannot fail
	m.err = errors.Join(m.err, gopacket.SerializeLayers(m.buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}, ip, tcp, gopacket.Payload(payload)))
	b := m.buffer.Bytes()
	m.at = m.at.Add(10 * time.Microsecond)
	m.err = errors.Join(m.err, m.w.WritePacket(gopacket.CaptureInfo{Timestamp: m.at, CaptureLength: len(b), Length: len(b)}, b))
	m.size += int64(len(b)) + 16
	m.packets++
}
