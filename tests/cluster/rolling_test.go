package cluster

import (
	"fmt"
	"testing"
)

// TestRollingRestart: one node after the other is stopped and started, under load. Clients of the others lose nothing.
func TestRollingRestart(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(2, 1, c.Nodes()...)
	named := attach(t, c.Node(1), "through-it-all", "created", "TTL", "600000")
	fence := named.Int("LOCK named OWNER o")
	for _, n := range c.Nodes() {
		others := c.Others(n)
		holder, waiter := others[0].Client(), others[1].Client()
		held := holder.Int("LOCK held")
		waits(t, others[0], waiter, "LOCK held")

		led := c.Leader() == n
		w.hurts(n, 0)
		if code := n.Stop(); code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM, want 0", n.ID, code)
		}
		w.progress(others...)
		n.Start()
		w.healed(n)
		w.progress(c.Nodes()...)
		t.Logf("%s was restarted; it led: %v", n.ID, led)

		silent(t, waiter)
		holder.Want("LOCKCOUNT held", ":1")
		holder.Want("UNLOCK held", ":0")
		rising(t, held, fenceOf(t, waiter))
		waiter.Want("UNLOCK held", ":0")
		c.Leader()
	}
	back := attach(t, c.Node(2), "through-it-all", "resumed")
	back.Want("FENCE named", fmt.Sprintf(":%d", fence))
	back.Want("UNLOCK named OWNER o", ":0")
	w.finish()
}
