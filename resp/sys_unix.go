//go:build unix

package resp

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawOf returns what reads and writes nc's descriptor without blocking, nil for anything but a plain socket: a
// connection that wraps one (TLS) must not be bypassed.
func rawOf(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch c := nc.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil // it was closed already; the reader will see that
	}
	return raw
}

// readFD reads what is there. again: nothing is.
func readFD(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), p)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), errors.Is(err, unix.EAGAIN), err
		}
	}
}

// writeFD writes what fits. again: the rest has to wait.
func writeFD(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Write(int(fd), p)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), errors.Is(err, unix.EAGAIN), err
		}
	}
}
