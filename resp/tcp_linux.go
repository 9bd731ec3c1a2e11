package resp

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout makes the kernel give up a peer that leaves bytes or probes unacknowledged for d.
func userTimeout(tc *net.TCPConn, d time.Duration) error {
	raw, err := tc.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d/time.Millisecond))
	})
	return errors.Join(err, set)
}

// goneNow says whether the peer of fd has closed or reset the connection, also while unread bytes of it wait.
func goneNow(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
