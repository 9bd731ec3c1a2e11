package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// join starts a node on an empty disk that joins by way of others.
func (c *trio) join(name string, change func(o *Options)) *testNode {
	c.t.Helper()
	if c.fs[name] == nil {
		c.fs[name] = newFS()
		c.names = append(c.names, name)
	}
	n, err := c.tryStart(context.Background(), name, func(o *Options) {
		o.InitialCluster = nil
		o.Join = []string{"nobody:1", addrOf("n1"), addrOf("n2")}
		if change != nil {
			change(o)
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[name] = n
	return n
}

func (c *trio) voters(n int) {
	c.t.Helper()
	eventually(c.t, "the number of voters", func() bool {
		for _, x := range c.nodes {
			if x.Status().Voters != n {
				return false
			}
		}
		return true
	})
}

// Five nodes from three and back, while clients go on.
func TestFiveFromThreeAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, func(o *Options) { o.SnapshotEntries, o.TrailingLogs, o.Announce = 64, 8, o.NodeID+":7379" })
		holder := c.nodes["n1"].h.connect()
		holder.do(t, lock("held"))
		load := func(n int) {
			for range n {
				wants(t, "UNLOCK", func() fsm.Reply { holder.do(t, lock("x")); return holder.do(t, unlock("x")) }(), 0)
			}
		}
		load(200)
		for i, name := range []string{"n4", "n5"} {
			n := c.join(name, nil)
			load(50)
			c.voters(4 + i)
			if r := n.h.connect().do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("held")}); r.Int != 1 {
				t.Fatal(r)
			}
		}
		members := c.nodes["n5"].Members()
		if len(members) != 5 || members[4].ID != "n5" || !members[4].Self || !members[4].Voter || members[0].Announce != "n1:7379" {
			t.Fatalf("%+v", members)
		}
		eventually(t, "news of all", func() bool {
			for _, m := range c.nodes["n2"].Members() {
				if !m.Connected || m.Applied == 0 || m.LastContact < 0 || !m.Alive {
					return false
				}
			}
			return true
		})
		for i, name := range []string{"n4", "n5"} {
			gone := c.nodes[name]
			gone.h.connect().do(t, lock("of "+name))
			if c.leader() == gone {
				if err := gone.Failover(t.Context(), "n1"); err != nil {
					t.Fatal(err)
				}
				eventually(t, "another leader", func() bool { return c.nodes["n1"].proposer.leads.Load() })
			}
			began := time.Now()
			eventually(t, "the removal", func() bool { return c.nodes["n2"].Forget(t.Context(), name) == nil })
			delete(c.nodes, name)
			if err := <-gone.fatal; !errors.Is(err, ErrRemoved) {
				t.Fatal(err)
			}
			c.voters(4 - i)
			r := reply(t, c.nodes["n3"].h.connect().send(lock("of "+name)))
			if took := time.Since(began); r.Code != fsm.CodeOK || took > 2*time.Second {
				t.Fatalf("the hold of a removed node ended after %v: %+v", took, r)
			}
			gone.stop(t)
			load(20)
		}
		wants(t, "held all along", holder.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("held")}), 1)
		c.same()
	})
}

// A node that waits is met; a removed one whose data was deleted joins again.
func TestMeetAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		c.fs["n4"] = newFS()
		c.names = append(c.names, "n4")
		met := make(chan *testNode)
		go func() {
			n, err := c.tryStart(context.Background(), "n4", func(o *Options) { o.InitialCluster, o.Await = nil, true })
			if err != nil {
				t.Error(err)
			}
			met <- n
		}()
		eventually(t, "MEET", func() bool { return c.nodes["n1"].Meet(t.Context(), addrOf("n4")) == nil })
		n := <-met
		c.nodes["n4"] = n
		c.voters(4)
		wants(t, "LOCK", n.h.connect().do(t, lock("a")), 1)
		if c.leader() == n {
			if err := n.Failover(t.Context(), "n2"); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "FORGET", func() bool { return c.nodes["n2"].Forget(t.Context(), "n4") == nil })
		delete(c.nodes, "n4")
		if err := <-n.fatal; !errors.Is(err, ErrRemoved) {
			t.Fatal(err)
		}
		n.stop(t)
		if _, err := c.tryStart(t.Context(), "n4", func(o *Options) { o.InitialCluster = nil }); err == nil || !strings.Contains(err.Error(), "removed") {
			t.Fatal("a removed node started:", err)
		}
		c.fs["n4"] = newFS()
		n = c.join("n4", nil)
		c.voters(4)
		if r := n.h.connect().do(t, lock("b")); r.Code != fsm.CodeOK {
			t.Fatal(r)
		}
	})
}

func TestMembershipRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		o := c.others(l)
		refused := func(what string, err error, want string) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", what, err, want)
			}
		}
		refused("a node that is none", o[0].Forget(t.Context(), "n7"), `there is no node "n7"`)
		refused("the leader", o[0].Forget(t.Context(), l.opts.NodeID), "hand over first")
		refused("failover to nobody", o[0].Failover(t.Context(), "n7"), `there is no node "n7"`)
		refused("meet nobody", l.Meet(t.Context(), "nobody:1"), "can not be reached")
		if err := o[1].Failover(t.Context(), o[1].opts.NodeID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new leader", func() bool { return o[1].proposer.leads.Load() })
		// The name of a member, and its address.
		_, err := o[1].join(ask{Node: "n1", Addr: "n1:17379", Disk: "another"})
		refused("a taken name", err, "is taken")
		_, err = o[1].join(ask{Node: "n1", Addr: "n1:1", Disk: c.nodes["n1"].identity.disk})
		refused("another address", err, "is taken")
		_, err = o[1].join(ask{Node: "n9", Addr: addrOf("n1")})
		refused("a taken address", err, "belongs to member")
		// One of three dies: neither of the others may be removed, also not at once, when
		// the leader has heard of the dead one a moment ago.
		time.Sleep(2 * time.Second)
		c.kill(o[0])
		refused("the quorum", o[1].Forget(t.Context(), l.opts.NodeID), "would lose its quorum")
		if err := o[1].Forget(t.Context(), o[0].opts.NodeID); err != nil {
			t.Fatal("the dead one:", err)
		}
		c.voters(2)
		for _, x := range c.others(o[1]) {
			c.cut(x)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		refused("without a leader", o[1].Forget(ctx, "n1"), "CLUSTERDOWN")
	})
}

// A node whose state differs from that of the others stops, and only it.
func TestDivergedNodeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		n := c.others(l)[0]
		conn := l.h.connect()
		conn.do(t, lock("a"))
		c.same()
		// What must never be: one node applies something else.
		n.h.mu.Lock()
		n.h.onDeliver = func(*fsm.Effects) { // on the apply goroutine
			n.h.onDeliver = nil
			n.applier.viewMu.Lock()
			defer n.applier.viewMu.Unlock()
			i, term := n.fsm.Applied()
			n.fsm.Apply(&fsm.Entry{Index: i + 1, Term: term, Time: n.fsm.Now() + 1, Items: []fsm.Item{{
				Kind: fsm.ItemRegister, Register: fsm.Register{Node: "ghost", Nonce: fsm.Nonce{7}},
			}}})
		}
		n.h.mu.Unlock()
		for i := 0; i < fsm.HashEvery/2+10; i++ {
			conn.do(t, lock("x"))
			conn.do(t, unlock("x"))
		}
		if err := n.gone(t); !errors.Is(err, ErrDiverged) {
			t.Fatal(err)
		}
		if n.Fresh() == nil {
			t.Error("it serves on")
		}
		for _, o := range c.others(n) {
			if len(o.fatal) != 0 || o.Fresh() != nil {
				t.Error("another node stopped")
			}
		}
		if r := conn.do(t, lock("after")); r.Code != fsm.CodeOK {
			t.Fatal(r)
		}
	})
}

// A node that waits, and that two clusters have taken in, becomes a copy of neither
// before it knows which one it belongs to.
func TestTwoClustersTakeInOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := emptyTrio(t, func(o *Options) { o.InitialCluster = nil })
		c.start("n1", "n2")
		l, other := c.nodes["n1"], c.nodes["n2"]
		l.h.connect().do(t, lock("a"))
		other.h.connect().do(t, lock("b"))
		n := c.launch("n3", func(o *Options) { o.Await = true })
		for _, x := range []*testNode{l, other} {
			if _, err := x.join(ask{Node: "n3", Addr: addrOf("n3"), Disk: n.identity.disk}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if s := n.Status(); s.LogLast != 0 {
			t.Errorf("it has entries of a cluster that it does not belong to: %d of %d and %d", s.LogLast, l.Status().LogLast, other.Status().LogLast)
		}
		if err := l.Meet(t.Context(), addrOf("n3")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the vote", func() bool { return n.Status().Voters == 2 })
		if err := other.Meet(t.Context(), addrOf("n3")); err == nil {
			t.Error("it was met by a second cluster")
		}
		if r := n.h.connect().do(t, isLocked("a")); r.Int != 1 {
			t.Error("the lock of its own cluster is not there")
		}
	})
}

// A change of the members that was begun and not seen through may come to pass yet:
// nobody is told that it failed. What was not even begun is told so.
func TestChangeThatMayHaveBeenMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		o := c.others(l)
		c.cut(l)
		said := make(chan error)
		for _, n := range []*testNode{l, o[0]} {
			go func() {
				_, err := n.lead(t.Context(), askJoin, ask{Node: "n4", Addr: addrOf("n4"), Disk: "d4"})
				said <- err
			}()
		}
		for range 2 {
			if err := <-said; err == nil || !strings.HasPrefix(err.Error(), "UNCERTAIN ") {
				t.Errorf("a node that asks to be taken in while the leader is lost: %v", err)
			}
		}
		c.heal(l)
		l = c.leader()
		c.net.Cut(addrOf(l.opts.NodeID), "n9")
		if err := l.Meet(t.Context(), "n9"); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "ERR ") {
			t.Errorf("MEET of nobody: %v", err)
		}
	})
}

// mute is a future that Raft answers once told to.
type mute chan error

func (f mute) Error() error { return <-f }

// A change of the members that Raft never answers does not hold the stop up.
func TestStopWaitsForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := &Node{quit: make(chan struct{})}, make(mute)
		said := make(chan error)
		go func() { said <- n.answer(f) }()
		synctest.Wait()
		close(n.quit)
		if err := <-said; !errors.Is(err, raft.ErrRaftShutdown) {
			t.Error(err)
		}
		f <- nil
	})
}
