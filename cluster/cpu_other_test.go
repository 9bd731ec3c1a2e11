//go:build !linux

package cluster

import "time"

var processStart = time.Now()

// threadTime is the clock on the wall, where a thread's own time cannot be had.
func threadTime() time.Duration { return time.Since(processStart) }
