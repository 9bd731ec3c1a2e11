package cluster

import (
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// The places where two rules meet: each of these was found by reading, and the node
// took itself for vouched for longer than the machine did.

func setTimeout(value string) fsm.Op {
	return fsm.Op{Code: fsm.OpConfigSet, Name: []byte(fsm.SettingSessionTimeout), Value: []byte(value)}
}

// TestTimeoutWithinAnEntry: session-timeout is lowered and raised again in one
// entry, and the first connection of a node comes in between.
func TestTimeoutWithinAnEntry(t *testing.T) {
	e := newEnsemble(t)
	a, c := e.players[0], e.players[2]
	admin := c.h.connect()
	c.send(admin, setTimeout("1000"))
	lower := c.drawn()
	ch := a.send(a.h.connect(), lock("k"))
	first := a.drawn()
	c.send(admin, setTimeout("10000"))
	e.commit(lower, first, c.drawn())
	a.hear()
	if r := e.got(ch); r.Int != 1 {
		t.Fatalf("LOCK: %+v", r)
	}
	e.clock.freeze(time.Second)
	e.ms += 1000
	e.commit()
	c.hear()
	if x, _ := c.m.Node("A"); !x.Alive != (a.within(&a.vouch.fresh, ErrSilent) != nil) {
		t.Errorf("the machine has the node alive: %v; the node: %v", x.Alive, a.within(&a.vouch.fresh, ErrSilent))
	}
}

// TestTimeoutWithinASnapshot: the same in entries that a node skips, where one of
// its keepalives counted in between.
func TestTimeoutWithinASnapshot(t *testing.T) {
	e := newEnsemble(t)
	a, b := e.players[0], e.players[1]
	a.do(a.h.connect(), lock("k"))
	a.mute, a.deaf = true, true
	e.pass(8 * time.Second)
	admin := b.h.connect()
	b.do(admin, setTimeout("1000"))
	a.turn()
	r := a.drawn()
	if len(r.keepalives) == 0 {
		t.Fatal("no keepalive")
	}
	e.commit(r)
	b.do(admin, setTimeout("10000"))
	a.install(b)
	if a.phase != phaseServing {
		t.Fatal("it does not serve any more")
	}
	e.pass(2 * time.Second)
	if x, _ := b.m.Node("A"); x.Alive {
		t.Fatal("the machine has the node alive")
	}
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("the machine has ended the node, which takes itself for vouched for")
	}
}

// TestRemovedIsNotAnswered: a node that the same entry removes is told nothing of
// what it was granted there. It may never apply the entry.
func TestRemovedIsNotAnswered(t *testing.T) {
	e := newEnsemble(t)
	a, b := e.players[0], e.players[1]
	gone, stays := &remote{node: a.node}, &remote{node: b.node}
	gone.inc.Store(uint64(a.inc))
	stays.inc.Store(uint64(b.inc))
	a.send(a.h.connect(), lock("k"))
	b.send(b.h.connect(), lock("k"))
	r := b.drawn()
	r.add(fsm.AppendRemove(nil, a.node))
	e.commit(a.drawn(), r)
	eff := e.players[2].step()
	gather([]*remote{gone, stays}, eff, eff.Timeout, func(string) int64 { return 1 })
	if len(stays.fast) == 0 {
		t.Error("the other node is not answered")
	}
	if len(gone.fast) > 0 {
		t.Error("the removed node is told of a lock that it does not hold any more")
	}
}

// TestHeartbeatOfALostNode: a client's last word in time was answered by a node that
// then told nothing more. A change of leader gives that node another session-timeout,
// and the session its TTL from the node's end on, not less.
func TestHeartbeatOfALostNode(t *testing.T) {
	const ttl = 25 * time.Second
	e := newEnsemble(t)
	a, b := e.players[0], e.players[1]
	r := a.do(a.h.connect(), fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Flags: fsm.FlagHeartbeat, Lease: ttl.Milliseconds()})
	session := r.Data.(*fsm.Attached).Session
	for range 8 {
		e.pass(3 * time.Second)
	}
	a.h.contacts = []fsm.SessionID{session} // a PING at 24 s
	if err := a.within(&a.vouch.half, ErrHalf); err != nil {
		t.Fatal("PING:", err)
	}
	a.mute, a.deaf = true, true
	e.pass(6 * time.Second)
	e.newTerm()
	e.pass(ttl - 6*time.Second - samplePeriod)
	if r := b.asks(fsm.Op{Code: fsm.OpSessionInfo, Name: []byte("s")}); r.Code != fsm.CodeOK {
		t.Error("the session has ended though it was spoken for less than its TTL ago:", r.Code)
	}
	e.pass(ttl)
	if r := b.asks(fsm.Op{Code: fsm.OpSessionInfo, Name: []byte("s")}); r.Code == fsm.CodeOK {
		t.Error("the session goes on though its node has ended and nobody came back")
	}
}

// TestHeartbeatIsReportedLate: what a client says is told to the machine with the
// next keepalive. A session that is spoken for within its TTL lives, and an answered
// PING is good for half a session-timeout, also when the keepalive comes after the TTL.
func TestHeartbeatIsReportedLate(t *testing.T) {
	e := newEnsemble(t)
	a, b := e.players[0], e.players[1]
	r := a.do(a.h.connect(), fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Flags: fsm.FlagHeartbeat})
	session := r.Data.(*fsm.Attached).Session
	for range 5 {
		e.pass(9500 * time.Millisecond)
		a.h.contacts = []fsm.SessionID{session} // a PING
		if err := a.within(&a.vouch.half, ErrHalf); err != nil {
			t.Fatal("PING:", err)
		}
		a.mute = true // nothing more of it reaches the others
		e.pass(5*time.Second - 1)
		if r := b.asks(fsm.Op{Code: fsm.OpSessionInfo, Name: []byte("s")}); r.Code != fsm.CodeOK {
			t.Fatal("the session has ended though it was spoken for in time:", r.Code)
		}
		a.mute = false
		e.settle()
	}
	for range 2 {
		e.pass(10 * time.Second)
	}
	if r := b.asks(fsm.Op{Code: fsm.OpSessionInfo, Name: []byte("s")}); r.Code == fsm.CodeOK {
		t.Error("a session that nobody speaks for goes on for ever")
	}
}

// TestClientsComeAndGoWithoutALeader: what clients leave behind that come, get no
// answer and go again, while nobody leads, is not kept until somebody does.
func TestClientsComeAndGoWithoutALeader(t *testing.T) {
	e := newEnsemble(t)
	a := e.players[0]
	a.mute = true
	c := a.h.connect()
	a.send(c, lock("sent"))
	a.drawn() // and lost
	a.end(c)
	for range 10 {
		c := a.h.connect()
		a.send(c, lock("k"))
		e.clock.freeze(2 * time.Second)
		a.turn()
		a.end(c)
	}
	e.clock.freeze(6 * time.Second)
	a.turn()
	if n := len(a.queue.ops); n != 1 {
		t.Errorf("%d ops are queued for ten clients that are gone and were never heard of, and one that may have been", n)
	}
	a.mute = false
	a.resend()
	e.settle()
	if r := a.asks(isLocked("sent")); r.Int != 0 {
		t.Error("the lock of a client that is gone is held")
	}
	if r := a.asks(lock("k")); r.Code != fsm.CodeOK {
		t.Error("LOCK:", r.Code)
	}
}
