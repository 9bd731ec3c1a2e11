package harness

import (
	"testing"
	"time"
)

// Patience is how long a test waits for something that must happen before it gives up. It bounds a hang; no test
// measures with it.
const Patience = 30 * time.Second

// pollEvery is the pause between two looks at a condition that nothing announces.
const pollEvery = 5 * time.Millisecond

// Until looks at a condition until it holds, and fails the test when that takes longer than [Patience].
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !Poll(Patience, holds) {
		t.Fatalf("gave up after %v waiting until %s", Patience, what)
	}
}

// lookCounts bounds how much of the time one look can use up, so that a machine that stood still for a minute does not
// end all waiting.
const lookCounts = 3 * time.Second

// Poll looks at a condition until it holds or the time is over, and reports whether it held.
func Poll(within time.Duration, holds func() bool) bool {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		if holds() {
			return true
		}
		if within <= 0 {
			return false
		}
		<-tick.C
		now := time.Now()
		within -= min(now.Sub(last), lookCounts)
		last = now
	}
}
