package cluster

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// bench is an agent whose goroutine does not run: the test draws, applies to a
// machine of its own, and moves the clock.
type bench struct {
	*agent
	t     *testing.T
	h     *testHost
	clock *testClock
	m     *fsm.Machine
	index uint64
	woken int
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, h: newTestHost(), clock: &testClock{start: time.Now(), still: true}, m: fsm.New()}
	b.agent = newAgent(agentOptions{
		node: "n1", host: b.h, clock: b.clock, log: quiet(), rand: seeded(),
		requestTimeout: 5 * time.Second, batchBytes: 1 << 16,
		wake: func() { b.woken++ }, fatal: func(err error) { t.Error(err) },
		setting: b.m.Setting,
	})
	b.timeout = 10 * time.Second
	b.mu.Lock()
	b.register()
	b.mu.Unlock()
	return b
}

// drawn returns what the agent wants to be sent now.
func (b *bench) drawn() *round {
	r := &round{limit: 1 << 20}
	b.draw(r)
	for i := range r.items {
		r.items[i] = bytes.Clone(r.items[i])
	}
	return r
}

// apply puts what was drawn into one entry, through the machine, and back.
func (b *bench) apply(ms int64, rs ...*round) *fsm.Effects {
	b.t.Helper()
	b.index++
	e := &fsm.Entry{Index: b.index, Term: 1, Time: ms}
	for _, r := range rs {
		e.Keepalives = append(e.Keepalives, r.keepalives...)
		for _, item := range r.items {
			it, err := fsm.DecodeItem(item)
			if err != nil {
				b.t.Fatal(err)
			}
			e.Items = append(e.Items, it)
		}
	}
	eff := b.m.Apply(e)
	b.before(eff, time.Duration(b.m.Settings().SessionTimeout)*time.Millisecond)
	b.h.Deliver(eff)
	b.after(eff)
	return eff
}

// serve registers, and opens one connection.
func (b *bench) serve() *testConn {
	b.t.Helper()
	b.apply(0, b.drawn())
	if b.phase != phaseServing || b.h.inc == 0 {
		b.t.Fatal("not registered")
	}
	c := b.h.connect()
	b.send(c, fsm.Op{Code: fsm.OpSessionID})
	b.apply(0, b.drawn())
	return c
}

func (b *bench) send(c *testConn, op fsm.Op) chan fsm.Reply {
	ops, ch := c.ops(op)
	b.propose(ops)
	return ch
}

// turn does what the agent's goroutine would do now.
func (b *bench) turn() time.Duration {
	b.endSilent()
	b.prepareKeepalive()
	b.expireRequests()
	return b.plan()
}

func TestBatchIsSentAgainUnchanged(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	b.send(c, lock("a"))
	first := b.drawn()
	if len(first.items) != 1 {
		t.Fatal("nothing drawn")
	}
	if b.ready() || len(b.drawn().items) != 0 {
		t.Fatal("drawn twice")
	}
	b.send(c, lock("b"))
	b.resend()
	again := b.drawn()
	if len(again.items) != 2 || !bytes.Equal(again.items[0], first.items[0]) {
		t.Fatal("the batch has changed, or the next one did not follow it")
	}
	eff := b.apply(1, first, again)
	if got := len(eff.Replies); got != 2 || eff.Batches[1].Status != fsm.BatchRepeated {
		t.Fatalf("%d replies, batches %+v", got, eff.Batches)
	}
	b.resend()
	if b.ready() {
		t.Fatal("an applied batch is sent again")
	}
}

func TestOverdueBatchIsDue(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	b.turn()
	b.drawn() // the keepalive of the first connection
	b.send(c, lock("a"))
	b.drawn()
	b.clock.freeze(overdueAfter - time.Millisecond)
	if b.turn(); b.ready() {
		t.Fatal("sent again too early")
	}
	b.clock.freeze(time.Millisecond)
	if b.turn(); !b.ready() {
		t.Fatal("an overdue batch is not sent again")
	}
}

