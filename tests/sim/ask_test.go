package sim

import (
	"fmt"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// kindOf maps what is noted in the history.
var kindOf = map[fsm.OpCode]check.Kind{
	fsm.OpLock: check.Acquire, fsm.OpTryLock: check.Acquire, fsm.OpUnlock: check.Release, fsm.OpRenew: check.Renew,
	fsm.OpLockCount: check.Count, fsm.OpIsOwner: check.Owns, fsm.OpFence: check.Fence, fsm.OpLockInfo: check.Fence,
	fsm.OpForceUnlock: check.Force, fsm.OpDestroy: check.Destroy, fsm.OpUndestroy: check.Undestroy,
}

// begin notes a call that is about to be sent.
func (c *client) begin(x *call) {
	kind, ok := kindOf[x.op.Code]
	if !ok || x.note != nil || x.private {
		return
	}
	x.note = c.w.hist.Begin(c.ownerOf(x), kind, string(x.op.Key))
	x.reenters = x.reenters || x.owner == ""
	if x.op.Lease > 0 {
		x.note.Lease(ms(x.op.Lease))
	}
	if x.op.Timeout > 0 {
		x.note.Waits(ms(x.op.Timeout))
	}
	if x.op.Fence > 0 {
		x.note.WithFence(int64(x.op.Fence))
	}
}

// ms is how long a lease or TTL lasts at least: cluster time is in whole
// milliseconds, of which the first and the last are not whole.
func ms(n int64) time.Duration { return time.Duration(n-1) * time.Millisecond }

// ask sends calls in one go and waits for their answers. What has an ID, in a named
// session, is asked again where the connection breaks. false: not all were answered.
func (c *client) ask(patience time.Duration, calls ...*call) bool {
	if c.link == nil {
		return false
	}
	for _, x := range calls {
		c.begin(x)
	}
	ok := c.exchange(patience, calls)
	for _, x := range calls {
		if x.done && (x.reply.Code != fsm.CodeUncertain || len(x.op.ID) == 0) {
			continue
		}
		if len(x.op.ID) > 0 && c.session != nil && c.repeat(patience, x) {
			continue
		}
		if x.note != nil && len(x.op.ID) > 0 && c.session != nil && (x.op.Lease == 0 || ms(x.op.Lease) > ms(c.session.ttl.Milliseconds())) {
			// Its grant, should it come, is released when nobody asks for it within the TTL.
			x.note.Lease(ms(c.session.ttl.Milliseconds()))
		}
		c.doubts = c.doubts || c.session != nil && (x.op.Code == fsm.OpLock || x.op.Code == fsm.OpTryLock)
		x.settle(true)
		c.w.stats.add("not answered", 1)
	}
	c.took(calls)
	if ok && c.link != nil && c.chance(8) {
		c.twice(calls[c.rng.IntN(len(calls))])
	}
	return ok && c.link != nil
}

// twice asks once more for what has an ID and was answered: the answer is the same,
// unless its session has ended meanwhile.
func (c *client) twice(x *call) {
	acquire := x.op.Code == fsm.OpLock || x.op.Code == fsm.OpTryLock
	if len(x.op.ID) == 0 || x.reply.Code != fsm.CodeOK || x.op.Flags != 0 || !acquire && x.op.Code != fsm.OpUnlock {
		return
	}
	kind := check.Release
	if acquire {
		kind = check.Acquire
	}
	y := &call{op: x.op, again: true}
	y.note = c.w.hist.Begin(c.owner, kind, string(x.op.Key))
	c.exchange(c.patience(), []*call{y})
	c.w.stats.add("asked twice", 1)
	switch r := &y.reply; {
	case y.done && r.Code == fsm.CodeOK && r.Int == x.reply.Int:
		y.note.Nothing()
	case y.done && r.Code == fsm.CodeLockLost:
		// Its hold has ended since, which may have been before it asked again; and
		// it may have taken a notice.
		y.note.Unknown()
		delete(c.holds, string(x.op.Key))
		delete(c.fences, string(x.op.Key))
	default:
		if y.done && r.Code == fsm.CodeOK && !c.ended() {
			c.w.fault("client %d: %v was answered %d and, asked again, %d", c.id, x, x.reply.Int, r.Int)
		}
		y.note.Unknown()
		c.doubts = c.doubts || c.session != nil
	}
}

// ended says whether somebody may have ended the client's session since it attached.
func (c *client) ended() bool {
	s := c.session
	if s == nil {
		return c.link == nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed || s.killing > 0 || s.doomed
}

// ownerOf is who asks, as the history has it.
func (c *client) ownerOf(x *call) string {
	if x.owner != "" {
		return x.owner
	}
	return c.owner
}

// exchange sends calls on the present connection and waits until all are answered.
// false: the connection is gone.
func (c *client) exchange(patience time.Duration, calls []*call) bool {
	l := c.link
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for held := l.p.answers.closed(); held != nil; held = l.p.answers.closed() {
		select { // the process is frozen: what is sent now arrives later
		case <-held:
		case <-limit.C:
			return c.hangUp(errPatience)
		}
	}
	if !c.spoken() {
		return false
	}
	defer c.listen(l.spoke())
	if c.w.trace != nil {
		id, _ := l.conn.ID()
		c.w.log("client").Debug("asks", "client", c.id, "owner", c.owner, "of", l.p.n.name, "connection", id, "calls", fmt.Sprint(calls))
	}
	c.w.register(l, calls)
	defer c.w.unregister(l, calls)
	l.send(calls)
	for {
		all, closed := l.answered(calls)
		switch {
		case all && !closed:
			return true
		case closed:
			c.lost()
			return false
		}
		select {
		case <-l.wake:
		case <-limit.C:
			if !c.finishing() || c.blocks(calls) || c.lead != nil {
				return c.hangUp(errPatience)
			}
			// All is to be well soon: who waits, and holds up nobody, must be answered.
			limit.Reset(time.Second)
			if c.w.given.Load() {
				c.w.fault("client %d waits for %v for ever: %s", c.id, calls, l.standing(string(calls[0].op.Key)))
				return c.hangUp(errPatience)
			}
		}
	}
}

// standing says where the connection is, for its node and for the cluster, who had
// the key last and who waits for what.
func (l *link) standing(key string) string {
	text := fmt.Sprintf("connection %d of %s, dead %v, %+v, ", l.id(), l.p.n.name, l.p.dead.Load(), l.conn.Info())
	if c := l.p.cluster.Load(); c != nil {
		c.View(func(m *fsm.Machine) {
			i, ok := m.Conn(l.id())
			text += fmt.Sprintf("there %v, %+v; ", ok, i)
		})
	}
	l.w.mu.Lock()
	text += fmt.Sprintf("newest grant of %s known: %s; waiting: ", key, l.w.granted[key])
	for at, x := range l.w.pending {
		text += fmt.Sprintf("connection %d for %v since %v; ", at.conn, x, x.sent.Sub(l.w.begun))
	}
	l.w.mu.Unlock()
	return text + l.w.standing()
}

// repeat asks again for what has an ID, on other connections of the same session,
// until the cluster might forget the ID; false: the outcome is not known.
func (c *client) repeat(patience time.Duration, x *call) bool {
	id := c.session.life()
	for time.Since(x.sent) < c.w.conf.sessionTimeout*3/2 {
		time.Sleep(c.around(200 * time.Millisecond))
		if !c.ensure() {
			continue
		}
		if c.session.life() != id {
			return false // another life of the session: it knows nothing of the ID
		}
		c.w.stats.add("repeats", 1)
		y := &call{op: x.op, again: true}
		if !c.exchange(patience, []*call{y}) && !y.done {
			continue
		}
		if y.reply.Code == fsm.CodeClusterDown || y.reply.Code == fsm.CodeUncertain {
			continue
		}
		x.done, x.reply, x.again = true, y.reply, true
		if x.note != nil && y.on.unblocked.Load() {
			x.note.Waits(0)
		}
		x.settle(false)
		c.w.stats.add("repeats answered", 1)
		return true
	}
	return false
}

// mayErr says whether ERR is a good answer.
func mayErr(x *call) bool {
	switch x.reply.Detail.Why {
	case fsm.WhyNoSuchSession:
		return true
	case fsm.WhyBadSetting:
		return x.op.Code == fsm.OpConfigSet // the fence floor can only be raised
	default:
		return false
	}
}

// took counts and takes in the answers.
func (c *client) took(calls []*call) {
	answered := 0
	for _, x := range calls {
		if !x.done {
			continue
		}
		answered++
		key := string(x.op.Key)
		if x.reply.Code != fsm.CodeOK {
			c.w.stats.add(codeNames[x.reply.Code], 1)
			if x.reply.Code == fsm.CodeErr && !mayErr(x) {
				c.w.fault("client %d: %v was answered ERR (%+v)", c.id, x, x.reply.Detail)
			}
			if x.owner == "" && (x.reply.Code == fsm.CodeLockLost || x.reply.Code == fsm.CodeNotOwner) {
				delete(c.holds, key)
				delete(c.fences, key)
			}
			continue
		}
		if x.owner != "" {
			continue
		}
		switch x.op.Code {
		case fsm.OpLock, fsm.OpTryLock:
			if x.reply.Int > 0 {
				c.holds[key]++
				c.fences[key] = x.reply.Int
				c.w.mu.Lock()
				c.w.granted[key] = fmt.Sprintf("to %s at %v, fence %d", c.owner, c.w.now(), x.reply.Int)
				c.w.mu.Unlock()
				c.w.stats.add("grants", 1)
			}
		case fsm.OpUnlock:
			if c.holds[key] = int(x.reply.Int); x.reply.Int == 0 {
				delete(c.holds, key)
				delete(c.fences, key)
			}
		default:
		}
	}
	c.w.stats.add("operations", answered)
}

var codeNames = map[fsm.Code]string{
	fsm.CodeNotOwner: "NOTOWNER", fsm.CodeLockLost: "LOCKLOST", fsm.CodeLockLimit: "LOCKLIMIT", fsm.CodeCancelled: "CANCELLED",
	fsm.CodeDeadlock: "DEADLOCK", fsm.CodeDestroyed: "DESTROYED", fsm.CodeNoSession: "NOSESSION", fsm.CodeLimit: "LIMIT",
	fsm.CodeErr: "ERR", fsm.CodeClusterDown: "CLUSTERDOWN", fsm.CodeUncertain: "UNCERTAIN",
}

// register makes the calls that may wait known to those who look at the queues.
func (w *world) register(l *link, calls []*call) {
	id, err := l.conn.ID()
	if err != nil || len(calls) == 0 || calls[0].note == nil || !calls[0].op.Waits() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[place{id, string(calls[0].op.Key)}] = calls[0]
}

func (w *world) unregister(l *link, calls []*call) {
	id, err := l.conn.ID()
	if err != nil || len(calls) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, place{id, string(calls[0].op.Key)})
}

// place is where a connection may stand in line.
type place struct {
	conn fsm.ConnID
	key  string
}

// queue asks who waits for a key, and notes those who did before it asked.
func (c *client) queue(key string) {
	w := c.w
	w.mu.Lock()
	before := map[place]*call{}
	for at, x := range w.pending {
		if at.key == key {
			before[at] = x
		}
	}
	w.mu.Unlock()
	asked := w.hist.Moment()
	x := &call{op: fsm.Op{Code: fsm.OpLockWaiters, Key: []byte(key)}}
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK {
		return
	}
	waiters, _ := x.reply.Data.([]fsm.WaiterInfo)
	w.mu.Lock()
	defer w.mu.Unlock()
	var line []*check.Op
	for _, i := range waiters {
		at := place{i.Waiter.Conn, key}
		if was := before[at]; was != nil && w.pending[at] == was {
			line = append(line, was.note)
		}
	}
	w.hist.Queue(asked, line...)
	w.stats.add("seen in line", len(line))
}
