//go:build unix

package replay

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quiet peeks at the socket without waiting: true where nothing has come and it is open.
func quiet(c net.Conn) bool {
	inner, ok := c.(syscall.Conn)
	if !ok {
		return true // TLS: an end shows at the next write or read
	}
	raw, err := inner.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, peeked = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	return err == nil && (errors.Is(peeked, unix.EAGAIN) || errors.Is(peeked, unix.EWOULDBLOCK))
}
