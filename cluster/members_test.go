package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// loadClient takes and frees one lock over and over until it is told to stop.
type loadClient struct {
	fences []int64
	slow   time.Duration // the longest call
	err    error
}

func (l *loadClient) run(c *testConn, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		for _, op := range []fsm.Op{lock("k"), unlock("k")} {
			began := time.Now()
			r, ok := <-c.send(op)
			l.slow = max(l.slow, time.Since(began))
			if !ok || r.Code != fsm.CodeOK {
				l.err = fmt.Errorf("%+v, answered: %v", r, ok)
				return
			}
			if op.Code == fsm.OpLock {
				l.fences = append(l.fences, r.Int)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// FAILOVER under load: no call fails, none waits long, no connection is closed, no
// fence is given twice.
func TestFailoverUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		stop := make(chan struct{})
		clients := make([]loadClient, 9)
		var wg sync.WaitGroup
		for i := range clients {
			conn := c.nodes[c.names[i%3]].h.connect()
			wg.Go(func() { clients[i].run(conn, stop) })
		}
		for i := range 9 {
			time.Sleep(300 * time.Millisecond)
			l := c.leader()
			to := c.names[i%3]
			if to == l.opts.NodeID {
				to = ""
			}
			if err := c.others(l)[i%2].Failover(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			if now := c.leader(); now == l || to != "" && now.opts.NodeID != to {
				t.Fatalf("%s leads after a failover from %s to %q", now.opts.NodeID, l.opts.NodeID, to)
			}
		}
		close(stop)
		wg.Wait()
		seen := map[int64]bool{}
		for i := range clients {
			x := &clients[i]
			if x.err != nil || x.slow > 2*time.Second {
				t.Errorf("client %d: error %v, the longest call took %v", i, x.err, x.slow)
			}
			last := int64(0)
			for _, f := range x.fences {
				if seen[f] || f <= last {
					t.Fatalf("client %d was given fence %d, once more or after %d", i, f, last)
				}
				seen[f], last = true, f
			}
		}
		if len(seen) < 100 {
			t.Errorf("only %d locks were taken: the test tests too little", len(seen))
		}
		for name, n := range c.nodes {
			if strings.Contains(strings.Join(n.h.events(), "\n"), "end ") {
				t.Error(name, n.h.events())
			}
		}
		c.same()
	})
}

// A node that does not answer is removed: what its clients hold is free once nobody
// has vouched for it for session-timeout, for it may be alive; the others need it for
// no quorum, and should it come back it learns that it is out.
func TestForgetNodeThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		n, o := c.others(l)[0], c.others(l)[1]
		name := n.opts.NodeID
		held := n.h.connect()
		held.do(t, lock("k"))
		c.cut(n) // a node whose machine is off answers nobody
		delete(c.nodes, name)
		time.Sleep(2 * time.Second)
		w := o.h.connect().send(lock("k"))
		time.Sleep(100 * time.Millisecond)
		pending(t, "the waiter", w)
		eventually(t, "the removal", func() bool { return o.Forget(t.Context(), name) == nil })
		// It may be alive, and its clients think that they hold.
		time.Sleep(2 * time.Second)
		pending(t, "the waiter, while the removed node is vouched for", w)
		if r := reply(t, w); r.Code != fsm.CodeOK {
			t.Fatalf("%+v", r)
		}
		if !slices.ContainsFunc(n.h.events(), func(e string) bool { return strings.HasPrefix(e, "end ") }) {
			t.Error("the lock was passed on before the cut-off node closed its clients' connections")
		}
		c.voters(2)
		c.heal(n)
		if err := n.gone(t); !errors.Is(err, ErrRemoved) {
			t.Errorf("the removed node learns: %v", err)
		}
		if r := l.h.connect().do(t, lock("after")); r.Code != fsm.CodeOK {
			t.Fatal(r)
		}
	})
}

// gone waits until the node's process would end, and says why.
func (n *testNode) gone(t *testing.T) error {
	t.Helper()
	select {
	case err := <-n.fatal:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the process does not end")
		return nil
	}
}

// spoil makes a node apply what no other one applies: what must never be.
func spoil(n *testNode) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	n.h.onDeliver = func(*fsm.Effects) { // on the apply goroutine
		n.h.onDeliver = nil
		n.applier.viewMu.Lock()
		defer n.applier.viewMu.Unlock()
		i, term := n.fsm.Applied()
		n.fsm.Apply(&fsm.Entry{Index: i + 1, Term: term, Time: n.fsm.Now() + 1, Items: []fsm.Item{
			{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "ghost", Nonce: fsm.Nonce{7}}},
			{Kind: fsm.ItemRemove, Remove: "ghost"}, // else it would be one more that has a say
		}})
	}
}

// syncBuffer is a log that many write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A leader whose state differs stops, says so, and another one leads.
func TestDivergedLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := map[string]*syncBuffer{"n1": {}, "n2": {}, "n3": {}}
		c := newTrio(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(logs[o.NodeID], nil)) })
		n := c.leader()
		o := c.others(n)
		conn := o[0].h.connect()
		conn.do(t, lock("a"))
		c.same()
		spoil(n)
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
		if said := logs[n.opts.NodeID].String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "differs from that of the majority") {
			t.Errorf("its log does not say so:\n%s", said)
		}
		delete(c.nodes, n.opts.NodeID)
		n.stop(t) // as its process does
		wants(t, "the hold", reply(t, conn.send(count("a"))), 1)
		for _, x := range o {
			if len(x.fatal) != 0 || x.Fresh() != nil {
				t.Error(x.opts.NodeID, "stopped too")
			}
		}
	})
}
