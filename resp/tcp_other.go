//go:build !linux

package resp

import (
	"net"
	"time"
)

// userTimeout does nothing: the keepalive probes alone find a peer that is gone.
func userTimeout(*net.TCPConn, time.Duration) error { return nil }

// goneNow cannot see the end of a connection behind bytes that are not read.
func goneNow(uintptr) bool { return false }
