package sessions

import (
	"errors"
	"fmt"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// delivery is the scratch of Deliver; it keeps what it has grown to, up to
// keptDelivery.
type delivery struct {
	round   uint64 // counts Delivers; 0 is never used
	conns   []*Conn
	again   []*Conn
	flush   []Answerer
	closing []closing
}

const keptDelivery = 1 << 16

// closing is a connection to be closed after the answers went out.
type closing struct {
	c   *Conn
	why error
}

// Deliver brings the effects of one entry to the connections: replies in the
// order of each connection's ops, refused ops to be proposed again, and what
// else happened to their sessions. Effects of other incarnations, and of
// connections that are gone, are dropped. If the incarnation is no longer
// vouched for, nothing is answered and all connections are closed.
func (t *Table) Deliver(eff *fsm.Effects) {
	t.answering.Lock()
	defer t.answering.Unlock()
	if t.later.any.Load() {
		t.resume()
	}
	d := &t.delivery
	if !d.resolve(t, eff) {
		return
	}
	if err := t.node().Fresh(); err != nil && !canary.StaleGrant { // canary: what came before a pause is told after it
		d.reset()
		t.stale(err)
		return
	}
	d.round++
	replies := d.conns[:len(eff.Replies)]
	refused := d.conns[len(eff.Replies):][:len(eff.Refused)]
	events := d.conns[len(eff.Replies)+len(eff.Refused):]
	// Attachments first: where an entry brings both a grant and the end of a
	// session, the picture errs towards holding.
	for i, c := range events {
		if c != nil {
			c.attach(&eff.Events[i])
		}
	}
	d.replies(eff.Replies, replies)
	d.refused(eff.Refused, refused)
	for _, c := range d.again {
		c.mu.Lock()
		c.again()
		c.mu.Unlock()
	}
	for i, c := range events {
		if c != nil {
			d.end(&eff.Events[i], c)
		}
	}
	d.finish(t)
}

// resolve looks up the connections of everything in eff, one after the other:
// replies, refused, events; false: none is ours.
func (d *delivery) resolve(t *Table, eff *fsm.Effects) bool {
	d.conns = d.conns[:0]
	ours := false
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.inc == 0 {
		return false
	}
	look := func(id fsm.ConnID) {
		var c *Conn
		if id.Incarnation() == t.inc {
			if c = t.conns[id]; c != nil {
				ours = true
			}
		}
		d.conns = append(d.conns, c)
	}
	for i := range eff.Replies {
		look(eff.Replies[i].Conn)
	}
	for i := range eff.Refused {
		look(eff.Refused[i].Conn)
	}
	for i := range eff.Events {
		look(eff.Events[i].Conn)
	}
	return ours
}

// replies answers the ops.
func (d *delivery) replies(all []fsm.Reply, conns []*Conn) {
	for i := 0; i < len(conns); {
		c := conns[i]
		if c == nil {
			i++
			continue
		}
		answered := false
		var bug error
		c.mu.Lock()
		for ; i < len(conns) && conns[i] == c; i++ { // one lock for what comes together
			a, err := c.settle(&all[i])
			answered, bug = answered || a, errors.Join(bug, err)
		}
		again := c.held > 0 || c.renamed
		c.mu.Unlock()
		d.touch(c, answered, again)
		if bug != nil {
			d.bug(c, bug)
		}
	}
}

// settle answers the oldest open slot.
func (c *Conn) settle(r *fsm.Reply) (answered bool, bug error) {
	if c.done || r.Seq < c.base {
		if r.Seq == c.fastHold {
			c.fastHold, c.holds = 0, true
		}
		return false, nil // answered before: nothing else to do for the copy
	}
	if c.ring.n == 0 || r.Seq != c.base || !c.ring.at(0).flying || c.ring.at(0).lost {
		c.shut()
		return false, fmt.Errorf("reply to op %d while the oldest open op is %d", r.Seq, c.base)
	}
	s := c.ring.pop()
	c.base++
	c.learn(s, r)
	if !s.silent {
		c.answer(s, r)
		answered = true
	}
	s.recycle()
	return answered, nil
}

// refused takes back the ops that the machine did not apply.
func (d *delivery) refused(all []fsm.Address, conns []*Conn) {
	for i, c := range conns {
		if c == nil {
			continue
		}
		c.mu.Lock()
		bug := c.takeBack(all[i].Seq)
		c.mu.Unlock()
		d.touch(c, false, true)
		if bug != nil {
			d.bug(c, bug)
		}
	}
}

// takeBack holds a refused op.
func (c *Conn) takeBack(seq uint64) error {
	if c.done {
		return nil
	}
	i := c.find(seq)
	if i < 0 {
		base, n := c.base, c.ring.n
		c.shut()
		return fmt.Errorf("op %d refused, which is not with the cluster (%d open from %d on)", seq, n, base)
	}
	s := c.ring.at(i)
	c.seen = max(c.seen, s.order)
	c.hold(s)
	return nil
}

// attach notes that the connection's session changed.
func (c *Conn) attach(e *fsm.Event) {
	if e.Kind != fsm.EventAttached && e.Kind != fsm.EventDetached {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attached, c.heartbeat = e.Session, e.Heartbeat
	c.anonymous = 0
	if e.Kind == fsm.EventDetached {
		// It has a fresh anonymous session, or none until LOCK or TRYLOCK opens the
		// named one anew: nothing is held either way.
		// But for a lock whose grant was told ahead of this: it came later.
		c.attached, c.heartbeat, c.holds = 0, false, c.fastHold != 0
	}
	heart := fsm.SessionID(0)
	if c.heartbeat {
		heart = c.attached
	}
	c.t.setHeart(c, heart)
}

// end closes a connection that the machine has ended or does not know.
func (d *delivery) end(e *fsm.Event, c *Conn) {
	why := ErrKilled
	switch e.Kind {
	case fsm.EventClose:
	case fsm.EventUnknown:
		why = ErrUnknown
	case fsm.EventAttached, fsm.EventDetached:
		return
	}
	answered := false
	c.mu.Lock()
	if e.Kind == fsm.EventUnknown && !c.done {
		answered = c.answerOpen(fsm.Reply{Code: fsm.CodeNoSession, Detail: &fsm.Detail{Why: e.Why}}, c.ring.n)
	}
	first := c.shut()
	c.mu.Unlock()
	d.touch(c, answered, false)
	if first {
		d.closing = append(d.closing, closing{c, why})
	}
}

// answerOpen gives the same reply to the oldest n open ops that somebody waits for.
func (c *Conn) answerOpen(r fsm.Reply, n int) (answered bool) {
	r.Conn = fsm.ConnID(c.id.Load())
	for i := 0; i < c.ring.n && n > 0; i++ {
		if s := c.ring.at(i); !s.silent {
			r.Seq = c.base + uint64(i)
			c.answer(s, &r)
			answered = true
			n--
		}
	}
	return answered
}

// touch notes what must follow for c after all is answered, each once.
func (d *delivery) touch(c *Conn, answered, again bool) {
	if answered && c.answered != d.round {
		c.answered = d.round
		d.flush = append(d.flush, c.out)
	}
	if again && c.marked != d.round {
		c.marked = d.round
		d.again = append(d.again, c)
	}
}

// bug reports what must never be, and closes the connection: its client can not
// be told which request a later reply belongs to.
func (d *delivery) bug(c *Conn, what error) {
	c.t.log.Error("reply and request do not match: closing the connection; please report this",
		"connection", c.id.Load(), "address", c.addr, "error", what)
	d.closing = append(d.closing, closing{c, fmt.Errorf("%w: %w", ErrBug, what)})
}

// finish flushes and closes.
func (d *delivery) finish(t *Table) {
	if len(d.flush) > 0 {
		t.flushAll(d.flush)
	}
	for _, x := range d.closing {
		x.c.out.Close(x.why)
	}
	d.reset()
}

// reset forgets all connections, and scratch that one large entry grew.
func (d *delivery) reset() {
	clear(d.conns)
	clear(d.again)
	clear(d.flush)
	clear(d.closing)
	d.conns, d.again, d.flush, d.closing = d.conns[:0], d.again[:0], d.flush[:0], d.closing[:0]
	if cap(d.conns) > keptDelivery {
		*d = delivery{round: d.round}
	}
}

// stale closes everything: the node has been silent for too long, so nothing it
// says of its sessions may be believed. The cluster will end the incarnation.
func (t *Table) stale(err error) {
	t.log.Warn("no longer vouched for: closing all connections", "error", err)
	t.closeAll(err)
}
