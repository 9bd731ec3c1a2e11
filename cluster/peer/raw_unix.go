//go:build unix

package peer

import (
	"errors"
	"net"
	"syscall"
)

// rawOf returns what writes nc without blocking; nil for anything but a plain TCP socket: a connection that wraps one
// (TLS) must not be bypassed.
func rawOf(nc net.Conn) syscall.RawConn {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return nil // it was closed already; the reader will see that
	}
	return raw
}

// writeFD writes what fits; fewer bytes than p without an error: the rest has to wait.
func writeFD(fd uintptr, p []byte) (n int, err error) {
	for {
		n, err = syscall.Write(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			err = nil
		}
		return max(n, 0), err
	}
}
