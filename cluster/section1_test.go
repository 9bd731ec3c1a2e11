package cluster

import (
	"bytes"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestRule has a scenario for each rule of DESIGN.md section 1 that is kept by
// the agent and the machine together. Each is named after the canary (package
// internal/canary) that switches its rule off, and fails then: `make canaries`.
func TestRule(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { r.scenario(t, newEnsemble(t)) })
	}
}

type rule struct {
	name     string
	scenario func(t *testing.T, e *ensemble)
}

var rules = []rule{
	// Batches.
	{"batch_gap", ruleEarlyBatch},
	{"early_lost", ruleEarlyBatch},
	{"batch_twice", ruleBatchOnce},
	{"batch_given_up", ruleSentBatchStays},
	{"batch_reused", ruleSentBatchStays},
	{"failed_forgotten", ruleFailedAnswer},
	{"overdue_forgotten", ruleOverdueAnswer},
	{"many_in_flight", ruleTwoInFlight},
	{"down_kept", ruleDownIsTakenOut},
	{"wait_times_out", ruleWaitHasNoTimeout},
	// Order within a connection.
	{"op_gap", ruleOpsInOrder},
	{"op_while_waiting", ruleNothingWhileWaiting},
	{"end_waits", ruleEndOfAWaiter},
	{"session_returns", ruleEndedSessionStays},
	// Incarnations.
	{"nonce_forgotten", ruleSameNonce},
	{"register_any", ruleLateRegistration},
	{"waits_stay", ruleWaitsEndWithTheIncarnation},
	{"incarnation_revived", ruleEndedForGood},
	{"refusal_ignored", ruleRefusalIsHeeded},
	// Keepalives.
	{"keepalive_twice", ruleKeepaliveCountsOnce},
	{"keepalive_old_time", ruleKeepaliveCountsFromItsEntry},
	{"keepalive_queues", ruleKeepalivesGoAhead},
	{"keepalive_unapplied", ruleKeepaliveCountsWhenApplied},
	{"keepalive_from_applied", ruleKeepaliveCountsFromSent},
	{"suspend_unseen", ruleSuspendCounts},
	{"stale_grant", ruleNothingAfterAPause},
	{"silence_ignored", ruleSilenceEnds},
	{"no_margin", ruleMargin},
	{"ping_always", rulePing},
	{"idle_vouches", ruleIdleNode},
	// Time.
	{"clock_from_zero", ruleClockStartsAtTheMachines},
	{"restore_keeps_clock", ruleClockStartsAnewAfterARestore},
	{"term_no_time", ruleTermGivesNodesTime},
	{"term_no_ttl", ruleTermGivesSessionsTime},
	// Fast answers.
	{"fast_renews", ruleFastAnswerDoesNotRenew},
	{"fast_unvouched", ruleFastAnswerIsVouchedFor},
	// Snapshot install.
	{"install_blind", ruleInstallCompares},
	{"snapshot_no_waiters", ruleWaitsGoOnAfterAnInstall},
	{"fence_lost", ruleFencesGoOnAfterAnInstall},
	// IDs, notices, settings, holds.
	{"id_ignored", ruleRetryIsTheSame},
	{"id_forgotten", ruleIDOutlivesItsHold},
	{"id_regrants", ruleRetryOfALostGrant},
	{"notice_lost", ruleNotice},
	{"notice_stays", ruleNotice},
	{"setting_unwritten", ruleSettingsAreState},
	{"grant_to_ended", ruleTogether},
	{"ends_one_by_one", ruleTogether},
	{"lost_waiter", ruleHandOverTells},
	{"fence_from_index", ruleTwoGrantsInOneEntry},
	{"free_kept", ruleFreeLockCostsNothing},
}

// The machine applies batch n only after n-1. One that comes too early is
// refused, and sent again in order.
func ruleEarlyBatch(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	first := a.send(c, lock("one"))
	lost := a.drawn()
	second := a.send(c, lock("two"))
	e.commit(a.drawn())
	if lost.empty() {
		t.Fatal("nothing was lost")
	}
	e.settle()
	if r := e.got(first); r.Int != 1 {
		t.Errorf("the op of the lost batch was answered %+v", r)
	}
	if r := e.got(second); r.Int != 2 {
		t.Errorf("the op of the early batch was answered %+v", r)
	}
}