func TestFailedAnswerIsRetried(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	b.send(c, lock("a"))
	b.drawn()
	b.failed(&ProposeError{Outcome: Unknown, Err: errors.New("x")})
	if wait := b.turn(); wait > retryAfter {
		t.Fatalf("asleep for %v", wait)
	}
	b.clock.freeze(retryAfter)
	b.turn()
	if r := b.drawn(); len(r.items) != 1 {
		t.Fatal("not sent again")
	}
}

func TestTwoBatchesAtMost(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	var rs []*round
	for range 3 {
		b.send(c, lock("a"))
		rs = append(rs, b.drawn())
	}
	if len(rs[0].items) != 1 || len(rs[1].items) != 1 || len(rs[2].items) != 0 {
		t.Fatal("more than two, or fewer")
	}
	// The second one overtakes the first.
	if eff := b.apply(1, rs[1]); eff.Batches[0].Status != fsm.BatchEarly || len(eff.Replies) != 0 {
		t.Fatalf("batches %+v", eff.Batches)
	}
	both := b.drawn()
	if len(both.items) != 2 {
		t.Fatalf("%d batches are sent again", len(both.items))
	}
	eff := b.apply(2, both)
	if len(eff.Replies) != 2 {
		t.Fatalf("%d replies", len(eff.Replies))
	}
	if eff := b.apply(3, b.drawn()); len(eff.Replies) != 1 {
		t.Fatal("the third did not follow")
	}
}

