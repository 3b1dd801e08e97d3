package replay

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbra/internal/traffic"
)

// With the policies that let nothing wait, a connection that was lost is dialed again all the same.
func TestDropDialsAgain(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var n atomic.Int64
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if n.Add(1) == 1 {
				c.(*net.TCPConn).SetLinger(0) // the first connection is lost before it carries anything
				return
			}
			for readRequest(r) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		m := play1(t, Options{Portable: portable, Address: address, Connections: 1, Overload: Drop, Timeout: 10 * time.Second}, every(300, 5*time.Millisecond, same(get("/"))))
		if got := m.outcomes(); got["ok"] == 0 {
			t.Errorf("outcomes %v, want some ok once the connection was dialed again", got)
		}
	})
}

// A session's connection is not given up while a request is under way on it, also where HTTP/2 would take another one.
func TestABusySessionKeepsItsConnection(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		address := both(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-time.After(300 * time.Millisecond)
			}
		}))
		plan := every(3, 50*time.Millisecond, func(i int) traffic.Request {
			r := get([]string{"/", "/slow", "/other"}[i])
			r.Session = []string{"a", "a", "b"}[i]
			return r
		})
		m := play1(t, Options{Portable: portable, Address: address, Protocol: H2C, Streams: 10, Connections: 1, Reuse: Session, Timeout: 10 * time.Second}, plan)
		if got := m.outcomes(); got["ok"] != 3 {
			t.Errorf("outcomes %v, want 3 ok", got)
		}
	})
}

// A loop whose connections are slow does not keep a closed loop's requests from the others.
func TestALoopDoesNotWaitForAnother(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		release := make(chan struct{})
		var once sync.Once
		address := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
			for readRequest(r) {
				if n == 0 {
					<-release
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		defer once.Do(func() { close(release) })
		const n = 3 * ringSize // more than both rings hold
		m := &after{n: n / 2, then: func() { once.Do(func() { close(release) }) }}
		o := Options{Portable: portable, Address: address, Connections: 2, Loops: 2, Until: time.Minute, Timeout: time.Minute}
		if _, err := transport(t, o).Play(t.Context(), time.Now(), closed(n), m); err != nil {
			t.Fatal(err)
		}
		if got := m.outcomes(); got["ok"] != n {
			t.Errorf("outcomes %v, want %d ok", got, n)
		}
	})
}

// after is a Recorder that does something once there are n rows.
type after struct {
	memory
	n    int
	then func()
}

func (a *after) Record(rows []traffic.Result) {
	a.memory.Record(rows)
	a.Lock()
	defer a.Unlock()
	if len(a.rows) >= a.n {
		a.then()
	}
}

// h2Server answers each request at once, after the frames that it begins with; later may say more.
func h2Server(t *testing.T, first []byte, later func(c net.Conn)) (address string, accepted *atomic.Int64) {
	accepted = new(atomic.Int64)
	return raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		accepted.Add(1)
		c.Write(first)
		if later != nil {
			later(c)
		}
		r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		head := make([]byte, 9)
		for {
			if _, err := io.ReadFull(r, head); err != nil {
				return
			}
			r.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2]))
			if head[3] == 1 && head[4]&1 != 0 {
				c.Write(h2Frame(1, 5, binary.BigEndian.Uint32(head[5:]), 0x88)) // :status 200, the end
			}
		}
	}), accepted
}

func h2Frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	b := []byte{0, 0, byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// A server that says goodbye to each new connection costs a request for each, and is not dialed without end.
func TestAServerThatIsLeaving(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		const n = 20
		address, accepted := h2Server(t, append(h2Frame(4, 0, 0), h2Frame(7, 0, 0, make([]byte, 8)...)...), nil)
		m := play1(t, Options{Portable: portable, Address: address, Protocol: H2C, Streams: 4, Connections: 2, Timeout: 2 * time.Second}, every(n, 5*time.Millisecond, same(get("/"))))
		if got := m.outcomes(); got["error goaway"] != n || accepted.Load() > 2*n {
			t.Errorf("outcomes %v on %d connections, want %d goaway on about as many", got, accepted.Load(), n)
		}
	})
}

// While the server allows no stream, waiting is its doing.
func TestWaitingForTheServersLimitIsNoLag(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		const hold = 300 * time.Millisecond
		address, _ := h2Server(t, h2Frame(4, 0, 0, 0, 3, 0, 0, 0, 0), func(c net.Conn) {
			<-time.After(hold)
			c.Write(h2Frame(4, 0, 0, 0, 3, 0, 0, 0, 100))
		})
		m := play1(t, Options{Portable: portable, Address: address, Protocol: H2C, Streams: 10, Connections: 1, Timeout: 10 * time.Second}, every(5, 10*time.Millisecond, same(get("/"))))
		for _, r := range m.rows {
			if waited := r.Sent - r.Due; r.Outcome != traffic.OK || r.Lag() > waited/2 {
				t.Errorf("%s %s: it waited %v, of which %v is said to be lag", r.Outcome, r.Error, waited, r.Lag())
			}
		}
	})
}

// What is being dialed for when the run is stopped is not sent any more.
func TestNothingIsSentAfterAStop(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		hold := make(chan struct{})
		accepted := make(chan struct{}, 64)
		var served atomic.Int64
		address := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			accepted <- struct{}{}
			<-hold // the handshake does not go on
			if readRequest(r) {
				served.Add(1)
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			<-accepted
			stop()
			<-time.After(50 * time.Millisecond)
			close(hold)
		}()
		server := httptest.NewTLSServer(nil) // for a configuration
		defer server.Close()
		config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName = "example.com"
		o := Options{Portable: portable, Address: address, TLS: config, Connections: 4, Reuse: Fresh, Timeout: 20 * time.Second}
		var m memory
		if _, err := transport(t, o).Play(ctx, time.Now(), every(10, time.Millisecond, same(get("/"))), &m); err != nil {
			t.Fatal(err)
		}
		got := m.outcomes()
		if fmt.Sprint(got["unsent stopped"]+got["unsent stopped_in_queue"], served.Load()) != "10 0" {
			t.Errorf("outcomes %v, %d served, want 10 unsent", got, served.Load())
		}
	})
}