// ... and once.
func ruleBatchOnce(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.send(c, lock("k"))
	r := a.drawn()
	e.commit(r)
	e.commit(r, r)
	e.settle()
	wants(t, "count", a.do(c, count("k")), 1)
}

// A batch once sent never changes and is sent again until it is applied, also
// when request-timeout has answered its clients.
func ruleSentBatchStays(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.send(c, lock("one"))
	late := a.drawn()
	e.clock.freeze(6 * time.Second)
	a.turn()
	if len(a.h.late) != 2 {
		t.Fatal("nobody was told UNCERTAIN:", a.h.events())
	}
	second := a.send(a.h.connect(), lock("two"))
	again := a.drawn()
	if len(again.items) == 0 || !bytes.Equal(again.items[0], late.items[0]) {
		t.Error("what is sent again is not what was sent")
	}
	e.commit(late) // it was on its way all the time
	e.commit(again)
	e.settle()
	if r := e.got(second); r.Int != 2 {
		t.Errorf("the op behind it was answered %+v", r)
	}
}

// A failed answer sends everything again.
func ruleFailedAnswer(t *testing.T, e *ensemble) {
	a := e.players[0]
	ch := a.send(a.h.connect(), lock("k"))
	a.drawn()
	a.failed(&ProposeError{Outcome: Unknown, Err: errLate})
	e.clock.freeze(retryAfter)
	e.settle()
	if r := e.got(ch); r.Int != 1 {
		t.Error(r)
	}
}

// So does one that is overdue: forwards are lost without a word.
func ruleOverdueAnswer(t *testing.T, e *ensemble) {
	a := e.players[0]
	ch := a.send(a.h.connect(), lock("k"))
	a.drawn()
	e.clock.freeze(overdueAfter)
	e.settle()
	if r := e.got(ch); r.Int != 1 {
		t.Error(r)
	}
}

// At most two are in flight.
func ruleTwoInFlight(t *testing.T, e *ensemble) {
	a := e.players[0]
	for range 3 {
		a.send(a.h.connect(), lock("k"))
		a.drawn()
	}
	if len(a.sent) != 2 || a.ready() {
		t.Errorf("%d batches are in flight", len(a.sent))
	}
}

// Requests that were not sent get CLUSTERDOWN with request-timeout, and are never done.
func ruleDownIsTakenOut(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.send(a.h.connect(), lock("k"))
	e.clock.freeze(6 * time.Second)
	a.turn()
	if len(a.h.down) != 2 {
		t.Fatal("nobody was told CLUSTERDOWN:", a.h.events())
	}
	e.settle()
	wants(t, "the lock", e.players[1].asks(isLocked("k")), 0)
}

// A LOCK that waits has been applied and has no timeout of ours.
func ruleWaitHasNoTimeout(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, waiter := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	ch := a.send(waiter, lock("k"))
	e.pass(30 * time.Second)
	pending(t, "the wait", ch)
	if len(a.h.late)+len(a.h.down) != 0 {
		t.Error(a.h.events())
	}
	b.do(holder, unlock("k"))
	if r := e.got(ch); r.Int != 2 {
		t.Error(r)
	}
}

// The machine applies op s of a connection only after s-1.
func ruleOpsInOrder(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, lock("k"))
	one, first := c.ops(unlock("k"))
	two, second := c.ops(lock("k"))
	a.propose(two)
	e.settle()
	pending(t, "the op that came early", second)
	a.propose(one)
	a.propose(two)
	e.settle()
	if r := e.got(first); r.Code != fsm.CodeOK || r.Int != 0 {
		t.Errorf("UNLOCK answered %+v", r)
	}
	if r := e.got(second); r.Int != 2 {
		t.Errorf("LOCK answered %+v", r)
	}
}

