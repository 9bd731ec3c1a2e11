package sim

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/sessions"
	"github.com/redlockd/redlockd/tests/check"
)

// link is one client connection to a process, from the client's side.
type link struct {
	w    *world
	p    *process
	conn *sessions.Conn
	wake chan struct{} // capacity 1: something came
	// unblocked: somebody may have cut its waits short (CLIENT UNBLOCK).
	unblocked atomic.Bool

	mu     sync.Mutex
	closed bool
	why    error
	// lost is when the connection ended at the earliest, as the cluster may see it.
	lost time.Time
	// doubt is from when on the node may have been given up, unseen by the client,
	// while it was frozen until thawed.
	doubt, thawed time.Time
	// killed is when somebody set out to end it.
	killed time.Time
	// touched is when the newest request was sent that the machine has answered.
	touched time.Time
}

// call is one request of a client.
type call struct {
	op    fsm.Op
	owner string    // who asks, for the history; empty: the client's own
	note  *check.Op // nil: it is not noted
	// again: it repeats a call by its ID, which may have been carried out.
	again bool
	// untold: nobody is told of the end of the hold, and NOTOWNER says nothing.
	untold bool
	// reenters: its owner may hold the lock.
	reenters bool
	// private: its asker judges the answer, and not tests/check.
	private bool
	sent    time.Time
	on      *link // over which it was sent; nil: not yet
	// done and reply belong to link.mu.
	done  bool
	reply fsm.Reply
}

func (c *call) String() string {
	text := fmt.Sprintf("%s %s", opNames[c.op.Code], c.op.Key)
	if c.op.Flags&fsm.FlagAsync != 0 {
		text += " ASYNC"
	}
	if len(c.op.ID) > 0 {
		text += fmt.Sprintf(" ID %s", c.op.ID)
	}
	if c.op.Lease+c.op.Timeout > 0 || c.op.Fence > 0 {
		text += fmt.Sprintf(" LEASE %d TIMEOUT %d FENCE %d", c.op.Lease, c.op.Timeout, c.op.Fence)
	}
	return text
}

// opNames are for people.
var opNames = map[fsm.OpCode]string{
	fsm.OpLock: "LOCK", fsm.OpTryLock: "TRYLOCK", fsm.OpUnlock: "UNLOCK", fsm.OpForceUnlock: "FORCEUNLOCK", fsm.OpRenew: "RENEW",
	fsm.OpLockCount: "LOCKCOUNT", fsm.OpFence: "FENCE", fsm.OpIsLocked: "ISLOCKED", fsm.OpIsOwner: "ISOWNER", fsm.OpLeaseTime: "LEASETIME",
	fsm.OpLockInfo: "LOCKINFO", fsm.OpLockWaiters: "LOCKWAITERS", fsm.OpLockScan: "LOCKSCAN", fsm.OpDestroy: "DESTROY",
	fsm.OpUndestroy: "UNDESTROY", fsm.OpSessionID: "SESSION ID", fsm.OpSessionAttach: "SESSION ATTACH", fsm.OpSessionDetach: "SESSION DETACH",
	fsm.OpSessionClose: "SESSION CLOSE", fsm.OpSessionInfo: "SESSION INFO", fsm.OpSessionList: "SESSION LIST", fsm.OpSessionKill: "SESSION KILL",
	fsm.OpUnwait: "UNWAIT", fsm.OpConfigSet: "CONFIG SET", fsm.OpReset: "RESET", fsm.OpUnblock: "CLIENT UNBLOCK", fsm.OpKillConn: "CLIENT KILL",
}

var errNoNode = errors.New("no node takes clients now")

// connect opens a connection to a process; name is the client name.
func (w *world) connect(p *process, name string) (*link, error) {
	l := &link{w: w, p: p, wake: make(chan struct{}, 1)}
	var err error
	if l.conn, err = p.table.Open(name, "sim:1", l); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links == nil {
		return nil, errNoNode
	}
	p.links[l] = struct{}{}
	return l, nil
}

// send sends calls in one go.
func (l *link) send(calls []*call) {
	l.conn.Touch()
	for _, c := range calls {
		c.sent, c.on = time.Now(), l
		l.conn.Do(c.op, c)
	}
	l.conn.Flush()
}

// Answer takes the reply to a call, from the process's goroutines.
func (l *link) Answer(op *fsm.Op, tag any, r *fsm.Reply) {
	if l.p.dead.Load() {
		return
	}
	c := tag.(*call)
	l.w.truth.answered(op, r)
	l.mu.Lock()
	if l.closed || c.done {
		again := !l.closed
		l.mu.Unlock()
		if again {
			l.w.fault("connection %d of %s: %v was answered a second time: %+v", op.Conn, l.p.n.name, c, *r)
		}
		return
	}
	c.done, c.reply = true, *r
	if c.sent.After(l.touched) && r.Code < fsm.CodeClusterDown && r.Code != fsm.CodeNoSession {
		l.touched = c.sent
	}
	if !l.doubt.IsZero() && c.sent.After(l.thawed) {
		l.doubt = time.Time{} // who answers what it was asked since is vouched for
	}
	l.mu.Unlock()
	if l.w.trace != nil {
		l.w.log("client").Debug("is answered", "of", l.p.n.name, "connection", op.Conn, "seq", op.Seq, "op", opNames[op.Code], "key", string(op.Key), "code", r.Code, "value", r.Int, "detail", r.Detail)
	}
	if !c.again {
		c.settle(false)
	}
	l.poke()
}

