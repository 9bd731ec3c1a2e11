package harness

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClusterLife(t *testing.T) {
	useFake(t, "node")
	c := StartCluster(t, 3)
	if leader := c.Leader(); leader.ID != "n1" {
		t.Fatalf("%s leads", leader.ID)
	}
	if f := c.Followers(); len(f) != 2 || f[0].ID != "n2" || f[1].ID != "n3" {
		t.Fatalf("followers %v", f)
	}
	c.AwaitApplied()
	if n := c.Node(2).InfoField("raft", "applied_index"); n != "7" {
		t.Errorf("applied %s", n)
	}
	c.Node(2).Kill()
	if up := c.Up(); len(up) != 2 {
		t.Errorf("%d nodes are up after a kill", len(up))
	}
	c.Node(3).Pause()
	if up := c.Up(); len(up) != 1 || c.LeaderOf(up...).ID != "n1" {
		t.Errorf("%d nodes are up after a pause", len(up))
	}
	if err := c.Node(3).Probe(pollEvery); err == nil {
		t.Error("a paused node answered")
	}
	c.Node(3).Continue()
	c.StartAll()
	c.Node(1).Restart()
	if others := c.Others(c.Node(1)); len(others) != 2 {
		t.Errorf("%d others", len(others))
	}
	c.Node(3).Pause() // the end of the test must get rid of a paused one, too
}

// TestClusterWires: processes reach each other by the wires alone, which know who speaks.
func TestClusterWires(t *testing.T) {
	useFake(t, "node")
	c := StartCluster(t, 3)
	call := func(from, to int, want string) {
		t.Helper()
		client, line := c.Node(from).Client(), "CALL "+c.Node(to).ID+" hello"
		if want == "+error" {
			client.Want(line, want)
			return
		}
		Until(t, want, func() bool { return client.Line(line).String() == want }) // a call gives up soon
	}
	everyone := func(want12, want21, want13, want23 string) {
		t.Helper()
		call(1, 2, want12)
		call(2, 1, want21)
		call(1, 3, want13)
		call(2, 3, want23)
	}
	everyone("+n2 heard hello", "+n1 heard hello", "+n3 heard hello", "+n3 heard hello")
	c.Wires.Cut("n1", "n2")
	everyone("+error", "+error", "+n3 heard hello", "+n3 heard hello")
	c.Wires.Mend("n1", "n2")
	c.Wires.Isolate("n3")
	everyone("+n2 heard hello", "+n1 heard hello", "+error", "+error")
	c.Wires.Heal()
	c.Wires.CutOneWay("n1", "n2")
	passed := c.Wires.Passed("n2", "n1")
	everyone("+error", "+error", "+n3 heard hello", "+n3 heard hello")
	if c.Wires.Passed("n2", "n1") == passed {
		t.Error("nothing went from n2 to n1, where no cut is")
	}
	c.Wires.Heal()
	c.Node(2).Restart() // another process, the same node
	everyone("+n2 heard hello", "+n1 heard hello", "+n3 heard hello", "+n3 heard hello")
	if n := c.Wires.Strangers(); n != 0 {
		t.Errorf("%d strangers", n)
	}
}

func TestClusterKeepsTheFoldersOfAll(t *testing.T) {
	useFake(t, "node")
	out := t.TempDir()
	t.Setenv("LOCKTEST_OUT", out)
	r := &recorder{TB: t}
	StartCluster(r, 3)
	r.failed = true
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	kept, err := filepath.Glob(filepath.Join(out, "TestClusterKeepsTheFoldersOfAll-*", "server.log"))
	if err != nil || len(kept) != 3 {
		entries, _ := os.ReadDir(out) // for the message
		t.Errorf("kept %v, %v; want three logs; %v", kept, err, entries)
	}
}
