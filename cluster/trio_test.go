package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/cluster/peer/peertest"
	"github.com/redlockd/redlockd/fsm"
)

// trio is a cluster of three in memory. Nodes are named n1, n2, n3.
type trio struct {
	t     *testing.T
	net   *peertest.Net
	names []string
	fs    map[string]*vfs.MemFS
	nodes map[string]*testNode // running ones
	// change alters the options of each node; may be nil.
	change func(o *Options)
}

func addrOf(name string) string { return name + ":17379" }

// newTrio starts three nodes; they have elected a leader and serve.
func newTrio(t *testing.T, change func(o *Options)) *trio {
	t.Helper()
	c := emptyTrio(t, change)
	c.start(c.names...)
	return c
}

// emptyTrio has the disks of three nodes, none of which runs.
func emptyTrio(t *testing.T, change func(o *Options)) *trio {
	t.Helper()
	c := &trio{t: t, net: peertest.New(), names: []string{"n1", "n2", "n3"}, fs: map[string]*vfs.MemFS{}, nodes: map[string]*testNode{}, change: change}
	for _, name := range c.names {
		c.fs[name] = vfs.NewMem()
	}
	return c
}

// stopAll stops all nodes together.
func (c *trio) stopAll() {
	c.t.Helper()
	var wg sync.WaitGroup
	for name, n := range c.nodes {
		delete(c.nodes, name)
		wg.Go(func() { n.stop(c.t) })
	}
	wg.Wait()
}

// start starts nodes together and waits until they serve.
func (c *trio) start(names ...string) {
	c.t.Helper()
	type started struct {
		name string
		n    *testNode
		err  error
	}
	ch := make(chan started)
	for _, name := range names {
		go func() {
			n, err := c.tryStart(context.Background(), name, nil)
			ch <- started{name, n, err}
		}()
	}
	for range names {
		s := <-ch
		if s.err != nil {
			c.t.Fatal(s.name, s.err)
		}
		c.nodes[s.name] = s.n
	}
}

func (c *trio) initial() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"n1", "n2", "n3"} {
		all[name] = addrOf(name)
	}
	return all
}

func (c *trio) tryStart(ctx context.Context, name string, change func(o *Options)) (*testNode, error) {
	l, err := c.net.Listen(addrOf(name))
	if err != nil {
		return nil, err
	}
	n := &testNode{h: newTestHost(), clock: newTestClock(), store: openStore(c.t, c.fs[name]), fatal: make(chan error, 1)}
	o := Options{
		NodeID: name, Storage: n.store, Host: n.h, Logger: quiet(), Clock: n.clock, Rand: seeded(),
		Peer:           &peer.Options{Listener: l, Dial: c.net.Dialer(addrOf(name))},
		InitialCluster: c.initial(),
		OnFatal:        func(err error) { n.fatal <- err },
	}
	if c.change != nil {
		c.change(&o)
	}
	if change != nil {
		change(&o)
	}
	if ctx == nil {
		return n, n.launch(c.t, o)
	}
	return n, n.begin(ctx, c.t, o)
}

// launch starts a node and does not wait until it serves.
func (c *trio) launch(name string, change func(o *Options)) *testNode {
	c.t.Helper()
	n, err := c.tryStart(nil, name, change) //nolint:staticcheck // nil: it waits for nothing
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[name] = n
	return n
}

// leader returns the node that leads, once one does and all agree on it.
func (c *trio) leader() *testNode {
	c.t.Helper()
	var l *testNode
	eventually(c.t, "a leader", func() bool {
		l = nil
		for _, n := range c.nodes {
			if n.proposer.leads.Load() {
				l = n
			}
		}
		return l != nil
	})
	return l
}

// others returns the running nodes but one, by name.
func (c *trio) others(but *testNode) []*testNode {
	var all []*testNode
	for _, name := range c.names {
		if n := c.nodes[name]; n != nil && n != but {
			all = append(all, n)
		}
	}
	return all
}

// kill takes a node away as a crash does: nobody hears of it any more, and what
// was not synced is lost.
func (c *trio) kill(n *testNode) {
	c.t.Helper()
	name := n.opts.NodeID
	c.cut(n)
	delete(c.nodes, name)
	go n.stop(c.t)
}

// cut cuts a node off from the others.
func (c *trio) cut(n *testNode) {
	for _, o := range c.names {
		if o != n.opts.NodeID {
			c.net.Isolate(addrOf(n.opts.NodeID), addrOf(o))
		}
	}
}

func (c *trio) heal(n *testNode) {
	for _, o := range c.names {
		if o != n.opts.NodeID {
			c.net.Rejoin(addrOf(n.opts.NodeID), addrOf(o))
		}
	}
}

