package fsm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrder compares an order with a plain slice, over adding at the end and
// removing anywhere; and it does not keep the memory of what is gone.
func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	var q order[int]
	var want []uint64
	next := uint64(0)
	for step := range 60_000 {
		grow := 55
		if step/6000%2 == 1 {
			grow = 10
		}
		if rng.IntN(100) < grow || len(want) == 0 {
			next += 1 + uint64(rng.IntN(3))
			q.add(next, int(next))
			want = append(want, next)
		} else {
			i := rng.IntN(len(want))
			if rng.IntN(3) == 0 { // mostly the newest go, as locks do
				i = max(i, len(want)-5)
			}
			q.remove(want[i])
			q.remove(want[i]) // again, and of what is not there: nothing
			want = slices.Delete(want, i, i+1)
		}
		if q.n != len(want) {
			t.Fatalf("step %d: %d entries, want %d", step, q.n, len(want))
		}
		if step%50 > 0 {
			continue
		}
		from := uint64(rng.IntN(int(next) + 2))
		at, _ := slices.BinarySearch(want, from+1)
		var got []uint64
		for n, o := range q.after(from) {
			if uint64(o) != n {
				t.Fatalf("step %d: %d under %d", step, o, n)
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want[at:]) {
			t.Fatalf("step %d: behind %d there are %d entries, want %d", step, from, len(got), len(want)-at)
		}
		if size := len(q.pieces) * orderPiece; size > 16*len(want)+4*orderPiece {
			t.Fatalf("step %d: %d pieces for %d entries", step, len(q.pieces), len(want))
		}
	}
	for range q.after(math.MaxUint64) {
		t.Error("there is something behind the end")
	}
}
