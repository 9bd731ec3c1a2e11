//go:build !unix

package resp

import (
	"net"
	"syscall"
)

// rawOf returns nil: without it reads block and writes are left to a goroutine.
func rawOf(net.Conn) syscall.RawConn { return nil }

func readFD(uintptr, []byte) (n int, again bool, err error) { return 0, false, syscall.EINVAL }

func writeFD(uintptr, []byte) (n int, again bool, err error) { return 0, false, syscall.EINVAL }
