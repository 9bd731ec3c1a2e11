package cluster

import (
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestLoad runs the load with nothing done to it, on one node and on three.
func TestLoad(t *testing.T) {
	for name, n := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			c := harness.StartCluster(t, n)
			w := newWorld(t, c, longTimeout, seeded(t))
			w.start(4, 2, c.Nodes()...)
			for range 5 {
				w.progress(c.Nodes()...)
			}
			w.finish()
		})
	}
}

// TestLoadNotices takes locks from their holders behind the load's back, and ends a session of which the load says that
// it must live: each must be complained about, or the other tests would find nothing either.
func TestLoadNotices(t *testing.T) {
	for name, harm := range map[string]string{
		"forced": "FORCEUNLOCK shared:0",
		"stolen": "UNLOCK shared:0 OWNER o",
		"killed": "CLIENT KILL TYPE normal SKIPME yes",
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.StartCluster(t, 1)
			w := newWorld(t, c, longTimeout, seeded(t))
			w.lasting = true
			w.start(3, 1, c.Nodes()...)
			admin := c.Node(1).Client()
			admin.Line("SESSION ATTACH load-3")
			harness.Until(t, "the harm is noticed", func() bool {
				v := admin.Line("FENCE shared:0")
				// Only the named client's holds can be taken this way: when it holds.
				if name == "stolen" && admin.Line("ISOWNER shared:0 OWNER o").Int != 1 || name == "forced" && v.Int == 0 {
					return false
				}
				v = admin.Line(harm)
				return v.Code() == "" && (name != "forced" || v.Int == 1)
			})
			w.progress(c.Nodes()...)
			complaints := w.judge()
			if len(complaints) == 0 {
				t.Errorf("%s: nobody complained", harm)
			} else {
				t.Logf("%d complaints, the first: %s", len(complaints), complaints[0])
			}
		})
	}
}
