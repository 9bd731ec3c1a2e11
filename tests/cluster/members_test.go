package cluster

import (
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// votes waits until every node counts so many voters.
func votes(t *testing.T, c *harness.Cluster, voters string) {
	t.Helper()
	harness.Until(t, voters+" nodes vote", func() bool {
		for _, n := range c.Up() {
			if info, err := n.Info("raft"); err != nil || info["nodes"] != voters {
				return false
			}
		}
		return true
	})
}

// forget removes a node; the leader hands over first if it is the one.
func forget(t *testing.T, c *harness.Cluster, n *harness.Node) {
	t.Helper()
	others := c.Others(n)
	if c.Leader() == n {
		others[0].Client().Want("CLUSTER FAILOVER "+others[0].ID, "+OK")
		harness.Until(t, "another node leads", func() bool { return c.Leader() != n })
	}
	others[0].Client().Want("CLUSTER FORGET "+n.ID, "+OK")
}

// TestJoinAndForget: a fourth node joins under load, serves, and is removed again; it says so and ends.
func TestJoinAndForget(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	three := c.Nodes()
	w.start(2, 0, three...) // named clients would go to the new node, too
	holder := c.Node(1).Client()
	fence := holder.Int("LOCK held")
	fourth := c.Add(c.Followers()[0])
	fourth.Start()
	votes(t, c, "4")
	says(t, c.Leader(), "an even number of nodes vote")
	guest := fourth.Client()
	guest.Want("ISLOCKED held", ":1")
	own := guest.Int("LOCK guest")
	rising(t, fence, own)
	heir, next := c.Node(2).Client(), c.Node(3).Client()
	waits(t, fourth, heir, "LOCK guest")
	waits(t, fourth, guest, "LOCK held")
	waits(t, fourth, next, "LOCK held")
	w.progress(three...)

	forget(t, c, fourth)
	harness.Until(t, "the removed node has ended", func() bool { return !fourth.IsRunning() })
	fourth.AwaitEnd(75)
	if _, ok := fourth.Process().Log().Find("removed"); !ok {
		t.Errorf("the removed node does not say so:\n%s", fourth.Process().Log().Tail(10))
	}
	closedUnanswered(t, "a client of the removed node", guest)
	rising(t, own, fenceOf(t, heir)) // its incarnation ended with its removal
	votes(t, c, "3")
	silent(t, next)
	holder.Want("UNLOCK held", ":0")
	rising(t, fence, fenceOf(t, next))
	w.progress(three...)
	w.finish()
}

// TestFiveAndBack: five nodes from three and back, under load.
func TestFiveAndBack(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	three := c.Nodes()
	w.start(2, 0, three...)
	fourth, fifth := c.Add(c.Node(1)), c.Add(c.Node(2))
	fourth.Start()
	fifth.Start()
	votes(t, c, "5")
	w.progress(three...)
	// Five live without two.
	fourth.Kill()
	fifth.Kill()
	w.progress(three...)
	fourth.Start()
	fifth.Start()
	w.progress(three...)
	for _, n := range []*harness.Node{fourth, fifth} {
		forget(t, c, n)
		harness.Until(t, n.ID+" has ended", func() bool { return !n.IsRunning() })
		n.AwaitEnd(75)
		w.progress(three...)
	}
	votes(t, c, "3")
	w.finish()
}
