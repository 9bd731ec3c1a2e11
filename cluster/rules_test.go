package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
)

// gated gives each node's log a gate.
func gated(gates map[string]*gate) func(o *Options) {
	return func(o *Options) {
		if g := gates[o.NodeID]; g != nil {
			o.Storage = gatedStorage{o.Storage, g}
		}
	}
}

func threeGates() map[string]*gate {
	return map[string]*gate{"n1": {}, "n2": {}, "n3": {}}
}

// A follower whose own loop stands still is answered by the leader, and is
// vouched for from that answer on: it ends its connections in time, and says
// nothing after.
func TestFastAnswerStartsTheVouching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := threeGates()
		c := newTrio(t, gated(gates))
		f := c.others(c.leader())[0]
		g := gates[f.opts.NodeID]
		g.shut()
		defer g.release() // also when the test fails: else its node never stops
		began := time.Now()
		conn := f.h.connect()
		r := conn.do(t, lock("a"))
		if took := time.Since(began); took > 50*time.Millisecond || r.Code != fsm.CodeOK {
			t.Fatalf("answered %+v after %v", r, took)
		}
		if !strings.Contains(strings.Join(f.h.events(), " "), "fast 1/2") {
			t.Fatal("not a fast answer:", f.h.events())
		}
		if f.Fresh() != nil || f.agent.vouch.fresh.Load() == 0 {
			t.Fatal("not vouched for")
		}
		eventually(t, "the end of the silent incarnation", func() bool { return f.Fresh() != nil })
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("ended after %v, its sessions end after 10 s", took)
		}
		g.lift()
		eventually(t, "a new incarnation", func() bool { return f.Fresh() == nil })
		wants(t, "the hold of the silent node", f.h.connect().do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("a")}), 0)
	})
}

// A cut-off node answers CLUSTERDOWN within request-timeout, nothing done; ends
// its clients' connections within session-timeout; and heals by itself.
func TestMinority(t *testing.T) {
	for _, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrio(t, nil)
				n := c.leader()
				if who == "follower" {
					n = c.others(n)[0]
				}
				idle, waits := n.h.connect(), n.h.connect()
				idle.do(t, lock("held"))
				waits.do(t, fsm.Op{Code: fsm.OpSessionID})
				c.cut(n)
				time.Sleep(1500 * time.Millisecond) // a leader has stepped down
				waits.send(lock("late"))
				began := time.Now()
				eventually(t, "CLUSTERDOWN", func() bool {
					n.h.mu.Lock()
					defer n.h.mu.Unlock()
					return len(n.h.down) > 0
				})
				if took := time.Since(began); took > 5*time.Second+50*time.Millisecond {
					t.Errorf("CLUSTERDOWN after %v", took)
				}
				eventually(t, "the end", func() bool { return n.Fresh() != nil })
				other := c.others(n)[0].h.connect()
				wants(t, "what got CLUSTERDOWN", other.do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("late")}), 0)
				r := reply(t, other.send(lock("held")))
				if since := time.Since(began); r.Code != fsm.CodeOK || since > 13*time.Second {
					t.Errorf("the hold ended after %v: %+v", since, r)
				}
				if !strings.Contains(strings.Join(n.h.events(), " "), ErrSilent.Error()) {
					t.Error("ended for another reason:", n.h.events())
				}
				c.heal(n)
				eventually(t, "serving again", func() bool { return n.Fresh() == nil })
				if r := n.h.connect().do(t, lock("new")); r.Code != fsm.CodeOK {
					t.Fatal(r)
				}
			})
		})
	}
}

// A node that stood still while its sessions ended answers nothing from before.
func TestFrozenNodeThaws(t *testing.T) {
	for _, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrio(t, nil)
				n := c.leader()
				if who == "follower" {
					n = c.others(n)[0]
				}
				conn, waiter := n.h.connect(), n.h.connect()
				conn.do(t, lock("a"))
				other := c.others(n)[0].h.connect()
				other.do(t, lock("b"))
				w := waiter.send(lock("b"))
				time.Sleep(time.Second)
				c.cut(n)
				time.Sleep(100 * time.Millisecond)
				if r := reply(t, other.send(lock("a"))); r.Code != fsm.CodeOK {
					t.Fatal(r)
				}
				other.do(t, unlock("b"))
				n.clock.freeze(20 * time.Second)
				c.heal(n)
				if r, ok := <-w; ok {
					t.Fatalf("answered %+v after the thaw", r)
				}
				eventually(t, "serving again", func() bool { return n.Fresh() == nil })
				wants(t, "b", n.h.connect().do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("b")}), 0)
			})
		})
	}
}

// The machine knows a node that died by its silence, and not before.
func TestDeadNodesHoldsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		n, o := c.others(l)[0], c.others(l)[1]
		n.h.connect().do(t, lock("a"))
		time.Sleep(time.Second)
		began := time.Now()
		c.kill(n)
		r := reply(t, o.h.connect().send(lock("a")))
		if took := time.Since(began); r.Code != fsm.CodeOK || took < 6*time.Second || took > 13*time.Second {
			t.Fatalf("granted %+v after %v", r, took)
		}
	})
}