// ... and none while the connection waits.
func ruleNothingWhileWaiting(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, c := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	wait, first := c.ops(lock("k"))
	behind, second := c.ops(isLocked("k"))
	a.propose(append(wait, behind...))
	e.settle()
	pending(t, "the wait", first)
	pending(t, "the op behind it", second)
	b.do(holder, unlock("k"))
	pending(t, "the refused op", second) // the host proposes it again
	a.propose(behind)
	e.settle()
	wants(t, "the lock", e.got(second), 1)
}

// The end of a connection is not held up by its wait.
func ruleEndOfAWaiter(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, gone := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	a.send(gone, lock("k"))
	e.settle()
	a.end(gone)
	e.settle()
	b.do(holder, unlock("k"))
	wants(t, "the lock", b.do(holder, isLocked("k")), 0)
}

// Nothing brings an ended session back: an op that comes after the end of its
// connection is NOSESSION.
func ruleEndedSessionStays(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	c := a.h.connect()
	a.do(c, lock("k"))
	killer := b.h.connect()
	late := a.send(c, lock("k"))
	inBatch := a.drawn()
	wants(t, "KILL", b.do(killer, fsm.Op{Code: fsm.OpKillConn, Target: uint64(c.id)}), 1)
	e.commit(inBatch)
	e.settle()
	pending(t, "the late op", late)
	if _, there := b.m.Conn(c.id); there {
		t.Error("the connection is back")
	}
	wants(t, "the lock", b.do(killer, isLocked("k")), 0)
}

// The same nonce again changes nothing.
func ruleSameNonce(t *testing.T, e *ensemble) {
	d := e.player("D")
	r := d.drawn()
	e.commit(r)
	e.commit(r)
	first := *d.step()
	inc := d.inc
	if len(first.Registered) != 1 || inc == 0 {
		t.Fatal("not registered")
	}
	again := d.step()
	if len(again.Registered) != 1 || again.Registered[0].Incarnation != inc || len(again.Ended) != 0 {
		t.Errorf("the copy was answered %+v", again.Registered)
	}
}

// A registration that names another predecessor is refused: a late one of a dead
// process ends nobody.
func ruleLateRegistration(t *testing.T, e *ensemble) {
	first := e.player("D")
	late := first.drawn()
	first.dead = true
	d := e.player("D")
	e.settle()
	c := d.h.connect()
	d.do(c, lock("k"))
	e.commit(late)
	e.settle()
	wants(t, "the hold of the living", d.do(c, count("k")), 1)
}

// When an incarnation ends its waits do: also in a session that lives on elsewhere.
func ruleWaitsEndWithTheIncarnation(t *testing.T, e *ensemble) {
	a, b, x := e.players[0], e.players[1], e.players[2]
	attach := fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 3_600_000}
	holder, gone, other := x.h.connect(), a.h.connect(), b.h.connect()
	x.do(holder, lock("k"))
	a.do(gone, attach)
	b.do(other, attach)
	a.send(gone, lock("k"))
	e.settle()
	a.dead = true
	e.pass(12 * time.Second)
	wants(t, "UNLOCK", x.do(holder, unlock("k")), 0)
	wants(t, "the lock", x.do(holder, isLocked("k")), 0)
}

// An ended incarnation is refused for good, its keepalives and batches too.
func ruleEndedForGood(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	a.do(a.h.connect(), lock("k"))
	inc := a.inc
	a.deaf, a.mute = true, true
	e.clock.freeze(5 * time.Second)
	a.turn()
	a.send(a.h.connect(), lock("late"))
	late := a.drawn() // a keepalive, and a batch
	if len(late.keepalives) != 1 || len(late.items) != 1 {
		t.Fatal("nothing is on its way")
	}
	e.ms += 11_000
	e.commit()
	e.commit(late)
	b.hear()
	wants(t, "what the ended one held", b.asks(isLocked("k")), 0)
	wants(t, "what the ended one asked for", b.asks(isLocked("late")), 0)
	a.deaf, a.mute = false, false
	e.settle()
	if a.inc == inc || a.phase != phaseServing {
		t.Error("the node has no new incarnation")
	}
}

