package cluster

import (
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestChaos befalls random nodes with random faults under load, one at a time. What clients were told must be
// possible, clients of the nodes that nothing happened to lose nothing, and after each fault all serve again.
func TestChaos(t *testing.T) {
	long(t, "a fault each some seconds")
	random := seeded(t)
	c := start(t, hasty(shortTimeout, 20*time.Second))
	w := newWorld(t, c, shortTimeout, random)
	w.start(3, 2, c.Nodes()...)
	brief := func(n *harness.Node) { w.progress(c.Others(n)...) }
	kinds := []struct {
		name      string
		hit, back func(n *harness.Node)
		grace     time.Duration
	}{
		{"kill", func(n *harness.Node) { n.Kill() }, (*harness.Node).Start, 0},
		{"freeze", (*harness.Node).Pause, (*harness.Node).Continue, shortTimeout / 2},
		{"stop", func(n *harness.Node) { n.Stop() }, (*harness.Node).Start, 0},
		{"cut", func(n *harness.Node) { c.Wires.Isolate(n.ID) }, func(*harness.Node) { c.Wires.Heal() }, 0},
		{"cut what it sends", func(n *harness.Node) {
			for _, o := range c.Others(n) {
				c.Wires.CutOneWay(n.ID, o.ID)
			}
		}, func(*harness.Node) { c.Wires.Heal() }, 0},
		{"cut what it hears", func(n *harness.Node) {
			for _, o := range c.Others(n) {
				c.Wires.CutOneWay(o.ID, n.ID)
			}
		}, func(*harness.Node) { c.Wires.Heal() }, 0},
	}
	for range 16 {
		kind := kinds[random.IntN(len(kinds))]
		n := c.Node(1 + random.IntN(3))
		leads := c.Leader() == n
		w.hurts(n, kind.grace)
		began := time.Now()
		kind.hit(n)
		brief(n)
		kind.back(n)
		n.AwaitServing()
		w.healed(n)
		w.progress(c.Nodes()...)
		t.Logf("%s of %s, leader %v: %v until all go on", kind.name, n.ID, leads, time.Since(began).Round(time.Millisecond))
		if t.Failed() {
			return
		}
	}
	w.finish()
}
