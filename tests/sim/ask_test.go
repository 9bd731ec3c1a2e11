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
	if !ok || x.note != nil {
		return
	}
	owner := c.owner
	if x.owner != "" {
		owner = x.owner
	}
	x.note = c.w.hist.Begin(owner, kind, string(x.op.Key))
	if x.op.Lease > 0 {
		x.note.Lease(ms(x.op.Lease))
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
		x.settle(true)
		c.w.stats.add("not answered", 1)
	}
	c.took(calls)
	return ok && c.link != nil
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
			if !c.finishing() {
				return c.hangUp(errPatience)
			}
			// All is to be well soon: who waits must be answered.
			limit.Reset(time.Second)
			if c.w.given.Load() {
				c.w.fault("client %d waits for %v for ever: %s", c.id, calls, l.standing())
				return c.hangUp(errPatience)
			}
		}
	}
}

// standing says where the connection is, for its node and for the cluster.
func (l *link) standing() string {
	text := fmt.Sprintf("connection %d of %s, dead %v, %+v, ", l.id(), l.p.n.name, l.p.dead.Load(), l.conn.Info())
	if c := l.p.cluster.Load(); c != nil {
		c.View(func(m *fsm.Machine) {
			i, ok := m.Conn(l.id())
			text += fmt.Sprintf("there %v, %+v; ", ok, i)
		})
	}
	return text + l.w.standing()
}

// repeat asks again for what has an ID, on other connections of the same session,
// until the cluster might forget the ID; false: the outcome is not known.
func (c *client) repeat(patience time.Duration, x *call) bool {
	id := c.session.id
	for time.Since(x.sent) < c.w.conf.sessionTimeout*3/2 {
		time.Sleep(c.around(200 * time.Millisecond))
		if !c.ensure() {
			continue
		}
		if c.session.id != id {
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
		x.settle(false)
		c.w.stats.add("repeats answered", 1)
		return true
	}
	return false
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
			if x.reply.Code == fsm.CodeErr && x.reply.Detail.Why != fsm.WhyNoSuchSession {
				c.w.fault("client %d: %v was answered ERR (%+v)", c.id, x, x.reply.Detail)
			}
			if x.reply.Code == fsm.CodeLockLost || x.reply.Code == fsm.CodeNotOwner {
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
				c.heard[key] = time.Now()
				c.fences[key] = x.reply.Int
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
	x := &call{op: fsm.Op{Code: fsm.OpLockWaiters, Key: []byte(key)}}
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK {
		return
	}
	waiters, _ := x.reply.Data.([]fsm.WaiterInfo)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range waiters {
		at := place{i.Waiter.Conn, key}
		if was := before[at]; was != nil && w.pending[at] == was {
			was.note.InLine()
			w.stats.add("seen in line", 1)
		}
	}
}