// The refusal makes the node close everything and register anew.
func ruleRefusalIsHeeded(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, lock("k"))
	inc := a.inc
	e.commit(&round{items: [][]byte{fsm.AppendRemove(nil, "A")}})
	wait := a.send(c, isLocked("k"))
	e.settle()
	e.silent("the connection of an ended incarnation", wait, true)
	if a.inc == inc || a.phase != phaseServing {
		t.Error("the node has no new incarnation")
	}
}

// A keepalive counts once: a copy of an old one does not.
func ruleKeepaliveCountsOnce(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	a.do(a.h.connect(), lock("k"))
	e.clock.freeze(4 * time.Second)
	e.ms += 4000
	a.turn()
	old := a.drawn()
	if len(old.keepalives) != 1 {
		t.Fatal("no keepalive")
	}
	e.commit(old)
	e.settle()
	a.dead = true
	e.pass(9 * time.Second)
	e.commit(old)
	e.pass(2 * time.Second)
	wants(t, "what the dead one held", b.asks(isLocked("k")), 0)
}

// A keepalive gives a session-timeout from the time of its entry.
func ruleKeepaliveCountsFromItsEntry(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	c := a.h.connect()
	a.do(c, lock("k"))
	e.clock.freeze(4 * time.Second)
	e.ms += 4000 // and nothing was written meanwhile
	a.turn()
	e.commit(a.drawn())
	a.hear()
	b.hear()
	e.clock.freeze(9 * time.Second)
	e.ms += 9000
	if a.within(&a.vouch.fresh, ErrSilent) != nil {
		t.Fatal("the node does not count on its keepalive")
	}
	e.commit()
	b.hear()
	wants(t, "what is vouched for", b.asks(isLocked("k")), 1)
}

// Each entry carries the keepalives that have come, ahead of any queue.
func ruleKeepalivesGoAhead(t *testing.T, e *ensemble) {
	r := &remote{node: "B", clock: e.clock, log: quiet()}
	c := e.players[1].h.connect()
	ops, _ := c.ops(lock("k"))
	batch := fsm.AppendBatch(nil, e.players[1].inc, 1, ops)
	for n := range 3 {
		k := []fsm.Keepalive{{Incarnation: e.players[1].inc, Number: uint64(n) + 1}}
		if err := r.take(fsm.AppendEntry(nil, 0, k, batch)); err != nil {
			t.Fatal(err)
		}
	}
	full := &round{limit: 10, size: 10}
	r.draw(full)
	if len(full.keepalives) != 3 || full.size != 10 {
		t.Errorf("%d of 3 keepalives go with a full entry", len(full.keepalives))
	}
}

// For the node, a keepalive counts once its own loop has applied it.
func ruleKeepaliveCountsWhenApplied(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.do(a.h.connect(), lock("k"))
	a.deaf = true
	e.pass(9500 * time.Millisecond)
	if a.within(&a.vouch.fresh, ErrSilent) == nil || a.phase == phaseServing {
		t.Error("a node whose loop stands still counts on its keepalives")
	}
}

// ... and from the moment it was sent.
func ruleKeepaliveCountsFromSent(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.do(a.h.connect(), lock("k"))
	e.clock.freeze(4 * time.Second)
	a.turn()
	e.commit(a.drawn())
	e.clock.freeze(5 * time.Second)
	a.hear()
	e.clock.freeze(4499 * time.Millisecond)
	if err := a.within(&a.vouch.fresh, ErrSilent); err != nil {
		t.Error("not fresh before 95 % of session-timeout has passed since it was sent:", err)
	}
	e.clock.freeze(time.Millisecond)
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("fresh when 95 % of session-timeout has passed since it was sent")
	}
}

// The age is read from a clock that runs through suspends.
func ruleSuspendCounts(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.do(a.h.connect(), lock("k"))
	e.clock.suspend(10 * time.Second)
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("fresh after a suspend of a session-timeout")
	}
}

