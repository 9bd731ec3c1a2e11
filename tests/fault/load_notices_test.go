package fault

import (
	"fmt"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestLoadNotices does harm behind the load's back, on one node: each kind must be complained about, or TestFaults would
// find nothing either.
func TestLoadNotices(t *testing.T) {
	useFaultyServer(t)
	for name, harm := range map[string]func(c *harness.Client, key string) bool{
		"forced": func(c *harness.Client, key string) bool { return c.Line("FORCEUNLOCK "+key).Int == 1 },
		"stolen": func(c *harness.Client, key string) bool {
			c.Line("SESSION ATTACH s2")
			return c.Line("UNLOCK "+key+" OWNER o").Code() == ""
		},
		"killed": func(c *harness.Client, _ string) bool { return c.Line("CLIENT KILL TYPE normal SKIPME yes").Int > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.StartCluster(t, 1)
			l := newLoad(t, c, sessionTimeout, seeded(t))
			l.start(2, 1, 1)
			admin := c.Node(1).Client()
			done, complaints := 0, 0
			harness.Until(t, "the harm is done", func() bool {
				for i := range sharedLocks {
					if harm(admin, fmt.Sprintf("shared:%d:%d", l.cycles.Load()/cyclesOfName, i)) {
						done++
					}
				}
				return done >= 30 || l.failed()
			})
			admin.Close()
			report := l.finish("")
			if complaints = len(report.Faults); complaints == 0 {
				t.Errorf("nobody complained of %d harms", done)
			} else {
				t.Logf("%d complaints, the first: %s", complaints, report.Faults[0])
			}
		})
	}
}
