//go:build !linux

package cluster

import "time"

var processStart = time.Now()

// bootTime is the monotonic clock where there is none that runs through suspends.
func bootTime() time.Duration { return time.Since(processStart) }
