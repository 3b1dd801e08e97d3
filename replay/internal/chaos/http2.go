package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"umbra/internal/traffic"
)

// conn2 is an HTTP/2 connection. One goroutine reads it; one writes what the reader owes the client (acknowledgements and
// windows), so that the reader never waits for the client to read; one answers each stream.
type conn2 struct {
	*Server
	tcp     *net.TCPConn
	framer  *http2.Framer // its reading side is the reader's, its writing side of who holds writing
	random  *rand.Rand    // the reader's
	slow    bool          // windows are given back late
	granted int64         // the reader's: what the client may still send of DATA on the connection
	replies chan func() error
	workers sync.WaitGroup

	writing sync.Mutex // taken before mu
	encoder *hpack.Encoder
	block   bytes.Buffer

	mu       sync.Mutex // guards what follows, and the streams
	changed  *sync.Cond // a window, a stream's end, the connection's
	gone     chan struct{}
	ended    bool // gone is closed
	poisoned bool // garbage was sent: the client takes nothing more
	streams  map[uint32]*stream
	highest  uint32 // the highest stream that came
	begun    uint32 // the highest stream that the server did something about
	last     uint32 // that GOAWAY named; else noGoAway
	window   int64  // what the client takes of DATA
	initial  int64  // and on a new stream
	settings []settings
	answered []int // entries that are not Sure before the client has acknowledged the PING after them
	pinging  bool  // a PING is under way
	pinged   int   // how many of them it is after
	ponged   chan struct{}
}

const noGoAway = math.MaxUint32

// settings are those that bind the client: the last that it acknowledged come first, then those under way.
type settings struct{ streams, window int64 }

// stream is a request and its response.
type stream struct {
	request
	id      uint32
	head    bool // HEAD
	window  int64
	granted int64 // what the client may still send
	over    bool  // reset, revoked by GOAWAY, or answered
	started bool  // the reader's: a goroutine answers it
}

func (s *Server) serve2(tcp *net.TCPConn, random *rand.Rand) {
	reader := bufio.NewReader(tcp)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(reader, preface); err != nil {
		return
	}
	if string(preface) != http2.ClientPreface {
		s.fault(fmt.Errorf("an HTTP/2 connection begins with %q", preface))
		return
	}
	c := &conn2{Server: s, tcp: tcp, framer: http2.NewFramer(tcp, reader), random: random, granted: 65535, replies: make(chan func() error, 1<<14),
		gone: make(chan struct{}), streams: map[uint32]*stream{}, last: noGoAway, window: 65535, initial: 65535, ponged: make(chan struct{}, 1),
		settings: []settings{{math.MaxInt32, 65535}}}
	c.changed = sync.NewCond(&c.mu)
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.SetMaxReadFrameSize(16 << 10) // as nothing else is announced
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.slow = random.IntN(4) == 0
	c.serve()
}

func (c *conn2) serve() {
	if c.random.IntN(4) == 0 {
		c.delay(c.random)
	}
	c.workers.Go(c.reply)
	if c.announce(c.random) == nil {
		for c.read() {
		}
	}
	c.tcp.Close()
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	c.workers.Wait()
}

// end tells everybody that the connection is of no more use. The caller holds mu.
func (c *conn2) end() {
	if !c.ended {
		c.ended = true
		close(c.gone)
		c.changed.Broadcast()
	}
}

// announce sends SETTINGS: sometimes a tiny window, and few streams.
func (c *conn2) announce(random *rand.Rand) error {
	s := settings{[]int64{math.MaxInt32, 100, 10, 2, 1}[random.IntN(5)], []int64{65535, 65535, 1 << 20, 1000, 50}[random.IntN(5)]}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	for _, st := range c.streams { // as the client shall do when it sees them
		st.granted += s.window - c.settings[len(c.settings)-1].window
	}
	c.settings = append(c.settings, s)
	c.mu.Unlock()
	list := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: uint32(s.window)}}
	list = append(list, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(s.streams)}, http2.Setting{ID: 0xfafa, Val: 1})
	return c.framer.WriteSettings(list...)
}

// reply writes what the reader owes, until the connection is gone.
func (c *conn2) reply() {
	for {
		select {
		case <-c.gone:
			return
		case write := <-c.replies:
			write() // where it fails the reader learns it too
		}
	}
}

// owe has a frame written soon.
func (c *conn2) owe(write func() error) {
	select {
	case c.replies <- func() error { return c.locked(write) }:
	case <-c.gone:
	}
}

// errGone says that nothing more can be written.
var errGone = errors.New("the connection is gone")

// locked writes where the client still takes something.
func (c *conn2) locked(write func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	gone := c.ended || c.poisoned
	c.mu.Unlock()
	if gone {
		return errGone
	}
	return write()
}

// read takes a frame; false: the connection is over.
func (c *conn2) read() bool {
	f, err := c.framer.ReadFrame()
	if err != nil {
		var connection http2.ConnectionError
		var stream http2.StreamError
		if errors.As(err, &connection) || errors.As(err, &stream) || errors.Is(err, http2.ErrFrameTooLarge) {
			c.fault(fmt.Errorf("reading a frame: %w: %v", err, c.framer.ErrorDetail()))
		}
		return false
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		c.takeHead(f)
	case *http2.DataFrame:
		c.takeData(f)
	case *http2.SettingsFrame:
		c.takeSettings(f)
	case *http2.PingFrame:
		c.takePing(f)
	case *http2.WindowUpdateFrame:
		c.takeWindow(f)
	case *http2.RSTStreamFrame:
		c.cancel(f.StreamID)
	}
	return true
}