// A machine that has gone back finds each batch too early, the first of all too: that
// is not sent again at once, and again, an entry each time, but ends the process.
func TestStateThatWentBackIsFatal(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	old, index := fsm.New(), b.index
	records := slices.Collect(b.m.Records)
	b.send(c, lock("a"))
	b.apply(1, b.drawn())
	if err := old.Load(slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	b.m, b.index = old, index
	var fatal error
	b.fatal = func(err error) { fatal = err }
	b.send(c, lock("b"))
	eff := b.apply(2, b.drawn())
	if len(eff.Batches) != 1 || eff.Batches[0].Status != fsm.BatchEarly {
		t.Fatalf("batches %+v: the test tests nothing", eff.Batches)
	}
	if !errors.Is(fatal, errGoneBack) || b.h.inc != 0 {
		t.Errorf("the node serves on: %v", fatal)
	}
	for range 3 { // a new incarnation, at most
		if r := b.drawn(); !r.empty() {
			b.apply(2, r)
		}
	}
	if b.counts.resent != 0 {
		t.Errorf("sent again %d times", b.counts.resent)
	}
}

func TestBatchIsBounded(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.batchBytes = 10 * opSize(&fsm.Op{Key: []byte("key-0")})
	c := b.h.connect()
	for range 24 {
		b.send(c, lock("key-0")) // led by the OpOpen, which is longer
	}
	var replies []int
	for range 3 {
		replies = append(replies, len(b.apply(1, b.drawn()).Replies))
	}
	if !slices.Equal(replies, []int{9, 10, 6}) {
		t.Fatalf("batches of %v", replies)
	}
}

// A keepalive counts from when it was sent, however late it is applied.
func TestKeepaliveCountsFromSent(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.turn()
	r := b.drawn()
	if len(r.keepalives) != 1 || r.keepalives[0].Number != 1 {
		t.Fatalf("keepalives %+v: the first one goes at once", r.keepalives)
	}
	sent := b.clock.Boot()
	b.clock.freeze(8 * time.Second)
	if (&Node{agent: b.agent}).Half() == nil {
		t.Fatal("half of session-timeout has passed")
	}
	b.apply(100, r)
	if got := time.Duration(b.vouch.fresh.Load()); got != sent+9500*time.Millisecond {
		t.Fatalf("fresh until %v, sent %v", got, sent)
	}
	n := &Node{agent: b.agent}
	b.clock.freeze(1499 * time.Millisecond)
	if err := n.Fresh(); err != nil {
		t.Fatal(err)
	}
	b.clock.freeze(2 * time.Millisecond)
	if !errors.Is(n.Fresh(), ErrSilent) {
		t.Fatal("still fresh")
	}
	b.turn()
	if !errors.Is(n.Fresh(), ErrNotServing) || !strings.Contains(b.h.log[len(b.h.log)-1], "end 1") {
		t.Fatal("the incarnation goes on:", b.h.log)
	}
}

// What was vouched for ends at its time also when the entry that is applied next
// carries replies: they must not be delivered.
func TestSilenceComesBeforeReplies(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	ch := b.send(c, lock("a"))
	r := b.drawn()
	b.clock.freeze(time.Minute)
	b.apply(1, r)
	if r, ok := <-ch; ok {
		t.Fatalf("a reply: %+v", r)
	}
}

func TestKeepaliveTimes(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	var sent []time.Duration
	start := b.clock.Boot()
	for range 200 {
		b.turn()
		if r := b.drawn(); len(r.keepalives) > 0 {
			sent = append(sent, b.clock.Boot()-start)
			b.apply(1, r)
		}
		b.clock.freeze(100 * time.Millisecond)
	}
	if len(sent) != 6 || sent[0] != 0 || sent[5] != 17*time.Second {
		t.Fatalf("keepalives at %v", sent)
	}
	b.propose([]*fsm.Op{{Conn: c.id, Code: fsm.OpEnd}})
	b.apply(2, b.drawn())
	b.clock.freeze(time.Hour)
	b.turn()
	if r := b.drawn(); len(r.keepalives) > 0 || b.phase != phaseServing || (&Node{agent: b.agent}).Fresh() != nil {
		t.Fatal("a node without sessions sends a keepalive, or ends by silence")
	}
}

// Contacts are reported until a keepalive with them has counted.
func TestContactsSurviveALostKeepalive(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.h.contacts = []fsm.SessionID{7, 8}
	b.turn()
	lost := b.drawn()
	b.h.contacts = []fsm.SessionID{9, 7}
	b.failed(&ProposeError{Outcome: NotProposed, Err: errors.New("x")})
	b.clock.freeze(retryAfter)
	b.turn()
	b.turn()
	r := b.drawn()
	if len(lost.keepalives) != 1 || len(r.keepalives) != 1 || r.keepalives[0].Number != 2 || !slices.Equal(r.keepalives[0].Contacts, []fsm.SessionID{7, 8, 9}) {
		t.Fatalf("keepalives %+v, then %+v", lost.keepalives, r.keepalives)
	}
	b.apply(1, r)
	b.clock.freeze(4 * time.Second)
	b.turn()
	if r = b.drawn(); len(r.keepalives) != 1 || len(r.keepalives[0].Contacts) != 0 {
		t.Fatalf("keepalives %+v", r.keepalives)
	}
}

// A shorter session-timeout counts at once, a longer one from the next keepalive.
func TestSessionTimeoutChanges(t *testing.T) {
	b := newBench(t)
	b.serve()
	from := b.vouch.from
	for _, c := range []struct{ set, want time.Duration }{{60 * time.Second, 9500 * time.Millisecond}, {4 * time.Second, 3800 * time.Millisecond}, {10 * time.Second, 3800 * time.Millisecond}} {
		b.before(&fsm.Effects{}, c.set)
		if got := time.Duration(b.vouch.fresh.Load()) - from; got != c.want {
			t.Fatalf("session-timeout %v: fresh for %v", c.set, got)
		}
	}
}

func TestRegistration(t *testing.T) {
	b := newBench(t)
	stale := b.drawn()
	b.resend()
	again := b.drawn()
	if len(again.items) != 1 || !bytes.Equal(stale.items[0], again.items[0]) {
		t.Fatal("not sent again as it was")
	}
	// Another life of this node registered first.
	b.m.Apply(&fsm.Entry{Index: 1, Term: 1, Items: []fsm.Item{{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "n1", Nonce: fsm.Nonce{9}}}}})
	b.index = 1
	b.apply(1, stale, again)
	if b.phase != phaseRegistering || b.reg.replaces != 1 {
		t.Fatalf("phase %d, replaces %d", b.phase, b.reg.replaces)
	}
	next := b.drawn()
	if bytes.Equal(next.items[0], stale.items[0]) {
		t.Fatal("the same nonce again")
	}
	b.apply(2, next)
	if b.inc != 2 || b.h.inc != 2 {
		t.Fatalf("incarnation %d", b.inc)
	}
	b.apply(3, next)
	if len(b.h.log) != 1 {
		t.Fatal("a repeated registration began again:", b.h.log)
	}
}

