package sessions

import (
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// window is how many ops from the oldest on are proposed again at a time. The
// refused ops behind a wait may wait themselves; without a bound a pipeline of n
// waiting LOCKs would cost n*n/2 proposals.
const window = 64

// keptOps bounds the scratch that a connection keeps between bursts.
const keptOps = 64

// Flush sends what Do and Silent gathered. Without an incarnation the ops are
// answered CLUSTERDOWN here and now.
func (c *Conn) Flush() {
	if len(c.gathered) == 0 {
		return
	}
	c.mu.Lock()
	answered := c.submit()
	c.mu.Unlock()
	if answered {
		c.out.Flush()
	}
}

// submit numbers and proposes the gathered ops, with the lock held; true: it
// answered them.
func (c *Conn) submit() (answered bool) {
	switch id, err := c.ID(); {
	case c.done:
		for _, s := range c.gathered {
			if !s.silent {
				c.outstanding.Add(-1)
			}
			s.recycle()
		}
	case err != nil:
		// Only a connection without a number comes here: it has no open slot whose
		// reply would have to come first.
		answered = c.refuse(err)
	default:
		if c.anonymous == 0 && !c.opened {
			c.anonymous = id.Session()
		}
		for _, s := range c.gathered {
			c.put(s)
		}
		c.again() // what Down left here goes along
		c.propose()
	}
	clear(c.gathered)
	if c.gathered = c.gathered[:0]; cap(c.gathered) > keptOps {
		c.gathered = nil
	}
	return answered
}

// refuse answers the gathered ops CLUSTERDOWN.
func (c *Conn) refuse(err error) (answered bool) {
	r := fsm.Reply{Code: fsm.CodeClusterDown, Detail: &fsm.Detail{Text: err.Error()}}
	for _, s := range c.gathered {
		if !s.silent {
			c.answer(s, &r)
			answered = true
		}
		s.recycle()
	}
	return answered
}

// answer hands a reply to the client. The count falls first, so that whom the
// reply wakes finds it right.
func (c *Conn) answer(s *slot, r *fsm.Reply) {
	c.outstanding.Add(-1)
	c.out.Answer(&s.op, s.tag, r)
}

// put lines up an op behind the open ones, and in front of it what the machine
// must be told first.
func (c *Conn) put(s *slot) {
	if !c.opened {
		c.opened, c.dirty = true, false
		c.t.live.Add(1)
		c.line(newSlot(&fsm.Op{Code: fsm.OpOpen, Name: []byte(c.name), Value: []byte(c.addr)}, nil, true))
	}
	if c.dirty {
		c.describe()
	}
	c.heed(s)
	c.line(s)
}

// describe tells the machine the client name.
func (c *Conn) describe() {
	c.dirty = false
	c.describing++
	c.line(newSlot(&fsm.Op{Code: fsm.OpDescribe, Name: []byte(c.name)}, nil, true))
}

// line puts a slot at the end of the ring and lets it fly, unless the machine
// would surely refuse it.
func (c *Conn) line(s *slot) {
	c.ring.push(s)
	if c.held > 0 || c.lost > 0 || c.waits() {
		c.held++
		return
	}
	c.fly(s, c.ring.n-1)
}

// fly gives the slot at position i its number and hands it to the cluster with
// the next propose.
func (c *Conn) fly(s *slot, i int) {
	c.order++
	s.flying, s.order = true, c.order
	s.op.Conn, s.op.Seq = fsm.ConnID(c.id.Load()), c.base+uint64(i)
	c.ops = append(c.ops, &s.op)
}

// hold takes a slot back from the cluster.
func (c *Conn) hold(s *slot) {
	s.flying = false
	c.held++
	if s.lost {
		s.lost = false
		c.lost--
	}
}

// waits reports whether the oldest op is known to wait. It is when something
// that was proposed after it has come back refused: the machine takes proposals
// in order, so it has had the oldest op too and has neither answered nor refused
// it. (Being unanswered alone proves nothing: it may be on its way.)
func (c *Conn) waits() bool {
	if c.ring.n == 0 {
		return false
	}
	s := c.ring.at(0)
	return s.flying && !s.lost && s.order < c.seen
}

// again proposes refused ops again, in the order of their numbers, once the wait
// ahead of them is over. Example: op 2 waits, 3 is refused in the same batch, 4
// is in the next batch. If 2 is granted before that batch is applied, 3 is
// proposed again behind 4; 4 is refused since 3 has not come; then 4 is proposed
// again at once, behind 3: 3, although unanswered, was proposed after the 4 that
// was refused and so is not known to wait. If 3 does wait, 4 is refused once more
// and now stays until 3 is answered.
func (c *Conn) again() {
	if canary.RefusedForgotten { // a pipeline ends at its first wait
		return
	}
	if c.done {
		return
	}
	if c.renamed && c.describing == 0 {
		c.renamed = false
		if c.dirty {
			c.describe()
		}
	}
	if c.held > 0 && c.lost == 0 && !c.waits() {
		for i := range min(c.ring.n, window) {
			if s := c.ring.at(i); !s.flying {
				c.held--
				c.fly(s, i)
			}
		}
	}
	c.propose()
}

// propose hands over what fly collected. It must be called before the lock is
// released, so that ops reach the cluster in order.
func (c *Conn) propose() {
	if len(c.ops) == 0 {
		return
	}
	c.t.node().Propose(c.ops)
	clear(c.ops)
	if c.ops = c.ops[:0]; cap(c.ops) > keptOps {
		c.ops = nil
	}
}

// find returns the position of the flying slot with that number, or -1.
func (c *Conn) find(seq uint64) int {
	if c.lost == 0 {
		i := seq - c.base
		if seq >= c.base && i < uint64(c.ring.n) && c.ring.at(int(i)).flying {
			return int(i)
		}
		return -1
	}
	// Behind a hole the numbers do not follow from the positions; no two flying
	// slots share one, since nothing is proposed until the lost ones are back.
	for i := range c.ring.n {
		if s := c.ring.at(i); s.flying && s.op.Seq == seq {
			return i
		}
	}
	return -1
}