// Flush has nothing to do: an answer is there when it was given.
func (l *link) Flush() {}

// Close ends the connection from the node's side.
func (l *link) Close(why error) {
	if l.p.dead.Load() {
		return
	}
	l.end(why, time.Now())
	l.p.forget(l)
}

func (p *process) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// end makes the client see that the connection is closed; at is when that may have
// taken effect at the earliest.
func (l *link) end(why error, at time.Time) {
	l.mu.Lock()
	if !l.closed {
		if l.w.trace != nil {
			l.w.log("client").Debug("connection ends", "of", l.p.n.name, "connection", l.id(), "why", why, "since", at.Sub(l.w.begun))
		}
		l.closed, l.why = true, why
		l.lost = earlier(l.lost, at)
	}
	l.mu.Unlock()
	l.poke()
}

var errDied = errors.New("the process has died")

// lose takes in that the process has died. Not told: the client sees it later.
func (l *link) lose(at time.Time, told bool) {
	l.mu.Lock()
	l.lost = earlier(l.lost, at)
	l.mu.Unlock()
	if told {
		l.end(errDied, at)
		return
	}
	time.AfterFunc(3*time.Second, func() { l.end(errDied, at) })
}

// drop closes the connection from the client's side. Its node sees that so much
// later, and a frozen process when it has thawed.
func (l *link) drop(why error, late time.Duration) {
	l.end(why, time.Now())
	l.p.forget(l)
	if l.p.answers.closed() == nil && late == 0 {
		l.conn.Closed()
		return
	}
	l.w.wg.Go(func() {
		select {
		case <-time.After(late):
		case <-l.w.over:
		}
		l.p.answers.pass()
		l.conn.Closed()
	})
}

// poke wakes the client.
func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// earliest is when what hangs on the connection may have been given up; zero: it is well.
func (l *link) earliest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := earlier(earlier(l.lost, l.doubt), l.killed)
	if given := l.p.given.Load(); given != nil {
		at = earlier(at, *given)
	}
	return at
}

// spoke is when the newest request was sent that the machine has answered.
func (l *link) spoke() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.touched
}

// over says whether the client has seen the connection end.
func (l *link) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// answered says whether all calls are; a closed connection answers nothing more.
func (l *link) answered(calls []*call) (all, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		if !c.done {
			return false, l.closed
		}
	}
	return true, l.closed
}

// doubtClients takes in that the process is frozen for so long.
func (p *process) doubtClients(lasts time.Duration) {
	margin := p.n.w.conf.sessionTimeout / 20
	if lasts < margin {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.mu.Lock()
		if l.doubt.IsZero() {
			l.doubt = now.Add(margin)
		}
		l.thawed = now.Add(lasts)
		l.mu.Unlock()
	}
}

// settle notes the outcome of a call: its reply, or that none will come.
func (c *call) settle(none bool) {
	if c.note == nil {
		return
	}
	if c.on != nil && c.on.unblocked.Load() {
		c.note.Waits(0)
	}
	r := &c.reply
	if c.op.Flags&fsm.FlagAsync != 0 && !none && r.Code == fsm.CodeOK && r.Int < 0 {
		return // in line: it will be asked for
	}
	acquire := c.op.Code == fsm.OpLock || c.op.Code == fsm.OpTryLock
	switch {
	case c.op.Code == fsm.OpUnwait && !none && r.Code == fsm.CodeOK && r.Int == 0:
		c.note.Nothing()
	case none || r.Code == fsm.CodeUncertain || r.Code == fsm.CodeNoSession:
		c.note.Unknown()
	case r.Code == fsm.CodeOK && acquire && r.Int == 0 && c.op.Code == fsm.OpTryLock && c.on.w.full(c):
		c.note.Nothing()
	case r.Code == fsm.CodeOK && acquire && r.Int == 0 && c.op.Code == fsm.OpTryLock:
		c.note.Refused()
	case r.Code == fsm.CodeOK:
		c.note.Done(c.value())
	case r.Code == fsm.CodeNotOwner && c.untold:
		c.note.Nothing()
	case r.Code == fsm.CodeNotOwner:
		c.note.NotHeld()
	case c.again: // an earlier try may have done what this one was refused for
		c.note.Unknown()
	case r.Code == fsm.CodeLockLost:
		c.note.Lost()
	case r.Code == fsm.CodeDestroyed && acquire:
		c.note.Destroyed()
	default:
		c.note.Nothing()
	}
}

// value is the answer as the history wants it.
func (c *call) value() int64 {
	switch c.op.Code {
	case fsm.OpDestroy:
		return 1
	case fsm.OpUnwait:
		return 0 // it has released the hold, and that was the only one
	case fsm.OpLockInfo:
		if i, ok := c.reply.Data.(*fsm.LockInfo); ok {
			return int64(i.Fence)
		}
		return 0
	default:
		return c.reply.Int
	}
}
