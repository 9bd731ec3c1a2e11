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
	case r < 55:
		c.section()
	case r < 75:
		c.burst()
	case r < 80:
		c.queries()
	case r < 87:
		c.queue(c.key())
	case r < 92:
		c.die()
	case r < 94:
		c.closeSession()
	case r < 96:
		c.keep()
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
		x.op.Lease = 200 + c.rng.Int64N(5000)
	}
	if c.chance(10) {
		x.op.Note = []byte("a note")
	}
	if c.session != nil && c.chance(80) || c.chance(10) {
		c.newID(x)
	}
	return x
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
		x.op.Lease = 300 + c.rng.Int64N(5000)
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
		c.w.hist.MayEnd(c.owner, began)
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
		c.w.hist.End(c.owner, began, c.w.hist.Now())
		s.killed = true // the next attachment finds it gone
	case !x.done || x.reply.Code == fsm.CodeUncertain || x.reply.Code == fsm.CodeNoSession:
		c.w.hist.End(c.owner, began, check.Never)
		s.doomed = true
	default:
	}
}

// keep takes a hold that belongs to nobody, and gives it back from wherever it is.
func (c *client) keep() {
	key := c.key()
	c.ids++
	owner := fmt.Sprintf("keep%d.%d", c.id, c.ids)
	x := &call{owner: owner, op: fsm.Op{Code: fsm.OpTryLock, Key: []byte(key), Flags: fsm.FlagKeep, Lease: 500 + c.rng.Int64N(4000)}}
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK || x.reply.Int == 0 {
		return
	}
	c.sleep(c.around(500 * time.Millisecond))
	if !c.ensure() {
		return
	}
	y := &call{owner: owner, op: fsm.Op{Code: fsm.OpUnlock, Key: []byte(key), Fence: uint64(x.reply.Int)}}
	if c.chance(30) {
		y.op.Code, y.op.Lease = fsm.OpRenew, 100+c.rng.Int64N(2000)
	}
	c.ask(c.patience(), y)
}

// meddle does what an operator does, to others.
func (c *client) meddle() {
	key := c.key()
	switch c.rng.IntN(6) {
	case 0, 1:
		x := &call{op: fsm.Op{Code: fsm.OpForceUnlock, Key: []byte(key)}}
		c.ask(c.patience(), x)
	case 2:
		if c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpDestroy, Key: []byte(key), Note: []byte("gone")}}) {
			c.sleep(c.around(time.Second))
		}
		if c.ensure() {
			c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpUndestroy, Key: []byte(key)}})
		}
	case 3:
		c.killSession()
	case 4:
		c.killConn()
	default:
		if id := c.w.anyLink(c).id(); id != 0 {
			c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpUnblock, Target: uint64(id), Flags: pick(c.rng, 0, fsm.FlagError)}})
		}
	}
}

// anyLink returns a connection of another client, nil if there is none.
func (w *world) anyLink(but *client) *link {
	all := w.running()
	if len(all) == 0 {
		return nil
	}
	p := all[but.rng.IntN(len(all))]
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links { // any one will do
		if l != but.link {
			return l
		}
	}
	return nil
}

// id is the connection's, 0 if it has none.
func (l *link) id() fsm.ConnID {
	if l == nil || !l.conn.Known() {
		return 0
	}
	id, err := l.conn.ID()
	if err != nil {
		return 0
	}
	return id
}

// killConn ends another client's connection, in one of two ways.
func (c *client) killConn() {
	l := c.w.anyLink(c)
	id := l.id()
	if id == 0 {
		return
	}
	l.mu.Lock()
	mine := l.killed.IsZero()
	if mine {
		l.killed = time.Now()
	}
	l.mu.Unlock()
	x := &call{op: fsm.Op{Code: fsm.OpKillConn, Target: uint64(id)}}
	if c.chance(30) {
		x.op = fsm.Op{Code: fsm.OpSessionKill, Name: fmt.Append(nil, uint64(id.Session()))}
	}
	c.ask(c.patience(), x)
	if mine && x.done && (x.reply.Code == fsm.CodeClusterDown || x.reply.Code == fsm.CodeOK && x.reply.Int == 0) {
		l.mu.Lock()
		l.killed = time.Time{}
		l.mu.Unlock()
	}
}

// killSession ends a named session, perhaps its own.
func (c *client) killSession() {
	c.w.mu.Lock()
	names := sorted(c.w.sessions)
	var s *session
	if len(names) > 0 {
		s = c.w.sessions[pick(c.rng, names...)]
	}
	c.w.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	s.killing++
	s.mu.Unlock()
	began := c.w.hist.Now()
	x := &call{op: fsm.Op{Code: fsm.OpSessionKill, Name: []byte(s.name)}}
	c.ask(c.patience(), x)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killing--
	switch {
	case x.done && x.reply.Code == fsm.CodeOK && x.reply.Int > 0:
		c.w.hist.End(s.owner, began, c.w.hist.Now())
		s.killed = true
	case !x.done || x.reply.Code == fsm.CodeUncertain || x.reply.Code == fsm.CodeNoSession:
		c.w.hist.End(s.owner, began, check.Never)
		s.doomed = true
	}
}
