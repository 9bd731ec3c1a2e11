package cluster

import (
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestDiverged: a node whose state machine has a bug that the others do not have comes to another state. It is found out,
// says so, ends, and does not serve again; the others go on, and a sound node takes its place.
func TestDiverged(t *testing.T) {
	long(t, "builds another redlockd, and writes until states are compared")
	c := start(t, patient(longTimeout))
	bad := c.Followers()[0]
	bad.SetBinary(harness.Tagged(t, "canary_notice_lost"))
	bad.Restart()
	others := c.Others(bad)
	holder, waiter := others[0].Client(), others[1].Client()
	fence := holder.Int("LOCK held")
	waits(t, others[0], waiter, "LOCK held")
	victim := bad.Client()
	victim.Int("LOCK its-own")
	victim.Int("LOCK forced")
	others[0].Client().Want("FORCEUNLOCK forced", ":1") // its owner is to learn of it: the bad one forgets that

	writeUntil(t, others, func() bool { return !bad.IsRunning() })
	bad.AwaitEnd(75)
	says(t, bad, "differs from that of the majority")
	bad.Launch() // what a supervisor does
	writeUntil(t, others, func() bool { return !bad.IsRunning() })
	bad.AwaitEnd(75)
	closedUnanswered(t, "a client of the node that is wrong", victim)
	silent(t, waiter)
	holder.Want("UNLOCK held", ":0")
	rising(t, fence, fenceOf(t, waiter))
	for _, n := range others {
		if line, ok := n.Process().Log().Find("this process can not go on"); ok {
			t.Errorf("%s: %s", n.ID, line)
		}
	}

	// It is removed, and a sound one joins in its place.
	others[0].Client().Want("CLUSTER FORGET "+bad.ID, "+OK")
	bad.SetBinary("")
	bad.Wipe()
	bad.SetArgs("--node-id", bad.ID, "--peer-advertise", bad.PeerAddr, "--join", others[0].PeerAddr)
	bad.Start()
	votes(t, c, "3")
	bad.Client().Want("ISLOCKED its-own", ":0")
	writeUntil(t, c.Nodes(), comparedAgain(t, bad))
}

// comparedAgain tells when states have been compared once more: the log has grown by more than one comparison needs.
func comparedAgain(t *testing.T, n *harness.Node) func() bool {
	t.Helper()
	from := number(t, n, "applied_index")
	return func() bool { return number(t, n, "applied_index") > from+2*4096 }
}
