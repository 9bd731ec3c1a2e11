package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// A leader that was deposed and does not know it answers no query from its own
// state: queries are entries. Its disk hangs, so that it does not come to look at
// its lease, and another one is elected and grants a lock.
func TestDeposedLeaderAnswersNoQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := threeGates()
		c := newTrio(t, gated(gates))
		old := c.leader()
		g := gates[old.opts.NodeID]
		defer g.release()
		asker, other, taker := old.h.connect(), old.h.connect(), c.others(old)[0].h.connect()
		asker.do(t, isLocked("k"))
		taker.do(t, isLocked("k"))
		time.Sleep(100 * time.Millisecond)
		g.shut()
		other.send(isLocked("k"))
		time.Sleep(10 * time.Millisecond)
		c.cut(old)
		wants(t, "LOCK at the new leader", reply(t, taker.send(lock("k"))), 1)
		if old.raft.State() != raft.Leader || !old.proposer.leads.Load() {
			t.Fatal("the old leader knows: the test tests nothing")
		}
		answer := asker.send(isLocked("k"))
		time.Sleep(10 * time.Millisecond)
		pending(t, "the query at the deposed leader", answer)
		g.lift()
		c.heal(old)
		if r, ok := <-answer; ok && (r.Code != fsm.CodeOK || r.Int != 1) {
			t.Errorf("the query was answered %+v while another client holds the lock", r)
		}
		c.same()
	})
}