// A hand-off between clients of two followers at rest.
func TestHandOffBetweenFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		o := c.others(c.leader())
		a, b := o[0].h.connect(), o[1].h.connect()
		a.do(t, lock("k"))
		for range 20 {
			w := b.send(lock("k"))
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			wants(t, "UNLOCK", a.do(t, unlock("k")), 0)
			if r := reply(t, w); r.Code != fsm.CodeOK {
				t.Fatal(r)
			}
			if took := time.Since(began); took > 5*time.Millisecond {
				t.Errorf("a hand-off took %v", took)
			}
			a, b = b, a
		}
	})
}

// A node that was away for longer than the log reaches back takes over a snapshot.
// It serves meanwhile; what waits there goes on.
func TestSnapshotInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := threeGates()
		c := newTrio(t, func(o *Options) {
			o.SnapshotEntries, o.TrailingLogs, o.SnapshotBytes = 64, 8, 2000
			gated(gates)(o)
		})
		l := c.leader()
		n, o := c.others(l)[0], c.others(l)[1]
		holder := o.h.connect()
		holder.do(t, lock("k"))
		waiter, granted, idle := n.h.connect(), n.h.connect(), n.h.connect()
		w := waiter.send(lock("k"))
		holder.do(t, lock("g"))
		wg := granted.send(lock("g"))
		idle.do(t, lock("mine"))
		time.Sleep(100 * time.Millisecond)
		c.cut(n)
		for _, x := range c.others(n) { // nothing that was under way may arrive later
			c.net.Break(addrOf(n.opts.NodeID), addrOf(x.opts.NodeID))
		}
		time.Sleep(time.Second)   // and what the leader holds back for it was there before
		holder.do(t, unlock("g")) // the grant lies in what is skipped
		for range 300 {
			holder.do(t, lock("x"))
			holder.do(t, unlock("x"))
		}
		time.Sleep(time.Second)
		c.heal(n)
		eventually(t, "a snapshot", func() bool {
			return strings.Contains(strings.Join(n.h.events(), " "), "installed")
		})
		c.same()
		if _, ok := <-wg; ok {
			t.Fatal("answered what lay in the snapshot")
		}
		pending(t, "the waiter", w)
		wants(t, "the hold of the node", idle.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("mine")}), 1)
		wants(t, "UNLOCK", holder.do(t, unlock("k")), 0)
		if r := reply(t, w); r.Code != fsm.CodeOK {
			t.Fatal(r)
		}
		for _, e := range n.h.events() {
			if strings.HasPrefix(e, "end") {
				t.Error(e)
			}
		}
	})
}

// All nodes restarted one after the other; the others' clients lose nothing.
func TestRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		for _, name := range []string{"n1", "n2", "n3"} {
			n := c.nodes[name]
			o := c.others(n)
			a, b := o[0].h.connect(), o[1].h.connect()
			a.do(t, lock("k"))
			w := b.send(lock("k"))
			time.Sleep(100 * time.Millisecond)
			delete(c.nodes, name)
			n.stop(t)
			began := time.Now()
			wants(t, "count", a.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("k")}), 1)
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("%s stopped: no service for %v", name, took)
			}
			c.start(name)
			pending(t, "the waiter", w)
			wants(t, "UNLOCK", a.do(t, unlock("k")), 0)
			reply(t, w)
			wants(t, "UNLOCK", b.do(t, unlock("k")), 0)
			for _, n := range o {
				if strings.Contains(strings.Join(n.h.events(), " "), "end ") {
					t.Error(n.h.events())
				}
			}
		}
	})
}

// The whole cluster stops and starts in any order: the state is there.
func TestWholeClusterRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		conn := c.leader().h.connect()
		conn.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 3_600_000})
		fence := conn.do(t, fsm.Op{Code: fsm.OpLock, Key: []byte("a"), Owner: []byte("o")}).Int
		for name, n := range c.nodes {
			delete(c.nodes, name)
			n.stop(t)
		}
		time.Sleep(time.Hour)
		c.start("n3", "n1")
		conn = c.nodes["n3"].h.connect()
		conn.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s")})
		wants(t, "FENCE", conn.do(t, fsm.Op{Code: fsm.OpFence, Key: []byte("a")}), fence)
		c.start("n2")
		c.same()
	})
}

// A node that lost its disk is refused, with a sentence; so is one of another cluster.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		n := c.others(l)[0]
		name := n.opts.NodeID
		delete(c.nodes, name)
		n.stop(t)
		c.fs[name] = newFS()
		try := func(want string, change func(o *Options)) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := c.tryStart(ctx, name, change)
			var r *peer.Refusal
			if err == nil || !strings.Contains(err.Error(), want) || want != "" && !errors.As(err, &r) {
				t.Errorf("error %v, want %q", err, want)
			}
			c.fs[name] = newFS()
		}
		try("another data directory", nil)
		try("cluster", func(o *Options) {
			o.InitialCluster = c.initial()
			o.InitialCluster["n9"] = "n9:1"
		})
		wants(t, "the others serve", c.others(l)[0].h.connect().do(t, lock("a")), 1)
	})
}
