package cluster

import (
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// says waits until a node's log has a sentence.
func says(t *testing.T, n *harness.Node, sentence string) {
	t.Helper()
	if !harness.Poll(harness.Patience, func() bool {
		_, ok := n.Process().Log().Find(sentence)
		return ok
	}) {
		t.Errorf("%s does not say %q:\n%s", n.ID, sentence, n.Process().Log().Tail(15))
	}
}

// stays checks that a node has not been taken in, and ends it.
func stays(t *testing.T, c *harness.Cluster, n *harness.Node) {
	t.Helper()
	if v, err := harness.Ask(n.Addr(), harness.Patience, "LOCK", "outside"); err == nil && v.Kind == harness.Int {
		t.Errorf("%s serves: %v", n.ID, v)
	}
	n.Stop()
	if v := c.Node(1).InfoField("raft", "nodes"); v != "3" {
		t.Errorf("there are %s nodes", v)
	}
}

// TestMembersRefused: what would break the cluster is refused with a sentence.
func TestMembersRefused(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	others := c.Others(leader)
	admin := others[0].Client()
	admin.Want("CLUSTER FORGET n9", "-ERR Unknown node n9")
	admin.Want("CLUSTER FAILOVER n9", "-ERR Unknown node n9")
	admin.Want("CLUSTER FAILOVER "+leader.ID, "-ERR node "+leader.ID+" leads already")
	if text := admin.WantCode("CLUSTER FORGET "+leader.ID, "ERR"); !strings.Contains(text, "FAILOVER") {
		t.Errorf("removing the leader: %s", text)
	}
	others[1].Kill()
	harness.Until(t, "the removal of a node that is needed is refused", func() bool {
		v := leader.Client().Line("CLUSTER FORGET " + others[0].ID)
		return strings.Contains(v.Text, "would lose its quorum")
	})
	admin.Int("LOCK still-served")
	// Of the three that voted, one is gone: without it two remain, and that works.
	admin.Want("CLUSTER FORGET "+others[1].ID, "+OK")
	says(t, leader, "an even number of nodes vote from now on")
	votes(t, c, "2")
	admin.Want("UNLOCK still-served", ":0")
}

// TestMeet: a node that waits for it is taken in by CLUSTER MEET, in both of its forms.
func TestMeet(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	admin := c.Followers()[0].Client()
	fourth := c.Add(c.Node(1))
	fourth.SetArgs("--node-id", fourth.ID, "--peer-advertise", fourth.PeerAddr, "--await-meet")
	fourth.Launch()
	harness.Until(t, "it listens for its peers", func() bool {
		return admin.Line("CLUSTER MEET "+fourth.PeerAddr).String() == "+OK"
	})
	fourth.AwaitServing()
	votes(t, c, "4")
	says(t, c.Leader(), "an even number of nodes vote")
	admin.Want("CLUSTER MEET "+fourth.PeerAddr, "+OK") // nothing changes
	fifth := c.Add(c.Node(1))
	fifth.SetArgs("--node-id", fifth.ID, "--peer-advertise", fifth.PeerAddr, "--await-meet")
	fifth.Launch()
	_, port, _ := strings.Cut(fifth.PeerAddr, ":")
	harness.Until(t, "it listens for its peers", func() bool {
		return admin.Line("CLUSTER MEET 127.0.0.1 7379 "+port).String() == "+OK"
	})
	fifth.AwaitServing()
	votes(t, c, "5")
	fence := fifth.Client().Int("LOCK there")
	rising(t, 0, fence)
}

// TestJoinRefused: who has a name, an address or a cluster of its own is not taken in, and is told why.
func TestJoinRefused(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	other := c.Others(leader)[0]

	// The name of a member, on another disk; asked of that member, and of another one.
	for _, by := range []*harness.Node{leader, other} {
		twin := c.Add(by)
		twin.SetArgs("--node-id", leader.ID, "--peer-advertise", twin.PeerAddr, "--join", by.PeerAddr)
		twin.Launch()
		sentence := "is known with another data directory"
		if by == leader {
			sentence = "two nodes have the same id"
		}
		says(t, twin, sentence)
		stays(t, c, twin)
	}

	// A node of another cluster.
	foreign := c.Add(leader)
	foreign.SetArgs("--node-id", foreign.ID, "--peer-advertise", foreign.PeerAddr)
	foreign.Start()
	foreign.Client().Int("LOCK its-own")
	text := leader.Client().WantCode("CLUSTER MEET "+foreign.PeerAddr, "ERR")
	if !strings.Contains(text, "belongs to cluster") {
		t.Errorf("MEET of a node of another cluster: %s", text)
	}
	// With its data it does not become one of ours by other flags.
	foreign.Stop()
	foreign.SetArgs("--node-id", foreign.ID, "--peer-advertise", foreign.PeerAddr, "--join", leader.PeerAddr)
	foreign.Launch()
	foreign.AwaitEnd(1)
	says(t, foreign, "--join")
	if v := leader.InfoField("raft", "nodes"); v != "3" {
		t.Errorf("there are %s nodes", v)
	}
}

// TestNonvoter: a node that has not caught up does not vote, cannot lead, and can be removed; removed while it could
// not be reached, it learns of it when it can.
func TestNonvoter(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	by := c.Others(leader)[0]
	fourth := c.Add(by)
	c.Wires.CutOneWay(leader.ID, fourth.ID) // it is taken in by way of the other, and gets no entries
	fourth.Launch()
	admin := by.Client()
	harness.Until(t, "it is a member without a vote", func() bool {
		return strings.Contains(admin.Line("INFO raft").Text, "suffrage=nonvoter")
	})
	if nodes := admin.Line("CLUSTER NODES").Text; strings.Count(nodes, "nofailover") != 1 {
		t.Errorf("CLUSTER NODES\n%s", nodes)
	}
	admin.Want("CLUSTER FAILOVER "+fourth.ID, "-ERR node "+fourth.ID+" does not vote, so it cannot lead")
	admin.Want("CLUSTER FORGET "+fourth.ID, "+OK")
	c.Wires.Heal()
	fourth.AwaitEnd(75)
	says(t, fourth, "removed")
	votes(t, c, "3")
}

// TestRemovedWhileAway: a node that was removed while it did not run says so when it comes back, and ends.
func TestRemovedWhileAway(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	fourth := c.Add(c.Node(1))
	fourth.Start()
	votes(t, c, "4")
	if code := fourth.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	c.Node(2).Client().Want("CLUSTER FORGET "+fourth.ID, "+OK")
	fourth.Launch()
	fourth.AwaitEnd(75)
	says(t, fourth, "removed")
	// On an empty disk it is a new node.
	fourth.Wipe()
	fourth.Start()
	votes(t, c, "4")
}

// TestWipedNode: a member that lost its data is not let in: it has lost its votes. It is removed, and joins anew.
func TestWipedNode(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	wiped := c.Followers()[0]
	wiped.Stop()
	wiped.Wipe()
	wiped.Launch()
	says(t, wiped, "is known with another data directory")
	wiped.Stop()
	admin := c.Others(wiped)[0].Client()
	fence := admin.Int("LOCK held")
	admin.Want("CLUSTER FORGET "+wiped.ID, "+OK")
	wiped.Wipe()
	wiped.SetArgs("--node-id", wiped.ID, "--peer-advertise", wiped.PeerAddr, "--join", c.Leader().PeerAddr)
	wiped.Start()
	votes(t, c, "3")
	rising(t, fence, wiped.Client().Int("LOCK other"))
}

// TestStartedWithoutPeers: the data of a node of a cluster, started without a port for the others, is refused.
func TestStartedWithoutPeers(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	n := c.Followers()[0]
	n.Stop()
	out := harness.Run(t, "--node-id", n.ID, "--listen", n.Addr(), "--data-dir", n.Data())
	if out.Code != 1 || !strings.Contains(out.Output, "belongs to a cluster of 3 nodes") || !strings.Contains(out.Output, "--peer-listen") {
		t.Errorf("exit code %d\n%s", out.Code, out.Output)
	}
	n.Start() // as before
}
