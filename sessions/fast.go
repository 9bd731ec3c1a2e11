package sessions

import (
	"errors"
	"fmt"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// Fast takes replies that the leader sent ahead of this node's own apply loop.
// They fill open slots, each only if it is the oldest of its connection, and do
// nothing else: sessions are bound and connections are closed by Deliver alone,
// which passes over what was answered here. A reply that fits no slot (a copy,
// one of an incarnation that is over, one that overtook another) is dropped, for
// Deliver brings it again.
func (t *Table) Fast(replies []fsm.Reply) {
	t.answering.Lock()
	defer t.answering.Unlock()
	d := &t.delivery
	if !d.resolve(t, &fsm.Effects{Replies: replies}) {
		return
	}
	if err := t.node().Fresh(); err != nil && !canary.StaleGrant { // canary: what came before a pause is told after it
		d.reset()
		t.stale(err)
		return
	}
	d.round++
	for i, c := range d.conns {
		if c == nil {
			continue
		}
		c.mu.Lock()
		answered := c.settleFast(&replies[i])
		again := c.held > 0
		c.mu.Unlock()
		d.touch(c, answered, answered && again)
	}
	for _, c := range d.again {
		c.mu.Lock()
		c.again()
		c.mu.Unlock()
	}
	d.finish(t)
}

// settleFast answers the oldest open slot if the reply is for it.
func (c *Conn) settleFast(r *fsm.Reply) (answered bool) {
	if c.done || c.ring.n == 0 || r.Seq != c.base && !canary.FastOvertakes { // canary: a copy fills a slot that is not its own
		return false
	}
	s := c.ring.at(0)
	if !s.flying || s.lost {
		return false
	}
	switch s.op.Code {
	case fsm.OpLock, fsm.OpTryLock:
		// The end of an older session may still be on its way to us; it must not
		// make us forget this hold.
		if r.Code == fsm.CodeOK && r.Int != 0 {
			c.fastHold = r.Seq
		}
	case fsm.OpSessionAttach:
		c.holds = c.holds || r.Code == fsm.CodeOK // what the session holds, until the event says it
	case fsm.OpSessionDetach, fsm.OpSessionClose, fsm.OpReset:
		c.fastHold = 0
	default: // says nothing of holds
	}
	// It is the oldest open op, and flies: there is nothing that can not match.
	answered, _ = c.settle(r)
	return answered
}

// ErrInstalled is what a connection is closed with when an answer or an event of
// it lay in entries that this node skipped.
var ErrInstalled = errors.New("this node has taken over a newer state from another node, and an answer was lost with what it skipped")

// Installed compares the connections with a state that was taken over from
// another node. Waits that are still there go on, and so does what is not
// applied yet. A connection with another request, or whose session is gone, is
// answered UNCERTAIN and closed.
func (t *Table) Installed(look func(fsm.ConnID) fsm.Standing) {
	t.answering.Lock()
	defer t.answering.Unlock()
	var work trouble
	for c := range t.every() {
		id := fsm.ConnID(c.id.Load())
		if id == 0 {
			continue
		}
		s := look(id)
		c.mu.Lock()
		if c.standsFirm(s) {
			if c.attached != 0 && c.heartbeat != s.Heartbeat {
				c.heartbeat = s.Heartbeat
				heart := fsm.SessionID(0)
				if c.heartbeat {
					heart = c.attached
				}
				t.setHeart(c, heart)
			}
			c.mu.Unlock()
			continue
		}
		if t.node().Fresh() == nil {
			r := fsm.Reply{Code: fsm.CodeUncertain, Detail: &fsm.Detail{Text: ErrInstalled.Error()}}
			if c.answerOpen(r, 1) {
				work.flush = append(work.flush, c.out)
			}
		}
		c.shut()
		work.closing = append(work.closing, closing{c, fmt.Errorf("%w: %w", ErrUncertain, ErrInstalled)})
		c.mu.Unlock()
	}
	work.finish(t)
}

// standsFirm reports whether nothing of the connection can have been lost.
func (c *Conn) standsFirm(s fsm.Standing) bool {
	if canary.InstallBlind { // a connection whose answer lies in what was skipped waits for ever
		return true
	}
	if c.done || !c.opened || !s.Expected && !s.There {
		return true // never there, or still to come
	}
	if !s.There || c.attached != s.Session || s.Sent > s.Seq {
		return false // ended; or events or refusals were lost
	}
	// What is applied is answered, or waits, as far as we know: only the oldest
	// open op may be applied, and only if it still waits.
	return c.base > s.Seq || c.base == s.Seq && s.Waits == s.Seq
}
