package packet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"umbra/capture/internal/exchange"
)

// openLoopback skips the test only where the system does not let it capture.
func openLoopback(t testing.TB, snaplen int, loss exchange.Loss, ports ...int) *Live {
	t.Helper()
	l, err := OpenLive("lo", ports, snaplen, loss)
	if err != nil && strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// transfer sends n bytes from one end of a new connection to the other, in writes of 1000, and closes it.
func transfer(t testing.TB, listener net.Listener, n int) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		got, err := io.Copy(io.Discard, conn)
		if err == nil && got != int64(n) {
			err = fmt.Errorf("got %d bytes", got)
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for sent := 0; sent < n; sent += 1000 {
		if _, err := conn.Write(bytes.Repeat([]byte{'x'}, min(1000, n-sent))); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func listen(t testing.TB, address string) (net.Listener, int) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, listener.Addr().(*net.TCPAddr).Port
}

// TestLive shows that all of a connection is there, once, and nothing of another one.
func TestLive(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			listener, port := listen(t, address)
			other, _ := listen(t, address)
			loss := exchange.Loss{}
			l := openLoopback(t, 0, loss, port)
			before := time.Now()
			const size = 200_500
			transfer(t, other, 5000)
			transfer(t, listener, size)
			transfer(t, other, 5000)
			if err := l.Stop(); err != nil {
				t.Fatal(err)
			}
			var p Packet
			var err error
			syn, payload := 0, 0
			for err = l.Next(&p); err == nil; err = l.Next(&p) {
				if int(p.TCP.SrcPort) != port && int(p.TCP.DstPort) != port {
					t.Fatalf("a packet of %v", p.TCP.TransportFlow())
				}
				if p.At.Before(before.Add(-time.Second)) || p.At.After(time.Now().Add(time.Second)) {
					t.Fatalf("a packet of %v", p.At)
				}
				if p.TCP.SYN {
					syn++
				}
				if int(p.TCP.DstPort) == port {
					payload += len(p.TCP.Payload)
				}
			}
			dropped, droppedErr := l.Dropped()
			if !errors.Is(err, io.EOF) || syn != 2 || payload != size || dropped != 0 || droppedErr != nil || len(loss) != 0 {
				t.Errorf("error %v, %d SYN, %d bytes, %d dropped (error %v), loss %v", err, syn, payload, dropped, droppedErr, loss)
			}
		})
	}
}

func TestLiveSnapLength(t *testing.T) {
	listener, port := listen(t, "127.0.0.1:0")
	loss := exchange.Loss{}
	l := openLoopback(t, 14+20+32+100, loss, port)
	transfer(t, listener, 1000)
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	var p Packet
	here, missing := 0, 0
	for l.Next(&p) == nil {
		here += len(p.TCP.Payload)
		missing += p.Missing
	}
	if here != 100 || missing != 900 || loss[exchange.PacketsTruncated] != 1 {
		t.Errorf("%d bytes here, %d missing, loss %v", here, missing, loss)
	}
}

// TestLiveEnds shows that Stop and Close end a Next that waits on a quiet interface.
func TestLiveEnds(t *testing.T) {
	for name, end := range map[string]func(*Live) error{"stop": (*Live).Stop, "close": (*Live).Close} {
		t.Run(name, func(t *testing.T) {
			_, port := listen(t, "127.0.0.1:0") // which nobody calls
			l := openLoopback(t, 0, exchange.Loss{}, port)
			done := make(chan error, 1)
			go func() { done <- l.Next(new(Packet)) }()
			if err := end(l); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, io.EOF) {
				t.Errorf("error %v", err)
			}
			if err := errors.Join(l.Stop(), l.Close(), l.Close()); err != nil {
				t.Error(err)
			}
			if err := l.Next(new(Packet)); !errors.Is(err, io.EOF) {
				t.Errorf("error %v after the end", err)
			}
		})
	}
}

// TestLiveDropped shows that what did not fit into the kernel's buffer, and what nobody read, is counted.
func TestLiveDropped(t *testing.T) {
	listener, port := listen(t, "127.0.0.1:0")
	l := openLoopback(t, 0, exchange.Loss{}, port)
	if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	transfer(t, listener, 300_000)
	first, err := l.Dropped()
	if err != nil || first == 0 {
		t.Fatalf("%d packets dropped, error %v", first, err)
	}
	if again, err := l.Dropped(); err != nil || again < first {
		t.Fatalf("%d packets dropped and then %d, error %v", first, again, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if unread, err := l.Dropped(); err != nil || unread <= first {
		t.Errorf("%d packets dropped, with the unread ones %d, error %v", first, unread, err)
	}
}

func TestOpenLiveRefuses(t *testing.T) {
	for _, test := range []struct {
		name, iface string
		ports       []int
		snaplen     int
		message     string
	}{
		{"unknown interface", "none0", nil, 0, "there are: lo"},
		{"port 0", "lo", []int{0}, 0, "port 0: expected"},
		{"large port", "lo", []int{65536}, 0, "port 65536: expected"},
		{"many ports", "lo", make([]int, 257), 0, "257 ports: at most 256"},
		{"negative snap length", "lo", nil, -1, "snap length -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := OpenLive(test.iface, test.ports, test.snaplen, exchange.Loss{})
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %v, want one that says %q", err, test.message)
			}
		})
	}
}

func TestMissingPermission(t *testing.T) {
	err := explainOpen("eth0", fmt.Errorf("couldn't open packet socket: %s", unix.EPERM))
	if !strings.Contains(err.Error(), "interface eth0: no permission") || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Error(err)
	}
}
