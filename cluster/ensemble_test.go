package cluster

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// ensemble is a cluster whose wires and disks are the test's own hands: real
// agents, each with a host and a machine of its own, over a log that the test
// writes. No goroutine runs; what is lost, late, or comes twice, is up to the
// test. (`shared/model` does the same with an abstract redlockd.)
type ensemble struct {
	t       *testing.T
	clock   *testClock // everybody's, and it stands still
	ms      int64      // the leader's clock
	term    uint64
	log     []raft.Log // committed
	players []*player
}

// player is one node.
type player struct {
	*agent
	e     *ensemble
	h     *testHost
	m     *fsm.Machine
	heard int // entries of the log that its own loop has applied
	deaf  bool
	mute  bool
	dead  bool
	fatal error
}

// newEnsemble starts three nodes that serve.
func newEnsemble(t *testing.T) *ensemble {
	e := &ensemble{t: t, clock: &testClock{start: time.Now(), still: true}, term: 1}
	for _, name := range []string{"A", "B", "C"} {
		e.player(name)
	}
	e.settle()
	for _, p := range e.players {
		if p.phase != phaseServing {
			t.Fatal(p.node, "does not serve")
		}
	}
	return e
}

// player starts the process of a node, with nothing on its disk.
func (e *ensemble) player(name string) *player {
	p := &player{e: e, h: newTestHost(), m: fsm.New()}
	p.agent = newAgent(agentOptions{
		node: name, host: p.h, clock: e.clock, log: quiet(), rand: seeded(),
		requestTimeout: 5 * time.Second, batchBytes: 1 << 16,
		wake: func() {}, fatal: func(err error) { p.fatal = err }, setting: p.m.Setting,
	})
	p.m.Defer()
	for p.heard < len(e.log) { // what it finds on its disk
		p.step()
	}
	p.timeout = time.Duration(p.m.Settings().SessionTimeout) * time.Millisecond
	p.newest = p.m.NewestIncarnation(name)
	p.mu.Lock()
	p.register()
	p.mu.Unlock()
	e.players = append(e.players, p)
	return p
}

// step applies the next entry of the log.
func (p *player) step() *fsm.Effects {
	var entry fsm.Entry
	l := &p.e.log[p.heard]
	if err := fsm.DecodeEntry(bytes.Clone(l.Data), &entry); err != nil {
		p.e.t.Fatal(err)
	}
	p.heard++
	entry.Index, entry.Term = uint64(p.heard), l.Term
	eff := p.m.Apply(&entry)
	if p.phase == phaseIdle {
		return eff
	}
	p.before(eff, time.Duration(p.m.Settings().SessionTimeout)*time.Millisecond)
	p.h.Deliver(eff)
	p.after(eff)
	return eff
}

// hear lets the node's own loop catch up.
func (p *player) hear() {
	for p.heard < len(p.e.log) {
		p.step()
	}
}

// drawn returns what the node wants to be sent now; it stays as it is.
func (p *player) drawn() *round {
	r := &round{limit: 1 << 20}
	p.draw(r)
	for i := range r.items {
		r.items[i] = bytes.Clone(r.items[i])
	}
	return r
}

// turn does what the agent's goroutine would do now.
func (p *player) turn() {
	p.endSilent()
	p.prepareKeepalive()
	p.expireRequests()
	p.plan()
}

// send proposes an op.
func (p *player) send(c *testConn, op fsm.Op) chan fsm.Reply {
	ops, ch := c.ops(op)
	p.propose(ops)
	return ch
}

// end ends a connection.
func (p *player) end(c *testConn) { p.propose([]*fsm.Op{{Conn: c.id, Code: fsm.OpEnd}}) }

// do sends an op and returns its reply.
func (p *player) do(c *testConn, op fsm.Op) fsm.Reply {
	p.e.t.Helper()
	ch := p.send(c, op)
	p.e.settle()
	return p.e.got(ch)
}

// asks sends an op on a connection of its own.
func (p *player) asks(op fsm.Op) fsm.Reply {
	p.e.t.Helper()
	return p.do(p.h.connect(), op)
}

// got is the reply that has come.
func (e *ensemble) got(ch chan fsm.Reply) fsm.Reply {
	e.t.Helper()
	select {
	case r, ok := <-ch:
		if !ok {
			e.t.Fatal("the connection was closed in place of a reply")
		}
		return r
	default:
		e.t.Fatal("no reply")
	}
	panic("unreachable")
}

// silent wants of a channel that no reply has come; closed says whether the
// connection must have been closed.
func (e *ensemble) silent(what string, ch chan fsm.Reply, closed bool) {
	e.t.Helper()
	select {
	case r, ok := <-ch:
		if ok || !closed {
			e.t.Errorf("%s: told %+v, open: %v", what, r, ok)
		}
	default:
		if closed {
			e.t.Error(what, "is not closed")
		}
	}
}

// commit puts what was drawn into one entry. Nobody has heard it yet.
func (e *ensemble) commit(rs ...*round) {
	var keepalives []fsm.Keepalive
	var items [][]byte
	for _, r := range rs {
		keepalives = append(keepalives, r.keepalives...)
		items = append(items, r.items...)
	}
	e.log = append(e.log, raft.Log{Term: e.term, Data: fsm.AppendEntry(nil, e.ms, keepalives, items...)})
}

// settle lets everybody say and hear everything.
func (e *ensemble) settle() {
	for moved := true; moved; {
		moved = false
		for _, p := range e.players {
			if p.dead {
				continue
			}
			p.turn()
			if !p.mute {
				if r := p.drawn(); !r.empty() {
					e.commit(r)
					moved = true
				}
			}
			if !p.deaf && p.heard < len(e.log) {
				p.hear()
				moved = true
			}
		}
	}
}

// pass lets time go by, with a leader that writes.
func (e *ensemble) pass(d time.Duration) {
	for ; d > 0; d -= samplePeriod {
		e.clock.freeze(samplePeriod)
		e.ms += samplePeriod.Milliseconds()
		e.commit()
		e.settle()
	}
}

// newTerm is a change of leader.
func (e *ensemble) newTerm() { e.term++ }

// install gives the node the state of another one.
func (p *player) install(from *player) {
	p.e.t.Helper()
	from.m.Flush()
	if err := p.m.Load(func(yield func(fsm.Record) bool) { from.m.Records(yield) }); err != nil {
		p.e.t.Fatal(err)
	}
	p.heard = from.heard
	me, _ := p.m.Node(p.node)
	p.installed(me, time.Duration(p.m.Settings().SessionTimeout)*time.Millisecond, p.m.Conn)
}

// isLocked asks for a key.
func isLocked(key string) fsm.Op { return fsm.Op{Code: fsm.OpIsLocked, Key: []byte(key)} }

func count(key string) fsm.Op { return fsm.Op{Code: fsm.OpLockCount, Key: []byte(key)} }
