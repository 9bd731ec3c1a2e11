package e2e

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestKilledUnderLoad kills the server at random moments under the load of many clients and starts it again, over
// and over. Each time every acknowledged hold of a named session, and every kept one, is there with its fence, count
// and lease; the holds of dead connections are gone; and no fence ever comes twice or falls. Commands that were not
// answered have been done or not, in their order.
func TestKilledUnderLoad(t *testing.T) {
	seed := seedOf(t)
	random := rand.New(rand.NewPCG(seed, 1))
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	w := newWorld()
	var loaders []*loader
	for id := range 24 {
		loaders = append(loaders, &loader{
			id: id, kind: kind(id % 3), world: w, random: rand.New(rand.NewPCG(seed, uint64(id)+2)), holds: map[string]hold{},
		})
	}
	s := harness.Start(t)
	var total int64
	for round := range rounds {
		w.begin(100 + random.Int64N(3000))
		var running sync.WaitGroup
		for _, l := range loaders {
			running.Go(func() { l.run(s.Addr()) })
		}
		await(t, w)
		w.over.Store(true)
		if round%5 == 4 { // an orderly end must keep the same promises
			if code := s.Stop(); code != 0 {
				t.Errorf("round %d: exit code %d after SIGTERM, want 0", round, code)
			}
		} else {
			s.Kill()
		}
		running.Wait()
		total += w.answered.Load()
		s.Start()
		conn, err := harness.Dial(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		complaints, err := verify(conn, w, loaders)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		for _, what := range append(complaints, w.faults...) {
			t.Errorf("round %d: %s", round, what)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds, %d commands answered, %d fences", rounds, total, len(w.fences))
}

// await waits until the round has its commands, or a client saw what must not be.
func await(t *testing.T, w *world) {
	t.Helper()
	harness.Until(t, "the round's commands are answered", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.answered.Load() >= w.target || len(w.faults) > 0
	})
}