func (c *conn2) takeHead(f *http2.MetaHeadersFrame) {
	if st := c.find(f.StreamID); st != nil {
		c.wholeRequest(st) // trailers
		return
	}
	q := c.note(headerOf(f, traffic.IDHeader), f.PseudoValue("method") == "HEAD")
	st := &stream{request: q, id: f.StreamID, head: f.PseudoValue("method") == "HEAD"}
	if !c.open(st) {
		c.mark(st.entry, func(e *Entry) { e.Unprocessed, e.Read = true, f.StreamEnded() })
		return
	}
	if f.StreamEnded() {
		c.wholeRequest(st)
	} else if atHead(st.kind) && q.flip() {
		c.start(st)
	}
}

// open puts a stream among the open ones; false: GOAWAY was sent, so that it is ignored.
func (c *conn2) open(st *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.id <= c.highest || st.id&1 == 0 {
		c.fault(fmt.Errorf("stream %d is opened after %d", st.id, c.highest))
	}
	c.highest = st.id
	if st.id > c.last {
		return false
	}
	st.window, st.granted = c.initial, c.settings[len(c.settings)-1].window
	c.streams[st.id] = st
	c.checkStreams()
	return true
}

// headerOf gives the value of a header, whose names are in lower case here.
func headerOf(f *http2.MetaHeadersFrame, name string) string {
	for _, h := range f.RegularFields() {
		if len(h.Name) == len(name) && bytes.EqualFold([]byte(h.Name), []byte(name)) {
			return h.Value
		}
	}
	return ""
}

// atHead tells what can be done before the request is whole.
func atHead(k Kind) bool {
	return k == CloseFirst || k == ResetFirst || k == StreamFirst || k == Refused || k == GoAway || k == GoAwayClose
}

// checkStreams holds the client to the highest limit that it may still go by.
func (c *conn2) checkStreams() {
	var most int64
	for _, s := range c.settings {
		most = max(most, s.streams)
	}
	if n := int64(len(c.streams)); n > most {
		c.fault(fmt.Errorf("%d streams are open where %d are allowed", n, most))
	}
}

func (c *conn2) find(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// wholeRequest notes that a request has come to its end, and has it answered.
func (c *conn2) wholeRequest(st *stream) {
	c.mark(st.entry, func(e *Entry) { e.Read = true })
	c.start(st)
}

// start has a stream answered, once.
func (c *conn2) start(st *stream) {
	if !st.started {
		st.started = true
		c.workers.Go(func() { c.act(st) })
	}
}

// forget takes a stream from the open ones. The caller holds mu.
func (c *conn2) forget(st *stream) {
	st.over = true
	delete(c.streams, st.id)
	c.changed.Broadcast()
}

// cancel takes the client's RST_STREAM.
func (c *conn2) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		c.forget(st)
	}
}

// takeData gives the connection's window back at once, a stream's as the connection does it.
func (c *conn2) takeData(f *http2.DataFrame) {
	n := int64(f.Length)
	c.granted -= n
	st := c.find(f.StreamID)
	if c.granted < 0 || st != nil && !c.debit(st, n) {
		c.fault(fmt.Errorf("DATA of %d bytes on stream %d is beyond the window", n, f.StreamID))
	}
	if n > 0 {
		c.granted += n // nothing depends on when it is written
		c.owe(func() error { return c.framer.WriteWindowUpdate(0, uint32(n)) })
	}
	switch {
	case st == nil: // it was reset or answered
	case f.StreamEnded():
		c.wholeRequest(st)
	case n > 0:
		c.credit(st, n)
	}
}

// debit takes n bytes from what a stream may send. While SETTINGS are under way the client goes by the old ones or by the
// new, of which the larger window counts.
func (c *conn2) debit(st *stream, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.granted -= n
	slack := int64(0)
	for _, s := range c.settings {
		slack = max(slack, s.window-c.settings[len(c.settings)-1].window)
	}
	return st.granted+slack >= 0
}

// credit gives n bytes of window back, at once or late. It gives them whole: of pieces the client would make ever smaller
// frames.
func (c *conn2) credit(st *stream, n int64) {
	if c.slow {
		c.wait(200*time.Microsecond, c.gone)
	}
	c.owe(func() error {
		c.mu.Lock()
		st.granted += n
		c.mu.Unlock()
		return c.framer.WriteWindowUpdate(st.id, uint32(n))
	})
}

func (c *conn2) takeSettings(f *http2.SettingsFrame) {
	if !f.IsAck() {
		if window, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.resize(int64(window))
		}
		c.owe(c.framer.WriteSettingsAck)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.settings) == 1 {
		c.fault(errors.New("SETTINGS are acknowledged that were not sent"))
		return
	}
	c.settings = c.settings[1:]
}

// resize takes the client's window for streams.
func (c *conn2) resize(window int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range c.streams {
		st.window += window - c.initial
	}
	c.initial = window
	c.changed.Broadcast()
}

func (c *conn2) takeWindow(f *http2.WindowUpdateFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
	} else if st := c.streams[f.StreamID]; st != nil {
		st.window += int64(f.Increment)
	}
	c.changed.Broadcast()
}

func (c *conn2) takePing(f *http2.PingFrame) {
	if !f.IsAck() {
		data := f.Data
		c.owe(func() error { return c.framer.WritePing(true, data) })
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = c.answered[c.pinged:]
	c.pinging, c.pinged = false, 0
	select {
	case c.ponged <- struct{}{}:
	default:
	}
}

// ping sends a PING, unless one is under way. What was answered before it is Sure when it is acknowledged.
func (c *conn2) ping() error {
	return c.locked(func() error {
		c.mu.Lock()
		busy := c.pinging
		if !busy {
			c.pinging, c.pinged = true, len(c.answered)
		}
		c.mu.Unlock()
		if busy {
			return nil
		}
		return c.framer.WritePing(false, [8]byte{'c', 'h', 'a', 'o', 's'})
	})
}
