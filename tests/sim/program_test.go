package sim

import (
	"fmt"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// keysFor is how many keys are used at a time, and keysLast for how long: then
// they get new names, so that no lock's history grows without end.
const (
	keysFor  = 6
	keysLast = 10 * time.Second
)

func (c *client) key() string {
	c.w.keysMu.Lock()
	defer c.w.keysMu.Unlock()
	k := fmt.Sprintf("k%d@%d", c.rng.IntN(keysFor), c.w.now()/keysLast)
	c.w.keys[k] = true
	return k
}

// patience is how long the client waits for an answer before it gives up.
func (c *client) patience() time.Duration {
	if c.chance(15) {
		return c.around(time.Second)
	}
	return 3*time.Second + c.around(15*time.Second)
}

func (c *client) op(code fsm.OpCode, key string) *call {
	return &call{op: fsm.Op{Code: code, Key: []byte(key), Owner: []byte(c.label)}}
}

// newID gives the call an ID of its own.
func (c *client) newID(x *call) *call {
	c.ids++
	x.op.ID = fmt.Appendf(nil, "%d-%d", c.id, c.ids)
	return x
}

// chance is true in percent of the cases.
func (c *client) chance(percent int) bool { return c.rng.IntN(100) < percent }

// program does one thing that clients do.
func (c *client) program() {
	switch r := c.rng.IntN(100); {
	case c.session != nil && c.session.heartbeat && c.chance(25):
		c.hush()
	case r < 52:
		c.section()
	case r < 55:
		c.team()
	case r < 75:
		c.burst()
	case r < 80:
		c.queries()
	case r < 87:
		c.queue(c.key())
	case r < 92:
		c.die()
	case r < 93:
		c.closeSession()
	case r < 94:
		c.move()
	case r < 95:
		c.keep()
	case r < 96:
		c.unlabelled(c.key())
	case r < 98:
		c.async(c.key())
	default:
		c.meddle()
	}
}

// acquire is a LOCK or TRYLOCK.
func (c *client) acquire(key string) *call {
	x := c.op(fsm.OpLock, key)
	switch r := c.rng.IntN(10); {
	case r < 3:
		x.op.Code, x.op.Timeout = fsm.OpTryLock, 20+c.rng.Int64N(4000)
	case r < 5:
		x.op.Code = fsm.OpTryLock
	}
	if c.chance(25) {
		x.op.Lease = c.lease()
	}
	if c.chance(10) {
		x.op.Note = []byte("a note")
	}
	if c.session != nil && c.chance(80) || c.chance(10) {
		c.newID(x)
	}
	return x
}

// lease is how long a hold may last: some seconds, or next to nothing.
func (c *client) lease() int64 {
	if c.chance(15) {
		return 2 + c.rng.Int64N(40)
	}
	return 200 + c.rng.Int64N(5000)
}

// query is something that changes nothing.
func (c *client) query(key string) *call {
	return c.op(pick(c.rng, fsm.OpLockCount, fsm.OpIsOwner, fsm.OpFence, fsm.OpLockInfo, fsm.OpIsLocked, fsm.OpLeaseTime), key)
}

func (c *client) someQueries(key string, most int) []*call {
	var all []*call
	for range c.rng.IntN(most + 1) {
		all = append(all, c.query(key))
	}
	return all
}

// section takes a lock, works under it, and gives it back.
func (c *client) section() {
	key := c.key()
	if held := c.held(); len(held) > 0 && c.chance(40) {
		key = held[0]
	}
	x := c.acquire(key)
	calls := []*call{x}
	if c.chance(40) {
		calls = append(calls, c.someQueries(key, 4)...)
	}
	if !c.ask(c.patience(), calls...) || x.reply.Code != fsm.CodeOK || x.reply.Int <= 0 {
		return
	}
	visit, ok := c.w.hist.Enter(c.owner, key, x.reply.Int)
	for range c.rng.IntN(4) {
		c.sleep(c.around(c.w.conf.thinking / 10))
		if !c.ensureSame() || !c.inside(key) {
			return
		}
	}
	if c.chance(5) {
		c.sleep(c.around(5 * time.Second))
	}
	if ok {
		visit.Leave()
	}
	if c.ensureSame() && c.chance(85) {
		c.unlockAll(key)
	}
}

// ensureSame says whether the connection is still the one that there was.
func (c *client) ensureSame() bool {
	if c.link != nil && c.link.over() {
		c.lost()
	}
	return c.link != nil && !c.finishing() && c.spoken()
}

// inside does something while it holds the key.
func (c *client) inside(key string) bool {
	switch r := c.rng.IntN(10); {
	case r < 4:
		return c.ask(c.patience(), append(c.someQueries(key, 6), c.query(key))...)
	case r < 6: // enters once more
		x := c.acquire(key)
		return c.ask(c.patience(), x, c.query(key)) && x.reply.Code == fsm.CodeOK
	case r < 7:
		x := c.op(fsm.OpRenew, key)
		x.op.Lease = c.lease()
		if c.chance(50) {
			x.op.Fence = uint64(c.fences[key])
		}
		return c.ask(c.patience(), x, c.query(key))
	case r < 8:
		return c.ask(c.patience(), c.unlock(key))
	default:
		return true
	}
}

func (c *client) unlock(key string) *call {
	x := c.op(fsm.OpUnlock, key)
	if c.chance(25) && c.fences[key] > 0 {
		x.op.Fence = uint64(c.fences[key])
	}
	if c.session != nil && c.chance(80) {
		c.newID(x)
	}
	return x
}

// unlockAll gives a lock back as often as it was taken.
func (c *client) unlockAll(key string) {
	if c.holds[key] == 0 || c.link == nil {
		return
	}
	var calls []*call
	for i := range c.holds[key] {
		calls = append(calls, c.unlock(key))
		if i >= mostIDs {
			calls[len(calls)-1].op.ID = nil
		}
		if c.chance(10) {
			calls = append(calls, c.query(key))
		}
	}
	c.ask(c.patience(), calls...)
}

// burst sends many commands for one key in one go.
func (c *client) burst() {
	key := c.key()
	var calls []*call
	for range 4 + c.rng.IntN(c.w.conf.burst) {
		switch r := c.rng.IntN(10); {
		case r < 3:
			x := c.acquire(key)
			x.op.Code, x.op.Timeout = fsm.OpTryLock, 0
			calls = append(calls, x)
		case r < 6:
			x := c.unlock(key)
			x.op.Fence = 0 // what it holds when this is done is not known
			calls = append(calls, x)
		default:
			calls = append(calls, c.query(key))
		}
	}
	for _, x := range calls {
		// One by one they would be repeated in another order: what was refused at first
		// (LIMIT, say) is carried out behind what was done.
		x.op.ID = nil
	}
	c.ask(c.patience(), calls...)
	if c.link != nil && c.chance(80) {
		c.unlockAll(key)
	}
}

// mostIDs is how many commands of a pipeline have an ID: of each owner and key the
// last 16 are remembered, and one that is forgotten must not be repeated.
const mostIDs = 8

// queries asks what changes nothing and needs no check.
func (c *client) queries() {
	c.ask(c.patience(),
		&call{op: fsm.Op{Code: fsm.OpLockScan, Count: 10}}, &call{op: fsm.Op{Code: fsm.OpSessionList}},
		&call{op: fsm.Op{Code: fsm.OpSessionInfo}}, c.query(c.key()))
}

// die breaks the connection off, and comes back later or sooner.
func (c *client) die() {
	c.w.stats.add("clients died", 1)
	c.hangUp(errStruck)
	if c.session != nil && c.chance(50) {
		c.sleep(c.around(c.session.ttl))
	}
}

// closeSession ends the session in order.
func (c *client) closeSession() {
	began := c.w.hist.Now()
	x := &call{op: fsm.Op{Code: pick(c.rng, fsm.OpSessionClose, fsm.OpSessionClose, fsm.OpSessionDetach, fsm.OpReset)}}
	if c.session == nil {
		for _, owner := range append(c.aliases, c.owner) {
			c.w.hist.MayEnd(owner, began)
		}
		c.ask(c.patience(), x)
		c.hangUp(errLeaves)
		return
	}
	l := c.link
	c.ask(c.patience(), x)
	if x.op.Code != fsm.OpSessionClose {
		// It is detached, or is not: its time may run.
		c.mayEnd(l, l.w.begun.Add(began))
		c.hangUp(errLeaves)
		return
	}
	c.closed(x, began)
	c.hangUp(errLeaves)
}

// closed takes in what became of SESSION CLOSE in a named session.
func (c *client) closed(x *call, began time.Duration) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case x.done && x.reply.Code == fsm.CodeOK:
		s.ends(c.w.hist, began, c.w.hist.Now())
		s.kills++
		s.killed = true // the next attachment finds it gone
	case !x.done || x.reply.Code == fsm.CodeUncertain || x.reply.Code == fsm.CodeNoSession:
		s.ends(c.w.hist, began, check.Never)
		s.doomed = true
	default:
	}
}

// keep takes a hold that belongs to nobody, and gives it back from wherever it is.
func (c *client) keep() {
	key := c.key()
	c.ids++
	owner := fmt.Sprintf("keep%d.%d", c.id, c.ids)
	x := &call{owner: owner, untold: true, op: fsm.Op{Code: fsm.OpTryLock, Key: []byte(key), Flags: fsm.FlagKeep, Lease: 500 + c.rng.Int64N(4000)}}
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK || x.reply.Int == 0 {
		return
	}
	c.sleep(c.around(500 * time.Millisecond))
	if !c.ensure() {
		return
	}
	y := &call{owner: owner, untold: true, op: fsm.Op{Code: fsm.OpUnlock, Key: []byte(key), Fence: uint64(x.reply.Int)}}
	if c.chance(30) {
		y.op.Code, y.op.Lease = fsm.OpRenew, 100+c.rng.Int64N(2000)
	}
	c.ask(c.patience(), y)
}