// Before any reply after a pause the node looks whether it is vouched for.
func ruleNothingAfterAPause(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, waiter := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	ch := a.send(waiter, lock("k"))
	e.settle()
	a.dead = true // frozen
	b.do(holder, unlock("k"))
	e.pass(12 * time.Second)
	if r := b.do(holder, lock("k")); r.Int != 3 {
		t.Fatalf("the hold of the frozen node goes on: %+v", r)
	}
	a.dead = false
	a.hear()
	e.silent("the waiter, while another one holds the lock,", ch, true)
}

// A node that nobody vouches for ends its incarnation and serves under a new one.
func ruleSilenceEnds(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, lock("k"))
	ch := a.send(c, count("k"))
	inc := a.inc
	a.mute, a.deaf = true, true
	e.pass(10 * time.Second)
	e.silent("the connection of a silent node", ch, true)
	if a.phase == phaseServing {
		t.Error("it serves on")
	}
	a.mute, a.deaf = false, false
	e.pass(time.Second)
	if a.inc == inc || a.phase != phaseServing {
		t.Error("it has no new incarnation")
	}
}

// It ends 5 % of session-timeout before the machine may end it.
func ruleMargin(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.do(a.h.connect(), lock("k"))
	e.clock.freeze(9500*time.Millisecond - 1)
	if err := a.within(&a.vouch.fresh, ErrSilent); err != nil {
		t.Error(err)
	}
	e.clock.freeze(1)
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("no margin is left")
	}
}

// PING is answered for half a session-timeout only.
func rulePing(t *testing.T, e *ensemble) {
	a := e.players[0]
	a.do(a.h.connect(), lock("k"))
	e.clock.freeze(5*time.Second - 1)
	if err := a.within(&a.vouch.half, ErrHalf); err != nil {
		t.Error(err)
	}
	e.clock.freeze(1)
	if a.within(&a.vouch.half, ErrHalf) == nil {
		t.Error("an answered PING promises half a session-timeout")
	}
}

// A node without connections sends no keepalive and does not end by silence.
func ruleIdleNode(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, lock("k"))
	a.end(c)
	e.settle()
	sent := a.counts.keepalives
	e.clock.freeze(time.Hour)
	a.turn()
	if a.phase != phaseServing || a.within(&a.vouch.fresh, ErrSilent) != nil || a.ready() || a.counts.keepalives != sent {
		t.Error("an idle node:", a.h.events())
	}
}

// stamp returns the time of the next entry.
func stamp(t *testing.T, p *proposer, s *testSource) int64 {
	t.Helper()
	s.item = fsm.AppendRemove(nil, "nobody")
	f, _ := p.next()
	if f == nil {
		t.Fatal("no entry")
	}
	p.flights = nil
	var e fsm.Entry
	if err := fsm.DecodeEntry(f.data, &e); err != nil {
		t.Fatal(err)
	}
	return e.Time
}

// The leader's clock starts at the machine's time.
func ruleClockStartsAtTheMachines(t *testing.T, e *ensemble) {
	p, s := newTestProposer(e.clock, 1, 0)
	p.start(5_000_000, 1)
	e.clock.freeze(250 * time.Millisecond)
	if ms := stamp(t, p, s); ms != 5_000_250 {
		t.Error("the first entry is of", ms)
	}
}

// ... and again after a restore.
func ruleClockStartsAnewAfterARestore(t *testing.T, e *ensemble) {
	p, s := newTestProposer(e.clock, 1, 0)
	p.start(1000, 1)
	p.restart(5_000_000)
	e.clock.freeze(250 * time.Millisecond)
	if ms := stamp(t, p, s); ms != 5_000_250 {
		t.Error("the entry after a restore is of", ms)
	}
}

// The first entry of a new term gives every node a session-timeout: its
// keepalives could reach nobody.
func ruleTermGivesNodesTime(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	c := a.h.connect()
	a.do(c, lock("k"))
	a.mute = true // the leader hangs, and is replaced
	e.ms += 9900
	e.newTerm()
	e.commit()
	b.hear()
	e.ms += 500
	a.mute = false
	e.commit()
	b.hear()
	wants(t, "what a living node holds", b.asks(isLocked("k")), 1)
	wants(t, "its count", a.do(c, count("k")), 1)
}

