package replay

import (
	"net"
	"net/netip"
	"time"
)

// reactor does the input and output of one loop. All its methods but wake are called from the loop's goroutine.
// Connections are numbered from 0; a number is used again after close.
type reactor interface {
	// adopt takes over an established connection, and owns it.
	adopt(c int32, tcp *net.TCPConn) error
	// read gives errAgain where nothing has come, io.EOF at the end of what the peer sends; and when the last of the bytes
	// came, 0 where that is not known.
	read(c int32, b []byte) (n int, came time.Duration, err error)
	// write gives errAgain with n < len(b) where the peer takes no more for now; a writable event follows then.
	write(c int32, b []byte) (int, error)
	// close ends a connection. Its events are stale then.
	close(c int32)
	// wait gives what has happened, at once where something has, else when something does, or at the instant until, or by
	// wake; and the time, and whether it slept. With deaf, which is a hint, it lets what happens gather until that instant. The
	// events are valid until the next wait.
	wait(until time.Duration, deaf bool) (events []event, now time.Duration, slept bool)
	// stale tells whether an event is of a connection that was closed since.
	stale(ev *event) bool
	// wake ends a wait, or the next one. It may be called from any goroutine, also after end.
	wake()
	// end closes what is left, and waits for whatever goroutines there are.
	end()
}

// connector is a reactor that connects by itself, without a goroutine. A writable event, or a failed one, tells how that went.
type connector interface {
	connect(c int32, from netip.Addr, to netip.AddrPort) error
	// connected tells how a connect ended.
	connected(c int32) error
}

// event is what happened to a connection.
type event struct {
	conn       int32
	generation uint32
	readable   bool // there may be something to read, or the end
	writable   bool
	ended      bool // the peer has ended its side, or the connection has failed: reading tells
}

// errAgain tells that a connection has nothing, or takes nothing, for now. It is a temporary net.Error, as crypto/tls goes
// on after such a one.
var errAgain error = again{}

type again struct{}

func (again) Error() string   { return "nothing for now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }
