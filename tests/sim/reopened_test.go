package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// TestReopenedSession: a session that was killed, and that a LOCK has opened anew on
// the same connection, lives on when the client comes back in time. The client knows
// its former id only, and once took that for a proof that the session had ended once
// more. (Seed 1570: a lock that was held on after that end.)
func TestReopenedSession(t *testing.T) {
	t.Parallel()
	conf := newConfig(1, time.Minute)
	conf.nodes, conf.clients, conf.sessionTimeout = 1, 0, 3*time.Second
	var w *world
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(1, conf)
		w.nodes[0].start(nil)
		if !eventually(time.Minute, func() bool { return w.serving() == 1 }) {
			t.Fatal("the node does not serve")
		}
		w.wg.Go(w.watch)
		w.reopen(t)
		w.ending.Store(overEnding)
		w.wg.Go(w.running()[0].stop)
		w.wg.Wait()
		for _, f := range w.faults {
			t.Error(f)
		}
	})
	for _, f := range check.Check(w.hist, check.Options{}).Faults {
		t.Error(f)
	}
}

// reopen is the story.
func (w *world) reopen(t *testing.T) {
	t.Helper()
	must := func(ok bool, what string) {
		if !ok {
			t.Fatal(what)
		}
	}
	other := newClient(w, 1)
	other.session, other.label = nil, ""
	c := newClient(w, 2)
	c.label, c.owner = "L2", "s2/L2"
	c.session = &session{name: "s2", owner: c.owner, ttl: patience3, byName: true}
	must(other.ensure() && c.ensure(), "no connection")
	kill := &call{op: fsm.Op{Code: fsm.OpSessionKill, Name: []byte("s2")}}
	began := w.hist.Now()
	must(other.ask(patience3, kill) && kill.reply.Int == 1, "not killed")
	c.session.ends(w.hist, began, w.hist.Now())
	c.session.killed = true
	lock := c.op(fsm.OpLock, "k")
	must(c.ask(patience3, lock) && lock.reply.Code == fsm.CodeOK, "not opened anew")

	// As far as the client can tell its connection has been in doubt for a TTL.
	c.link.lose(time.Now(), true)
	former := c.link
	c.lost()
	time.Sleep(patience3 + time.Millisecond)
	must(c.ensure(), "not attached again")
	time.Sleep(time.Millisecond) // a moment that is surely after that
	look := other.op(fsm.OpFence, "k")
	must(other.ask(patience3, look), "no answer")
	must(look.reply.Int == lock.reply.Int, fmt.Sprintf("fence %d, was %d", look.reply.Int, lock.reply.Int))
	former.conn.Closed()
	must(c.ask(patience3, c.unlock("k")), "not released")
	other.hangUp(errLeaves)
	c.hangUp(errLeaves)
}

// patience3 is the TTL, too.
const patience3 = 3 * time.Second