// A registration that is refused because of the disk is not sent again at once: what
// the cluster knows of the node does not change by that, and each try is an entry.
func TestRegistrationOnAnotherDisk(t *testing.T) {
	b := newBench(t)
	b.disk = "new"
	b.register()
	b.m.Apply(&fsm.Entry{Index: 1, Term: 1, Items: []fsm.Item{{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "n1", Nonce: fsm.Nonce{9}, Disk: "old"}}}})
	b.index = 1
	for range 3 {
		b.apply(1, b.drawn())
		if b.turn(); b.phase != phaseRegistering || b.ready() {
			t.Fatalf("phase %d, to be sent again: %v", b.phase, b.ready())
		}
		b.clock.freeze(overdueAfter)
		if b.turn(); !b.ready() {
			t.Fatal("never sent again")
		}
	}
}

// An incarnation that the machine has ended is over whichever way that is told.
func TestEnded(t *testing.T) {
	for name, eff := range map[string]*fsm.Effects{
		"ended":     {Ended: []fsm.Incarnation{1}},
		"batch":     {Batches: []fsm.BatchResult{{Incarnation: 1, Number: 1, Status: fsm.BatchEnded}}},
		"keepalive": {Keepalives: []fsm.KeepaliveResult{{Incarnation: 1, Number: 1, Ended: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.serve()
			b.send(c, lock("a"))
			b.before(&fsm.Effects{Ended: []fsm.Incarnation{77}, Batches: []fsm.BatchResult{{Incarnation: 77, Status: fsm.BatchEnded}}}, b.timeout)
			if b.phase != phaseServing {
				t.Fatal("ended by another's end")
			}
			b.before(eff, b.timeout)
			if b.phase != phaseRegistering || b.reg.replaces != 1 || !strings.Contains(b.h.log[len(b.h.log)-1], "end 1") {
				t.Fatal(b.phase, b.h.log)
			}
			b.propose([]*fsm.Op{{Conn: c.id, Seq: 9, Code: fsm.OpFence}})
			b.apply(5, b.drawn())
			if len(b.h.log) < 2 || b.h.log[len(b.h.log)-1] != "begin 2" || len(b.queue.ops) != 0 || b.ready() {
				t.Fatal("ops of the old incarnation live on:", b.h.log)
			}
		})
	}
}

// A snapshot that knows this node under another incarnation, or as ended, ends it.
func TestInstalledStateEndsTheIncarnation(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.installed(fsm.NodeInfo{Name: "n1", Incarnation: 5}, 10*time.Second, b.m.Conn)
	if b.phase != phaseRegistering || b.reg.replaces != 5 {
		t.Fatal(b.phase, b.reg.replaces)
	}
}

// A connection that comes before the last one has gone gets no new time: the
// machine grants none either.
func TestOverlapGrantsNoTime(t *testing.T) {
	b := newBench(t)
	c := b.serve()
	from := b.vouch.from
	b.clock.freeze(3 * time.Second)
	d := b.h.connect()
	b.send(d, lock("a"))
	b.propose([]*fsm.Op{{Conn: c.id, Code: fsm.OpEnd}})
	b.apply(3000, b.drawn())
	if b.vouch.from != from {
		t.Fatal("the time started anew")
	}
	b.propose([]*fsm.Op{{Conn: d.id, Code: fsm.OpEnd}})
	b.apply(3000, b.drawn())
	if b.vouch.running {
		t.Fatal("still running without a connection")
	}
	b.send(b.h.connect(), lock("a"))
	sent := b.clock.Boot()
	r := b.drawn()
	b.clock.freeze(time.Second)
	b.apply(3000, r)
	if !b.vouch.running || b.vouch.from != sent {
		t.Fatalf("from %v, sent %v", b.vouch.from, sent)
	}
}
