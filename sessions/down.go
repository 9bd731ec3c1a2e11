package sessions

import (
	"fmt"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// Down takes back ops that waited longer than request-timeout in the cluster's
// queue and were never sent: their clients get CLUSTERDOWN, nothing was done.
//
// The ops leave a hole in their connection's numbers. Numbers are never reused
// for an op that was *sent*: a copy of it could still be applied, or its reply
// arrive, and be taken for the other op. Of an op that never left this node no
// copy exists anywhere, so its number is given again, and must be, since the
// machine will not go on without it. Ops of the same connection that fly behind
// the hole are refused for as long as it is not filled; until each has come back
// nothing more is proposed, and then all get new numbers.
//
// What is taken out is answered only in its turn. An op behind one that the
// client still waits for is held and proposed again after that one's reply, like
// a refused op: a request's time begins when its turn has come. Silent ops (the
// opening, an attachment that the name asked for) stay, since those behind rely
// on them, and go out with the next op or when the next entry is applied, as do
// ends of connections: at once would be in a circle while there is no leader.
// err (not nil) says what is wrong with the cluster.
func (t *Table) Down(ops []*fsm.Op, err error) {
	t.answering.Lock()
	defer t.answering.Unlock()
	var (
		work  trouble
		stale error
	)
	for _, op := range ops {
		if op.Code == fsm.OpEnd {
			t.resumeEnd(op)
			continue
		}
		c := t.Find(op.Conn)
		if c == nil || stale != nil {
			continue
		}
		if len(work.conns) == 0 {
			if stale = t.node().Fresh(); stale != nil {
				continue
			}
		}
		c.mu.Lock()
		if c.takeDown(op) {
			work.add(c)
		}
		c.mu.Unlock()
	}
	if stale != nil {
		t.stale(stale)
		return
	}
	for _, c := range work.conns {
		c.mu.Lock()
		answered := c.giveUp(err)
		if c.turnHeld() {
			c.again()
		}
		if c.held > 0 && !c.later {
			c.later = true
			t.resumeConn(c)
		}
		c.mu.Unlock()
		if answered {
			work.flush = append(work.flush, c.out)
		}
	}
	work.finish(t)
}

// trouble collects what Down and Uncertain touch; both are rare.
type trouble struct {
	conns   []*Conn
	known   map[*Conn]bool
	flush   []Answerer
	closing []closing
}

func (w *trouble) add(c *Conn) {
	if w.known == nil {
		w.known = make(map[*Conn]bool)
	}
	if !w.known[c] {
		w.known[c] = true
		w.conns = append(w.conns, c)
	}
}

func (w *trouble) finish(t *Table) {
	if len(w.flush) > 0 {
		t.flushAll(w.flush)
	}
	for _, x := range w.closing {
		x.c.out.Close(x.why)
	}
}

// takeDown marks the slot of an op that the cluster took out of its queue.
func (c *Conn) takeDown(op *fsm.Op) bool {
	if c.done {
		return false
	}
	i := c.find(op.Seq)
	if i < 0 || &c.ring.at(i).op != op {
		return false
	}
	c.ring.at(i).down = true
	return true
}

// giveUp answers the slots marked down whose turn it is, and holds the others.
func (c *Conn) giveUp(err error) (answered bool) {
	if c.done {
		return false
	}
	r := fsm.Reply{
		Conn: fsm.ConnID(c.id.Load()), Code: fsm.CodeClusterDown, Detail: &fsm.Detail{Text: err.Error()},
	}
	kept, open := 0, false // open: an earlier reply is still to come
	for i := range c.ring.n {
		s := c.ring.at(i)
		switch {
		case s.down && s.op.Code == fsm.OpDescribe && s.silent:
			c.dirty, c.renamed = true, false // goes with the next op; else each SETNAME would pile up here
			c.describing--
			c.drop(s)
			continue
		case s.down && !s.silent && !open:
			r.Seq = s.op.Seq
			c.learn(s, &r)
			c.answer(s, &r)
			answered = true
			wanted := s.wish == c.wish.gen && s.was == wishWanted && s.chose()
			c.drop(s)
			if !wanted {
				continue
			}
			// It stood where the name's attachment would have gone. What is behind
			// must not act without a session now: the attachment takes its place.
			s = c.attachment()
			c.held++
		case s.down:
			s.down = false
			c.hold(s)
		case s.flying && !s.lost && kept < i && !canary.SeqReused: // behind the hole; canary: its number is given again at once
			s.lost = true
			c.lost++
		}
		open = open || !s.silent
		c.ring.set(kept, s)
		kept++
	}
	c.ring.cut(kept)
	return answered
}

// turnHeld reports whether the oldest op that the client waits for is held: then
// nobody else will propose it.
func (c *Conn) turnHeld() bool {
	for i := range c.ring.n {
		if s := c.ring.at(i); !s.silent {
			return !s.flying
		}
	}
	return false
}

// drop recycles a slot that was taken out.
func (c *Conn) drop(s *slot) {
	if s.lost {
		c.lost--
	}
	s.recycle()
}

// Uncertain tells the clients of a sent batch that the cluster can not say
// whether their ops were done: the oldest open op gets UNCERTAIN, and the
// connection is closed. Ops that are no longer open are passed over. err (not
// nil) says why it can not be told.
func (t *Table) Uncertain(ops []fsm.Address, err error) {
	t.answering.Lock()
	defer t.answering.Unlock()
	var work trouble
	for _, a := range ops {
		c := t.Find(a.Conn)
		if c == nil {
			continue
		}
		if len(work.closing) == 0 {
			if stale := t.node().Fresh(); stale != nil {
				t.stale(stale)
				return
			}
		}
		c.mu.Lock()
		if !c.done && c.find(a.Seq) >= 0 {
			r := fsm.Reply{Code: fsm.CodeUncertain, Detail: &fsm.Detail{Text: err.Error()}}
			if canary.LocalTimeout { // this node says for itself that nothing was done
				r.Code = fsm.CodeClusterDown
			}
			if c.answerOpen(r, 1) {
				work.flush = append(work.flush, c.out)
			}
			c.shut()
			work.closing = append(work.closing, closing{c, fmt.Errorf("%w: %w", ErrUncertain, err)})
		}
		c.mu.Unlock()
	}
	work.finish(t)
}
