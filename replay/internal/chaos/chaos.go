// Package chaos is a server for tests that does to its clients what networks and servers do: it answers in every way that
// HTTP/1.1 and HTTP/2 with prior knowledge allow, and in many that they do not. It keeps a ledger of every request that it
// saw and of what became of it, so that a client's account of a run can be held against it.
package chaos

import (
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"umbra/internal/traffic"
)

// Kind is what the server does to a request.
type Kind string

// The kinds. Those up to Big end in a proper response.
const (
	Plain        Kind = "plain" // with its length; HTTP/2: with or without
	Chunked      Kind = "chunked"
	Trailers     Kind = "trailers"
	UntilClose   Kind = "until-close" // no length: the end of the connection ends the body
	Interim      Kind = "interim"     // one to three 1xx responses before the final one
	NoContent    Kind = "204"
	NotModified  Kind = "304"
	CloseAfter   Kind = "close-after" // Connection: close
	CloseIdle    Kind = "close-idle"  // the connection ends a moment after the response, without a word
	Delayed      Kind = "delayed"
	Dribble      Kind = "dribble"     // in small pieces
	Padded       Kind = "padded"      // HTTP/2
	Continuation Kind = "continued"   // HTTP/2: the head in several frames
	Ping         Kind = "ping"        // HTTP/2: a PING before the response
	Limits       Kind = "limits"      // HTTP/2: other SETTINGS, and the response
	HeadStall    Kind = "head-stall"  // HTTP/2: the head stops in the middle, and the connection with it, for some time
	Big          Kind = "big"         // a body of Options.Big bytes
	CloseFirst   Kind = "close-first" // before the response
	CloseInHead  Kind = "close-in-head"
	CloseInBody  Kind = "close-in-body"
	ResetFirst   Kind = "reset-first" // as CloseFirst, with a TCP reset; and so on
	ResetInHead  Kind = "reset-in-head"
	ResetInBody  Kind = "reset-in-body"
	Garbage      Kind = "garbage"     // what is no HTTP
	StallFirst   Kind = "stall-first" // until the client gives up or the server is closed; and so on
	StallInHead  Kind = "stall-in-head"
	StallInBody  Kind = "stall-in-body"
	StreamFirst  Kind = "stream-reset"         // HTTP/2: RST_STREAM before the response, with any code but REFUSED_STREAM
	StreamInBody Kind = "stream-reset-in-body" // HTTP/2
	Refused      Kind = "refused-stream"       // HTTP/2: RST_STREAM with REFUSED_STREAM
	GoAway       Kind = "goaway"               // HTTP/2: the connection ends when the streams that it still answers are over
	GoAwayClose  Kind = "goaway-close"         // HTTP/2: it ends at once
	Refuse       Kind = "refuse"               // the connection is closed right after accept; no request has this kind
)

var kinds1 = []Kind{Plain, Chunked, Trailers, UntilClose, Interim, NoContent, NotModified, CloseAfter, CloseIdle, Delayed, Dribble,
	CloseFirst, CloseInHead, CloseInBody, ResetFirst, ResetInHead, ResetInBody, Garbage, StallFirst, StallInHead, StallInBody, Big, Refuse}

var kinds2 = []Kind{Plain, Trailers, Interim, NoContent, NotModified, Delayed, Dribble, Padded, Continuation, Ping, Limits, HeadStall,
	CloseFirst, CloseInBody, ResetFirst, ResetInBody, Garbage, StallFirst, StallInBody, StreamFirst, StreamInBody, Refused, GoAway, GoAwayClose, Big, Refuse}

// Kinds are those that a protocol has.
func Kinds(http2 bool) []Kind {
	if http2 {
		return slices.Clone(kinds2)
	}
	return slices.Clone(kinds1)
}

// Options say what a server does.
type Options struct {
	HTTP2   bool // with prior knowledge; else HTTP/1.1
	Seed    uint64
	Weights map[Kind]int  // how often each kind is drawn; none: Plain alone
	Body    int           // of a usual response at most, in bytes; 0: 2,000
	Big     int64         // of a Big one, in bytes; 0: 1 MiB
	Delay   time.Duration // what a delay takes at most; 0: 5 ms
}

// Entry is what the server did with one request that it saw. What it does follows from the seed, the request's id and
// how often that id came, not from the order of events (but for what HTTP/2 does to all streams of a connection).
type Entry struct {
	ID     string // its traffic.IDHeader
	Kind   Kind
	Read   bool // the request was read whole, head and body; else only its head
	Status int  // of the final response; 0 while no whole head was sent
	Whole  bool // a proper response was sent to its last byte
	// Sure: Whole, and nothing that the server did to the connection can have kept the response from a client that reads.
	Sure bool
	// Unprocessed: the server told the client, by REFUSED_STREAM or GOAWAY, that it did nothing about the request.
	Unprocessed bool
}