// ... and sessions the time that has passed without a leader.
func ruleTermGivesSessionsTime(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	attach := fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 5000}
	c := a.h.connect()
	a.do(c, attach)
	a.do(c, fsm.Op{Code: fsm.OpLock, Key: []byte("k"), Owner: []byte("o")})
	a.end(c)
	e.settle()
	e.newTerm()
	e.ms += 8000
	e.commit()
	b.hear()
	wants(t, "what the session holds", b.asks(isLocked("k")), 1)
	e.ms += 6000
	e.commit()
	e.settle()
	wants(t, "what it holds after its TTL", b.asks(isLocked("k")), 0)
}

// A fast answer renews nothing.
func ruleFastAnswerDoesNotRenew(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	c := a.h.connect()
	a.do(c, lock("k"))
	for range 2 {
		a.send(c, count("k"))
		e.commit(a.drawn())
		e.clock.freeze(4900 * time.Millisecond)
		b.hear()
		a.fast([]fsm.Reply{{Conn: c.id, Seq: c.seq, Int: 1}}, 10*time.Second)
	}
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("fast answers vouch for a node whose own loop stands still")
	}
}

// ... but who was told something must be vouched for.
func ruleFastAnswerIsVouchedFor(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	ch := a.send(c, lock("k"))
	e.commit(a.drawn())
	a.fast([]fsm.Reply{{Conn: c.id, Seq: c.seq, Int: 1}}, 10*time.Second)
	e.got(ch)
	e.clock.freeze(10 * time.Second)
	if a.within(&a.vouch.fresh, ErrSilent) == nil {
		t.Error("it serves for ever")
	}
}

// A node that installs a snapshot compares its connections with it: what was
// answered in what it skipped is UNCERTAIN.
func ruleInstallCompares(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, waiter := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	ch := a.send(waiter, lock("k"))
	e.settle()
	a.deaf = true
	b.do(holder, unlock("k"))
	a.install(b)
	e.silent("who waits for an answer that was skipped", ch, true)
}

// Waits that are still there go on.
func ruleWaitsGoOnAfterAnInstall(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder, waiter := b.h.connect(), a.h.connect()
	b.do(holder, lock("k"))
	ch := a.send(waiter, lock("k"))
	e.settle()
	a.deaf = true
	b.do(holder, lock("other"))
	a.install(b)
	a.deaf = false
	pending(t, "the wait", ch)
	b.do(holder, unlock("k"))
	if r := e.got(ch); r.Int != 3 {
		t.Error(r)
	}
}

// Fences go on where they were, whatever is held.
func ruleFencesGoOnAfterAnInstall(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	c := b.h.connect()
	for range 3 {
		b.do(c, lock("k"))
		b.do(c, unlock("k"))
	}
	a.install(b)
	if r := a.asks(lock("k")); r.Int != 4 {
		t.Errorf("the fence after 3 is %d", r.Int)
	}
}

// withID is a LOCK that may be retried.
func withID(key, id string) fsm.Op {
	return fsm.Op{Code: fsm.OpLock, Key: []byte(key), Owner: []byte("o"), ID: []byte(id)}
}

// A retry with the same ID is the same request.
func ruleRetryIsTheSame(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	op := withID("k", "i")
	first := a.do(c, op)
	again := a.do(c, op)
	if again.Int != first.Int || again.Code != fsm.CodeOK {
		t.Errorf("%+v and %+v", first, again)
	}
	q := count("k")
	q.Owner = op.Owner
	wants(t, "count", a.do(c, q), 1)
}

// An ID is kept for two session-timeouts after its owner has let go.
func ruleIDOutlivesItsHold(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, withID("k", "i"))
	op := fsm.Op{Code: fsm.OpUnlock, Key: []byte("k"), Owner: []byte("o"), ID: []byte("u")}
	wants(t, "UNLOCK", a.do(c, op), 0)
	e.pass(19 * time.Second)
	wants(t, "UNLOCK again", a.do(c, op), 0)
	e.pass(21 * time.Second)
	if r := a.do(c, op); r.Code != fsm.CodeNotOwner {
		t.Errorf("UNLOCK after the ID was forgotten: %+v", r)
	}
}

