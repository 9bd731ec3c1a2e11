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

// Poll looks at a condition until it holds or the time is over, and reports whether it held.
func Poll(within time.Duration, holds func() bool) bool {
	if holds() {
		return true
	}
	end := time.NewTimer(within)
	defer end.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if holds() {
				return true
			}
		case <-end.C:
			return holds()
		}
	}
}