// Server is a running server. Its goroutines have ended when Close returns.
type Server struct {
	options  Options
	kinds    []Kind
	listener net.Listener
	closing  chan struct{}
	group    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[*net.TCPConn]bool
	ledger []Entry
	seen   map[string]uint64 // how often an id came
	faults []error
	closed bool
}

// Start makes a server that listens on loopback.
func Start(o Options) (*Server, error) {
	if len(o.Weights) == 0 {
		o.Weights = map[Kind]int{Plain: 1}
	}
	kinds := Kinds(o.HTTP2)
	for k := range o.Weights {
		if !slices.Contains(kinds, k) {
			return nil, errors.New("chaos: the protocol has no kind " + string(k))
		}
	}
	setDefault(&o.Body, 2000)
	setDefault(&o.Big, 1<<20)
	setDefault(&o.Delay, 5*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, kinds: kinds, listener: l, closing: make(chan struct{}), conns: map[*net.TCPConn]bool{}, seen: map[string]uint64{}}
	s.group.Go(s.accept)
	return s, nil
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Address is where it listens, host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Ledger is what it saw so far, in the order of the heads' arrival. It is complete after Close.
func (s *Server) Ledger() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// Faults is what clients did that their protocol forbids; nil where they did nothing of the kind.
func (s *Server) Faults() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.faults...)
}

// Close ends every connection, and waits.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		s.listener.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

func (s *Server) accept() {
	for n := uint64(0); ; n++ {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		random := rand.New(rand.NewPCG(s.options.Seed, n))
		if random.IntN(s.sum(s.kinds)) < s.options.Weights[Refuse] {
			c.Close()
			continue
		}
		tcp := c.(*net.TCPConn)
		if !s.enter(tcp) {
			tcp.Close()
			return
		}
		s.group.Go(func() {
			defer s.leave(tcp)
			if s.options.HTTP2 {
				s.serve2(tcp, random)
			} else {
				s.serve1(tcp)
			}
		})
	}
}

func (s *Server) enter(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	return !s.closed
}

func (s *Server) leave(c *net.TCPConn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) sum(kinds []Kind) (sum int) {
	for _, k := range kinds {
		sum += s.options.Weights[k]
	}
	return max(1, sum)
}

// fault notes what a client did wrong.
func (s *Server) fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, err)
}

// request is a request being served.
type request struct {
	entry  int // its place in the ledger
	kind   Kind
	random *rand.Rand // for all that is drawn for it
}

// note enters a request into the ledger and draws what is done to it. head: it is a HEAD, whose response has no body.
func (s *Server) note(id string, head bool) request {
	s.mu.Lock()
	defer s.mu.Unlock()
	hash := fnv.New64a()
	io.WriteString(hash, id) // cannot fail
	random := rand.New(rand.NewPCG(s.options.Seed^s.seen[id]<<32, hash.Sum64()))
	s.seen[id]++
	kind := s.draw(random)
	if first, ok := beforeBody[kind]; ok && head {
		kind = first
	}
	s.ledger = append(s.ledger, Entry{ID: id, Kind: kind})
	if id == "" {
		s.faults = append(s.faults, errors.New("a request has no "+traffic.IDHeader))
	}
	return request{len(s.ledger) - 1, kind, random}
}

// beforeBody is what takes the place of kinds that need a body.
var beforeBody = map[Kind]Kind{CloseInBody: CloseFirst, ResetInBody: ResetFirst, StallInBody: StallFirst, StreamInBody: StreamFirst}

func (s *Server) draw(random *rand.Rand) Kind {
	kinds := s.kinds[:len(s.kinds)-1] // without Refuse
	n := random.IntN(s.sum(kinds))
	for _, k := range kinds {
		if n -= s.options.Weights[k]; n < 0 {
			return k
		}
	}
	return Plain // only Refuse has a weight
}

// mark changes an entry.
func (s *Server) mark(entry int, change func(*Entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.ledger[entry])
}

// delay waits for a drawn time, or until the server is closed.
func (s *Server) delay(random *rand.Rand) {
	s.wait(time.Duration(random.Int64N(int64(s.options.Delay))), nil)
}

// wait waits for d, until the server is closed, or until gone.
func (s *Server) wait(d time.Duration, gone <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
	case <-s.closing:
	}
}

// statuses are those of usual responses.
var statuses = []int{200, 200, 200, 201, 302, 404, 500, 503}

func (q *request) status() int { return statuses[q.random.IntN(len(statuses))] }

func (q *request) flip() bool { return q.random.IntN(2) == 0 }

// size draws the size of a body, at least 1 byte.
func (s *Server) size(q request) int64 {
	if q.kind == Big {
		return s.options.Big
	}
	return 1 + q.random.Int64N(int64(s.options.Body))
}

// filling is what bodies are made of.
var filling = func() []byte {
	b := make([]byte, 64<<10)
	for i := range b {
		b[i] = "chaos\r\n0"[i%8]
	}
	return b
}()
