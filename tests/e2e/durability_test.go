package e2e

import (
	"math/rand/v2"
	"strings"
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

// TestVerifierNotices takes, gives and changes locks behind the back of a client: each must be complained about, or
// the test above would find nothing either.
func TestVerifierNotices(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	c.Line("SESSION ATTACH load-0 TTL 600000")
	fence := c.Int("LOCK private:0:0 OWNER o")
	for _, wrong := range []struct {
		name    string
		holds   map[string]hold
		pending []attempt
		want    string
	}{
		{"as promised", map[string]hold{"private:0:0": {fence: fence, count: 1}}, nil, ""},
		{"another fence", map[string]hold{"private:0:0": {fence: fence - 1, count: 1}}, nil, "was promised"},
		{"another count", map[string]hold{"private:0:0": {fence: fence, count: 2}}, nil, "was promised"},
		{"a lease", map[string]hold{"private:0:0": {fence: fence, count: 1, lease: true}}, nil, "was promised"},
		{"nothing held", map[string]hold{}, nil, "nobody who survives"},
		{"more held", map[string]hold{"private:0:0": {fence: fence, count: 1}, "private:0:1": {fence: 9, count: 1}}, nil, "was promised"},
		{"a release that may have been done", map[string]hold{"private:0:0": {fence: fence, count: 2}}, []attempt{
			{act: actUnlock, key: "private:0:0", before: hold{fence: fence, count: 2}},
		}, ""},
		{"a release that cannot have been it", map[string]hold{"private:0:0": {fence: fence, count: 3}}, []attempt{
			{act: actUnlock, key: "private:0:0", before: hold{fence: fence, count: 3}},
		}, "without an answer"},
		{"done behind one not done", map[string]hold{}, []attempt{
			{act: actGrant, key: "private:0:1", above: 0}, {act: actGrant, key: "private:0:0", above: 0},
		}, "sent before it"},
		{"a fence that fell", map[string]hold{}, []attempt{{act: actGrant, key: "private:0:0", above: fence}}, "is not above"},
	} {
		l := &loader{id: 0, kind: kindNamed, world: newWorld(), holds: wrong.holds, pending: wrong.pending}
		complaints, err := verify(c.Conn(), l.world, []*loader{l})
		all := strings.Join(complaints, "\n")
		if err != nil || (wrong.want == "") != (all == "") || !strings.Contains(all, wrong.want) {
			t.Errorf("%s: %v, complaints %q, want %q", wrong.name, err, all, wrong.want)
		}
	}
	w := newWorld()
	a, b := &loader{id: 1}, &loader{id: 2}
	w.granted(a, "k", 5, 4)
	w.granted(b, "k", 6, 5)
	w.granted(b, "j", 6, 6)
	if got := strings.Join(w.faults, "; "); len(w.faults) != 3 || !strings.Contains(got, "while client 1 holds it") ||
		!strings.Contains(got, "given twice") || !strings.Contains(got, "is not above") {
		t.Errorf("faults: %s", got)
	}
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