// same waits until all running nodes have applied the same, and compares them.
func (c *trio) same() {
	c.t.Helper()
	eventually(c.t, "the same state everywhere", func() bool {
		var hashes []string
		for _, n := range c.nodes {
			n.View(func(m *fsm.Machine) {
				i, _ := m.Applied()
				s := m.Stats()
				hashes = append(hashes, fmt.Sprint(i, s.Holds, s.Waiters, s.LastFence, s.Sessions))
			})
		}
		slices.Sort(hashes)
		return len(slices.Compact(hashes)) == 1
	})
}

func TestThreeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := newTrio(t, nil)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("serving after %v", took)
		}
		l := c.leader()
		var fence int64
		for _, n := range append(c.others(l), l) {
			conn := n.h.connect()
			r := conn.do(t, lock("a"))
			if r.Int <= fence {
				t.Fatalf("%s: LOCK answered %+v after fence %d", n.opts.NodeID, r, fence)
			}
			fence = r.Int
			if r := conn.do(t, unlock("a")); r.Code != fsm.CodeOK {
				t.Fatalf("UNLOCK answered %+v", r)
			}
		}
		id := l.Status().ClusterID
		for _, n := range c.nodes {
			if s := n.Status(); s.ClusterID != id || len(id) != 32 || s.Voters != 3 || s.LeaderID != l.opts.NodeID {
				t.Fatalf("status %+v", s)
			}
		}
		c.same()
		var _ raft.ServerID
	})
}

// wants fails unless the reply is good.
func wants(t *testing.T, what string, r fsm.Reply, n int64) {
	t.Helper()
	if r.Code != fsm.CodeOK || r.Int != n {
		t.Fatalf("%s: %+v, want %d", what, r, n)
	}
}

// pending fails if a reply has come.
func pending(t *testing.T, what string, ch chan fsm.Reply) {
	t.Helper()
	select {
	case r, ok := <-ch:
		t.Fatalf("%s: %+v, open %v", what, r, ok)
	default:
	}
}

// failovers are the ways in which a leader goes.
var failovers = []struct {
	name string
	do   func(c *trio, l *testNode)
}{
	{"cut off", func(c *trio, l *testNode) { c.cut(l) }},
	{"killed", func(c *trio, l *testNode) { c.kill(l) }},
	{"stopped", func(c *trio, l *testNode) {
		delete(c.nodes, l.opts.NodeID)
		go l.stop(c.t)
	}},
	{"hands over", func(c *trio, l *testNode) {
		if err := l.Failover(context.Background(), ""); err != nil {
			c.t.Fatal(err)
		}
	}},
}

// However the leader goes: connections on the others stay open, their holds and
// places stay, calls under way finish, and each takes effect once.
func TestFailover(t *testing.T) {
	for _, f := range failovers {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrio(t, nil)
				l := c.leader()
				o := c.others(l)
				holder, first, second := o[0].h.connect(), o[1].h.connect(), o[0].h.connect()
				wants(t, "LOCK", holder.do(t, lock("k")), 1)
				wants(t, "LOCK again", holder.do(t, lock("k")), 1)
				w1 := first.send(lock("k"))
				time.Sleep(50 * time.Millisecond)
				w2 := second.send(lock("k"))
				time.Sleep(50 * time.Millisecond)
				began := time.Now()
				f.do(c, l)
				calls := make([]chan fsm.Reply, 40)
				for i := range calls {
					conn := o[i%2].h.connect()
					calls[i] = conn.send(lock(fmt.Sprint("call", i)))
					time.Sleep(50 * time.Millisecond)
				}
				fences := map[int64]bool{}
				for i, ch := range calls {
					r := reply(t, ch)
					if r.Code != fsm.CodeOK || fences[r.Int] || r.Int <= 1 {
						t.Fatalf("call %d: %+v", i, r)
					}
					fences[r.Int] = true
				}
				// The calls were spread over 2 s; nobody waited longer.
				if took := time.Since(began); took > 2500*time.Millisecond {
					t.Errorf("served again after %v", took)
				}
				pending(t, "a waiter was granted", w1)
				wants(t, "count", holder.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("k")}), 2)
				wants(t, "UNLOCK", holder.do(t, unlock("k")), 1)
				wants(t, "UNLOCK", holder.do(t, unlock("k")), 0)
				if r := reply(t, w1); r.Code != fsm.CodeOK {
					t.Fatal(r)
				}
				time.Sleep(time.Second)
				pending(t, "the second waiter was granted early", w2)
				wants(t, "UNLOCK", first.do(t, unlock("k")), 0)
				if r := reply(t, w2); r.Code != fsm.CodeOK {
					t.Fatal(r)
				}
				for _, n := range o {
					for _, e := range n.h.events() {
						if len(e) > 3 && e[:3] == "end" {
							t.Error(n.opts.NodeID, e)
						}
					}
				}
			})
		})
	}
}

func newFS() *vfs.MemFS { return vfs.NewMem() }
