package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// cutOff fills the locks, stops a node, and writes until the others' logs no longer have what it lacks.
func cutOff(t *testing.T, c *harness.Cluster, away *harness.Node, held int) {
	t.Helper()
	others := c.Others(away)
	conn := others[0].Client()
	const piece = 500
	for i := range held {
		conn.Send(fmt.Sprintf("LOCK held:%d LEASE 3600000 KEEP NOTE %0100d", i, i))
		if i%piece == piece-1 {
			for range piece {
				fenceOf(t, conn)
			}
		}
	}
	c.AwaitApplied()
	last := number(t, away, "log_last_index")
	if code := away.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	leader := c.LeaderOf(others...)
	writeUntil(t, others, func() bool {
		info, err := leader.Info("raft")
		if err != nil {
			return false
		}
		first, _ := strconv.ParseUint(info["log_first_index"], 10, 64) // 0 of none is right
		return first > last+1
	})
}

// knows checks that a node's own state has all the locks: as the leader it tells nobody else's.
func knows(t *testing.T, c *harness.Cluster, n *harness.Node, held int) {
	t.Helper()
	handOver(t, c, n)
	keys, cursor := 0, "0"
	for first := true; first || cursor != "0"; first = false {
		v := n.Client().Line("LOCKSCAN " + cursor + " MATCH held:* COUNT 1000")
		if len(v.Items) != 2 {
			t.Fatalf("LOCKSCAN: %v", v)
		}
		cursor = v.Items[0].Text
		keys += len(v.Items[1].Items)
	}
	if keys != held {
		t.Errorf("%s knows of %d held locks, want %d", n.ID, keys, held)
	}
}

// TestKilledWhileRestoring: kill -9 of a node that comes back by a snapshot, while it receives it and when it has it.
// It starts again each time, and in the end it knows all.
func TestKilledWhileRestoring(t *testing.T) {
	long(t, "writes until the log is cut")
	c := start(t, patient(longTimeout))
	away := c.Followers()[0]
	others := c.Others(away)
	const held = 20_000
	cutOff(t, c, away, held)
	leader := c.LeaderOf(others...)
	staged := func(name string) bool {
		_, err := os.Stat(filepath.Join(away.Data(), name))
		return err == nil
	}
	for _, bytes := range []int64{64 << 10, 512 << 10, 1 << 20} { // in the middle of the snapshot
		c.Wires.CutAfter(leader.ID, away.ID, bytes)
		away.Launch()
		harness.Until(t, "a part of the snapshot is there", func() bool { return c.Wires.IsCut(leader.ID, away.ID) && staged("received.snapshot.tmp") })
		away.Kill()
		c.Wires.Heal()
	}
	for range 3 { // when it is whole, and being loaded
		away.Launch()
		harness.Until(t, "the snapshot is there", func() bool { return staged("received.snapshot") || away.Probe(time.Second) == nil })
		away.Kill()
	}
	away.Start()
	knows(t, c, away, held)
}
