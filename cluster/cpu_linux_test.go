package cluster

import (
	"syscall"
	"time"
)

// threadTime is what the calling thread has used of the processors: on a busy
// machine it says more than the clock on the wall. The goroutine must be locked
// to its thread between two calls.
func threadTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
