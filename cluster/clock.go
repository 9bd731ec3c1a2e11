package cluster

import (
	"time"

	"github.com/redlockd/redlockd/internal/canary"
)

// Clock is where this package's time comes from. Both readings only ever make
// intervals; the wall clock means nothing here.
type Clock interface {
	// Now returns the time with a monotonic reading. It may stand still while
	// the machine is suspended.
	Now() time.Time
	// Boot returns the time passed since a fixed moment, by a clock that runs on
	// while the machine is suspended and that nobody sets.
	Boot() time.Duration
}

// SystemClock reads the machine's clocks: CLOCK_MONOTONIC and CLOCK_BOOTTIME on
// Linux, the monotonic clock for both elsewhere.
type SystemClock struct{}

// Now returns the time with its monotonic reading.
func (SystemClock) Now() time.Time { return time.Now() }

// Boot returns the time since the machine started, suspends included.
func (SystemClock) Boot() time.Duration { return bootTime() }

// How often the leader's clock is read, and how far one reading moves it at most.
const (
	samplePeriod = 250 * time.Millisecond
	maxStep      = 500 * time.Millisecond
)

// leaderClock is the leader's cluster time. It lives in memory and moves by the
// monotonic time that passed between two samples, but never by more than
// maxStep: a leader that was frozen or starved slows cluster time down and ends
// nobody early. Not safe for concurrent use.
type leaderClock struct {
	at   time.Duration // cluster time
	seen time.Time     // of the last sample
}

// start sets the clock to a cluster time in ms: the machine's, after the barrier
// of a term and after a restore.
func (c *leaderClock) start(ms int64, now time.Time) {
	c.at, c.seen = time.Duration(ms)*time.Millisecond, now
}

// sample moves the clock and returns the cluster time in ms.
func (c *leaderClock) sample(now time.Time) int64 {
	if canary.WallClock { // whoever sets the clock ends leases and sessions
		return now.UnixMilli()
	}
	if d := now.Sub(c.seen); d > 0 {
		if canary.ClockJumps { // a leader that was frozen ends others by the time it slept
			c.at += d - min(d, maxStep)
		}
		c.at += min(d, maxStep)
		c.seen = now
	}
	return int64(c.at / time.Millisecond)
}