// A retry whose grant has ended since answers LOCKLOST.
func ruleRetryOfALostGrant(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	op := withID("k", "i")
	op.Lease = 1000
	a.do(c, op)
	e.pass(2 * time.Second)
	if r := a.do(c, op); r.Code != fsm.CodeLockLost {
		t.Errorf("%+v", r)
	}
}

// A lost hold is told, once.
func ruleNotice(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	op := lock("k")
	op.Lease = 1000
	a.do(c, op)
	e.pass(2 * time.Second)
	if r := a.do(c, unlock("k")); r.Code != fsm.CodeLockLost {
		t.Errorf("%+v", r)
	}
	if r := a.do(c, unlock("k")); r.Code != fsm.CodeNotOwner {
		t.Errorf("told again: %+v", r)
	}
}

// All that Apply depends on is in the state.
func ruleSettingsAreState(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	b.asks(lock("k"))
	b.m.Flush() // the defaults have been written
	set := fsm.Op{Code: fsm.OpConfigSet, Name: []byte(fsm.SettingAcquireLimit), Value: []byte("1")}
	wants(t, "CONFIG SET", b.asks(set), 0)
	written := false
	for _, w := range b.m.Flush().Writes {
		written = written || bytes.Contains(w.Value, []byte(fsm.SettingAcquireLimit))
	}
	if !written {
		t.Error("the setting was not written")
	}
	a.install(b)
	if got := a.m.Settings().AcquireLimit; got != "1" {
		t.Errorf("the limit on another node is %s", got)
	}
}

// Sessions that are due together end together: none is granted what another one
// leaves, and the first living waiter gets it.
func ruleTogether(t *testing.T, e *ensemble) {
	a, b, x := e.players[0], e.players[1], e.players[2]
	attach := func(name string) fsm.Op {
		return fsm.Op{Code: fsm.OpSessionAttach, Name: []byte(name), Lease: 10_000, Flags: fsm.FlagHeartbeat}
	}
	holder, waiter := a.h.connect(), b.h.connect()
	a.do(holder, attach("s1"))
	b.do(waiter, attach("s2"))
	fence := a.do(holder, withID("k", "i")).Int
	op := withID("k", "i")
	op.Flags = fsm.FlagAsync // it stands in line and does not speak
	b.do(waiter, op)
	ch := x.send(x.h.connect(), lock("k"))
	e.pass(19 * time.Second) // TTL and session-timeout
	pending(t, "the third", ch)
	e.pass(2 * time.Second)
	if r := e.got(ch); r.Int != fence+1 {
		t.Errorf("the fence after %d is %d: somebody had the lock between", fence, r.Int)
	}
}

// The entry that frees a lock carries the grant to the next one.
func ruleHandOverTells(t *testing.T, e *ensemble) {
	a, b := e.players[0], e.players[1]
	holder := b.h.connect()
	b.do(holder, lock("k"))
	ch := a.send(a.h.connect(), lock("k"))
	e.settle()
	b.do(holder, unlock("k"))
	if r := e.got(ch); r.Int != 2 {
		t.Error(r)
	}
}

// A fence is given once, also where one entry grants a key twice.
func ruleTwoGrantsInOneEntry(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	first := a.send(c, lock("k"))
	a.send(c, unlock("k"))
	second := a.send(c, lock("k"))
	e.settle()
	if x, y := e.got(first), e.got(second); y.Int != x.Int+1 {
		t.Errorf("fences %d and %d", x.Int, y.Int)
	}
}

// A free lock costs nothing.
func ruleFreeLockCostsNothing(t *testing.T, e *ensemble) {
	a := e.players[0]
	c := a.h.connect()
	a.do(c, lock("k"))
	a.do(c, unlock("k"))
	a.m.Flush()
	for r := range a.m.Records {
		if bytes.Contains(r.Key, []byte("k")) {
			t.Errorf("a record %q is left", r.Key)
		}
	}
	if err := a.m.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
