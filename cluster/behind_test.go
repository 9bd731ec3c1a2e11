package cluster

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/redlockd/redlockd/fsm"
)

// TestFarBehind: a node is away for thousands of entries (LOCKTEST_ENTRIES), while
// the others take snapshots and cut their logs under load. It comes back by a
// snapshot, with the same state, and applies what follows.
func TestFarBehind(t *testing.T) {
	entries := 2000
	if n, err := strconv.Atoi(os.Getenv("LOCKTEST_ENTRIES")); err == nil {
		entries = n
	}
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, func(o *Options) { o.SnapshotBytes, o.SnapshotEntries, o.TrailingLogs = 16<<10, 256, 64 })
		defer c.stopAll()
		l := c.leader()
		away := c.others(l)[0]
		name := away.opts.NodeID
		conn := l.h.connect()
		keep := func(i int) {
			t.Helper()
			op := fsm.Op{Code: fsm.OpTryLock, Key: fmt.Appendf(nil, "kept:%d", i), Lease: 86_400_000, Flags: fsm.FlagKeep}
			if r := conn.do(t, op); r.Int == 0 {
				t.Fatalf("%+v", r)
			}
		}
		keep(0)
		c.same()
		last := away.Status().LogLast
		away.stop(t)
		delete(c.nodes, name)
		kept := 1
		for i := 1; i < entries; i += 2 {
			if i%20 == 1 {
				keep(kept)
				kept++
			}
			conn.do(t, lock("a"))
			conn.do(t, unlock("a"))
		}
		if first := c.leader().Status().LogFirst; first <= last+1 {
			t.Fatalf("the leader's log begins at %d, and the node that was away ends at %d: it was not cut", first, last)
		}
		c.start(name)
		keep(kept)
		kept++
		c.same()
		back := c.nodes[name]
		if first := back.Status().LogFirst; first <= last {
			t.Errorf("its log begins at %d still: it did not come back by a snapshot", first)
		}
		hashes := map[string]uint64{}
		for _, n := range c.nodes {
			n.applier.keepAll()
			n.View(func(m *fsm.Machine) {
				hashes[n.opts.NodeID] = m.Hash()
				if holds := m.Stats().Holds; holds != int64(kept) {
					t.Errorf("%s has %d holds, want %d", n.opts.NodeID, holds, kept)
				}
				if err := m.CheckInvariants(); err != nil {
					t.Error(n.opts.NodeID, err)
				}
			})
		}
		for _, h := range hashes {
			if h != hashes[name] {
				t.Errorf("the states differ: %v", hashes)
				break
			}
		}
	})
}

// TestMembersBySnapshot: a node that comes back by a snapshot knows of a member
// that was taken in by an entry which it never applied.
func TestMembersBySnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, func(o *Options) { o.SnapshotBytes, o.SnapshotEntries, o.TrailingLogs = 16<<10, 64, 8 })
		defer c.stopAll()
		away := c.others(c.leader())[0]
		name := away.opts.NodeID
		away.stop(t)
		delete(c.nodes, name)
		c.join("n4", nil)
		c.voters(4)
		added := c.leader().Status().LogLast
		conn := c.leader().h.connect()
		eventually(t, "the cut of the log", func() bool {
			conn.do(t, lock("a"))
			conn.do(t, unlock("a"))
			return c.leader().Status().LogFirst > added
		})
		c.start(name)
		c.same()
		eventually(t, "a link to the new member", func() bool { return c.nodes[name].port.mesh.link("n4") != nil })
		if voters := c.nodes[name].applier.voters.Load(); voters != 4 {
			t.Errorf("it counts %d voters", voters)
		}
	})
}
