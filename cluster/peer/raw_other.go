//go:build !unix

package peer

import (
	"net"
	"syscall"
)

// rawOf returns nil: without it the writer goroutine writes all.
func rawOf(net.Conn) syscall.RawConn { return nil }

func writeFD(uintptr, []byte) (n int, err error) { return 0, syscall.EINVAL }
