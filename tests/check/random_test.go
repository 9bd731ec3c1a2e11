package check

import (
	"strings"
	"testing"
	"time"
)

// TestGoodServer checks that nothing is said against a server without a bug.
func TestGoodServer(t *testing.T) {
	for seed := range uint64(20) {
		h := simulate(seed, 8, 4000, "")
		if r := Check(h, Options{}); len(r.Faults) > 0 {
			t.Fatalf("seed %d: %v", seed, r)
		} else if seed == 0 {
			t.Log(r)
		}
	}
}

// TestBadServers checks that each bug of a server is found, and by what.
func TestBadServers(t *testing.T) {
	for bug, want := range map[string]string{
		"a lock given twice":                "was promised it",
		"a fence given twice":               "this fence was given to",
		"a fence that falls":                "is not above fence",
		"an acquire done twice":             "the hold count before it can only be",
		"a release answered and not done":   "can only be",
		"a stale count":                     "can only be",
		"a lease cut short":                 "was promised it",
		"a waiter overtakes":                "it overtook",
		"a waiter is lost":                  "it was forgotten",
		"LOCKLOST not told":                 "LOCKLOST was due",
		"a session whose end frees nothing": "it was forgotten",
		"a waiter of an ended session":      "it was forgotten",
		nobodyWaits:                         noOrder,
	} {
		t.Run(bug, func(t *testing.T) {
			found := 0
			const seeds = 5
			for seed := range uint64(seeds) {
				r := Check(simulate(seed, 8, 4000, bug), Options{})
				if strings.Contains(strings.Join(r.Faults, "\n"), want) {
					found++
				}
			}
			if found == 0 {
				t.Errorf("not found in %d histories", seeds)
			}
			t.Logf("found in %d of %d histories", found, seeds)
		})
	}
}

// BenchmarkCheck checks a million requests: all but what Porcupine does is linear.
func BenchmarkCheck(b *testing.B) {
	h := simulate(1, 16, 1_000_000, "")
	b.ResetTimer()
	for b.Loop() {
		r := Check(h, Options{})
		if len(r.Faults) > 0 || r.Ops < 1_000_000 {
			b.Fatal(r)
		}
		b.ReportMetric(r.Linear.Seconds(), "linear-s")
		b.ReportMetric(r.Porcupine.Seconds(), "porcupine-s")
	}
}

// TestManyGhosts checks that much of which nobody knows whether it was done does not make Porcupine give up.
func TestManyGhosts(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		s := newScript()
		for i := range 40 {
			kind := []Kind{Acquire, Acquire, Release}[i%3]
			s.told("a", kind, "k", 10, unanswered, unknown).leased(i * 100)
			s.told("b", kind, "k", 11, unanswered, unknown)
			s.told("n/1", kind, "k", 12, unanswered, unknown)
		}
		for range 25 { // in one piece
			s.told("c", Acquire, "k", 13, 20, refused)
			s.op("c", Owns, "k", 13, 20, done, 0)
		}
		for _, owner := range []string{"a", "b"} {
			s.MayEnd(owner, at(14))
			s.MustEnd(owner, at(30))
		}
		s.End("n/1", at(14), at(30))
		if stuck {
			s.told("d", Acquire, "k", 40, 41, refused)
			// The named one may hold it, for what it asked for may come late: here it does not.
			s.op("d", Force, "k", 42, 43, done, 1)
			for range 40 {
				s.op("d", Force, "k", 44, 45, done, 1)
			}
		}
		s.lock("d", "k", 50, 51, 9)
		r := Check(s.end(), Options{Timeout: time.Minute})
		if orders := strings.Count(r.String(), noOrder); len(r.Faults) != orders || stuck != (orders == 1) {
			t.Errorf("stuck %v: %v", stuck, r)
		}
	}
}
