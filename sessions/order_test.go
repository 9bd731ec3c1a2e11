package sessions

import (
	"errors"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// ok n times.
func ok(n int) []fsm.Code { return make([]fsm.Code, n) }

// TestTwoBatchesInFlight is the example at Conn.again: op 3 is refused behind a
// wait, op 4 is in the next batch.
func TestTwoBatchesInFlight(t *testing.T) {
	t.Run("granted between the batches", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "lock?", "lock?")
		g.proposed("open/1 lock/2 lock/3")
		g.cut()
		g.do(c, "fence")
		g.cut()
		g.apply() // 2 waits, 3 is refused
		g.proposed("")
		g.grant(c)
		g.proposed("lock/3")
		g.apply() // 4 is refused, and not held back: 3 is not known to wait
		g.proposed("lock/3 fence/4")
		g.cut()
		g.apply() // 3 waits, 4 is refused
		g.proposed("")
		g.do(c, "fence")
		g.proposed("") // would be refused for sure
		g.answers(a, ok(1)...)
		g.grant(c)
		g.proposed("fence/4 fence/5")
		g.run()
		g.answers(a, ok(4)...)
	})
	t.Run("granted after both", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "lock?", "fence")
		g.cut()
		g.do(c, "fence")
		g.cut()
		g.apply()
		g.apply()
		g.proposed("")
		g.grant(c)
		g.proposed("fence/3 fence/4")
		g.run()
		g.answers(a, ok(3)...)
	})
	t.Run("granted in the same entry", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "lock?", "fence")
		g.cut()
		g.m.apply(g.f.next())
		g.grant(c)
		g.proposed("fence/3")
		g.run()
		g.answers(a, ok(2)...)
		if a.flushed != 2 {
			t.Fatalf("flushed %d times, want once for each Deliver that answered", a.flushed)
		}
	})
}

// TestPostponed: an op that is refused although nothing waits comes again at once, and
// what is behind it too.
func TestPostponed(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	left := 3
	g.m.postpone = func(o *fsm.Op) bool {
		left--
		return o.Code == fsm.OpFence && left >= 0
	}
	g.do(c, "sessionid", "fence", "sessionid")
	g.cut()
	g.do(c, "sessionid")
	g.cut()
	g.apply() // 3 is refused, and 4 behind it
	g.answers(a, ok(1)...)
	g.proposed("fence/3 sessionid/4")
	g.apply() // 5, sent before that, is refused
	g.proposed("fence/3 sessionid/4 sessionid/5")
	g.run()
	g.answers(a, ok(4)...)
}

// TestWaitingPipeline: a pipeline of waiting LOCKs costs a bounded number of
// proposals for each, and an OpEnd overtakes what is held.
func TestWaitingPipeline(t *testing.T) {
	const n = 500
	g := newRig(t, Options{})
	c, a := g.open()
	for range n {
		g.next++
		c.Do(fsm.Op{Code: fsm.OpLock, Note: []byte("wait"), Target: g.next}, g.next)
	}
	c.Flush()
	proposals := 0
	for range n - 1 {
		for g.f.queued() > 0 {
			proposals += g.f.queued()
			g.cut()
			g.apply()
		}
		g.grant(c)
	}
	g.answers(a, ok(n-1)...)
	if limit := n * (window + 1); proposals > limit {
		t.Fatalf("%d ops took %d proposals, more than %d", n, proposals, limit)
	}
	g.run()
	c.Closed()
	g.proposed("end/0")
}

// TestDown: ops that never left get CLUSTERDOWN and their numbers are given again.
func TestDown(t *testing.T) {
	const down = fsm.CodeClusterDown
	t.Run("first ops", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "lock", "lock")
		g.down()
		g.answers(a, down, down)
		g.proposed("")
		g.do(c, "fence")
		g.proposed("open/1 fence/2") // the open must come to pass; the op reuses 2
		g.run()
		g.answers(a, down, down, fsm.CodeOK)
	})
	t.Run("behind a wait", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "lock?")
		g.run()
		g.do(c, "fence")
		g.proposed("fence/3")
		g.down()
		g.answers(a) // its turn has not come
		g.proposed("")
		g.table.Deliver(&fsm.Effects{})
		g.proposed("fence/3")
		g.cut()
		g.apply()
		g.proposed("") // now the wait is known
		g.grant(c)
		g.run()
		g.answers(a, ok(2)...)
	})
	t.Run("with ops behind the hole", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "fence")
		g.run()
		g.do(c, "lock", "lock", "fence")
		g.table.Down(g.f.takeOut(func(i int) bool { return i == 0 }), errNoLeader)
		g.answers(a, fsm.CodeOK, down)
		g.do(c, "lock")
		g.proposed("lock/4 fence/5") // nothing more until these are back
		g.cut()
		g.apply()
		g.proposed("lock/3 fence/4 lock/5")
		g.run()
		g.answers(a, fsm.CodeOK, down, fsm.CodeOK, fsm.CodeOK, fsm.CodeOK)
	})
	t.Run("the end is never given up", func(t *testing.T) {
		g := newRig(t, Options{})
		c, _ := g.open()
		g.do(c, "lock")
		g.run()
		c.Closed()
		g.down()
		g.proposed("") // not at once: there may be no leader for long
		g.table.Deliver(&fsm.Effects{})
		g.proposed("end/0")
		ops := g.f.takeOut(func(int) bool { return true })
		g.table.End(1, nil)
		g.table.Down(ops, errNoLeader)
		g.table.Begin(2)
		g.table.Deliver(&fsm.Effects{})
		g.proposed("")
	})
}

func TestUncertain(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	other, b := g.open()
	g.do(c, "lock", "lock")
	g.do(other, "fence")
	g.cut()
	g.do(c, "fence")
	sent := g.f.oldest()
	g.table.Uncertain(append(sent, sent...), errNoLeader) // twice is no worse
	g.answers(a, fsm.CodeUncertain)
	g.answers(b, fsm.CodeUncertain)
	if len(a.closed) != 1 || !errors.Is(a.closed[0], ErrUncertain) || !errors.Is(a.closed[0], errNoLeader) {
		t.Fatalf("closed with %v", a.closed)
	}
	g.proposed("fence/4 end/0 end/0")
	g.apply() // its replies come to nobody
	g.run()
	g.answers(a, fsm.CodeUncertain)
	if len(g.m.conns) != 0 {
		t.Fatal("a connection is left in the machine")
	}
}

// TestMismatch: replies and refusals that fit no slot close the connection.
func TestMismatch(t *testing.T) {
	for name, eff := range map[string]fsm.Effects{
		"reply ahead":        {Replies: []fsm.Reply{{Conn: fsm.Incarnation(1).Conn(1), Seq: 4}}},
		"reply without slot": {Replies: []fsm.Reply{{Conn: fsm.Incarnation(1).Conn(1), Seq: 9}}},
		"refused, not sent":  {Refused: []fsm.Address{{Conn: fsm.Incarnation(1).Conn(1), Seq: 9}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{})
			c, a := g.open()
			g.do(c, "fence")
			g.run()
			g.do(c, "fence", "fence")
			g.table.Deliver(&fsm.Effects{Replies: []fsm.Reply{{Conn: fsm.Incarnation(1).Conn(1), Seq: 2}}})
			g.answers(a, ok(1)...) // an old copy is dropped
			g.table.Deliver(&eff)
			g.answers(a, ok(1)...)
			if len(a.closed) != 1 || !errors.Is(a.closed[0], ErrBug) {
				t.Fatalf("closed with %v", a.closed)
			}
		})
	}
}
