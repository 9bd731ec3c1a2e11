package sessions

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/redlockd/redlockd/fsm"
)

var errNoLeader = errors.New("no leader")

// machine is a small stand-in for fsm.Machine with the same rules for the order
// of ops. A LOCK with the note "wait" waits until grant; Target numbers an op for
// the tests; a session whose name starts with "bad" can not be attached to.
type machine struct {
	conns map[fsm.ConnID]*mconn
	eff   fsm.Effects
	// postpone says whether an op has to come again in another entry; nil: none.
	postpone func(o *fsm.Op) bool
}

type mconn struct {
	seq     uint64
	waits   *fsm.Op
	name    string
	session string
	refused bool // an attachment by name failed
	ran     []uint64
	in      []string // the session of each
}

func newMachine() *machine { return &machine{conns: make(map[fsm.ConnID]*mconn)} }

func (m *machine) apply(ops []fsm.Op) {
	for i := range ops {
		m.op(&ops[i])
	}
}

func (m *machine) op(o *fsm.Op) {
	c := m.conns[o.Conn]
	switch {
	case o.Code == fsm.OpEnd:
		delete(m.conns, o.Conn)
	case c == nil && o.Code == fsm.OpOpen && o.Seq == 1:
		m.conns[o.Conn] = &mconn{seq: 1, name: string(o.Name)}
		m.reply(o, fsm.CodeOK, 0)
	case c == nil:
		m.eff.Events = append(m.eff.Events, fsm.Event{Kind: fsm.EventUnknown, Conn: o.Conn})
	case c.waits != nil || o.Seq > c.seq+1 || o.Seq == c.seq+1 && m.postpone != nil && m.postpone(o):
		m.eff.Refused = append(m.eff.Refused, fsm.Address{Conn: o.Conn, Seq: o.Seq})
	case o.Seq == c.seq+1:
		c.seq = o.Seq
		m.do(c, o)
	default:
		panic(fmt.Sprintf("op %d of connection %d came twice", o.Seq, o.Conn))
	}
}

func (m *machine) do(c *mconn, o *fsm.Op) {
	if o.Target != 0 {
		c.ran = append(c.ran, o.Target)
		c.in = append(c.in, c.session)
	}
	if c.refused && asksSession(o.Code) && o.Code != fsm.OpSessionAttach && o.Code != fsm.OpSessionDetach {
		m.reply(o, fsm.CodeLimit, 0)
		return
	}
	switch o.Code {
	case fsm.OpLock:
		if string(o.Note) == "wait" {
			op := *o
			c.waits = &op
			return
		}
		m.reply(o, fsm.CodeOK, 1)
	case fsm.OpSessionAttach:
		if o.Name[0] == 'b' {
			c.refused = c.refused || o.Flags&fsm.FlagByName != 0
			m.reply(o, fsm.CodeLimit, 0)
			return
		}
		c.refused, c.session = false, string(o.Name)
		m.eff.Events = append(m.eff.Events, fsm.Event{
			Kind: fsm.EventAttached, Conn: o.Conn, Session: session(c.session), Heartbeat: o.Flags&fsm.FlagHeartbeat != 0,
		})
		m.reply(o, fsm.CodeOK, 0)
	case fsm.OpSessionDetach, fsm.OpReset:
		if c.session != "" {
			m.eff.Events = append(m.eff.Events, fsm.Event{Kind: fsm.EventDetached, Conn: o.Conn, Session: session(c.session)})
		}
		c.refused, c.session = false, ""
		m.reply(o, fsm.CodeOK, 0)
	case fsm.OpDescribe:
		c.name = string(o.Name)
		m.reply(o, fsm.CodeOK, 0)
	default:
		m.reply(o, fsm.CodeOK, 7)
	}
}

// session makes an id of a name.
func session(name string) fsm.SessionID {
	id := fsm.SessionID(1 << 31)
	for _, b := range []byte(name) {
		id = id*31 + fsm.SessionID(b)
	}
	return id
}

func (m *machine) reply(o *fsm.Op, code fsm.Code, n int64) {
	m.eff.Replies = append(m.eff.Replies, fsm.Reply{Conn: o.Conn, Seq: o.Seq, Code: code, Int: n})
}

// waiting lists the connections that wait, lowest id first.
func (m *machine) waiting() []fsm.ConnID {
	var ids []fsm.ConnID
	for id, c := range m.conns {
		if c.waits != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m *machine) grant(id fsm.ConnID) {
	c := m.conns[id]
	m.reply(c.waits, fsm.CodeOK, 1)
	c.waits = nil
}

// take returns what was brought about since the last take.
func (m *machine) take() *fsm.Effects {
	eff := m.eff
	m.eff = fsm.Effects{}
	return &eff
}

// cluster is a fake of the cluster package: a queue of proposed ops, cut into
// batches that are applied in order, and times at which things go wrong.
type cluster struct {
	mu     sync.Mutex
	inc    fsm.Incarnation
	queue  []queued
	sent   [][]fsm.Op // at most two in flight
	stale  error
	half   error
	misuse error
}

// queued is an op with a copy that tells whether it stayed unchanged.
type queued struct {
	op   *fsm.Op
	copy fsm.Op
}

func clone(op *fsm.Op) fsm.Op {
	o := *op
	o.Key, o.Name, o.Note, o.Value = slices.Clone(o.Key), slices.Clone(o.Name), slices.Clone(o.Note), slices.Clone(o.Value)
	return o
}

func (f *cluster) Propose(ops []*fsm.Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range ops {
		if op.Conn.Incarnation() == f.inc {
			f.queue = append(f.queue, queued{op, clone(op)})
		}
	}
}

func (f *cluster) Fresh() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stale
}

func (f *cluster) Half() error { return f.half }

// cut sends the first n queued ops as one batch.
func (f *cluster) cut(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = min(n, len(f.queue)) // some may have been taken out since they were counted
	var batch []fsm.Op
	for _, q := range f.queue[:n] {
		if now := clone(q.op); !reflect.DeepEqual(now, q.copy) && f.misuse == nil {
			f.misuse = fmt.Errorf("a queued op changed from %+v to %+v", q.copy, now)
		}
		batch = append(batch, q.copy)
	}
	f.queue = append([]queued(nil), f.queue[n:]...)
	f.sent = append(f.sent, batch)
}

// takeOut removes the chosen ops from the queue, as request-timeout does.
func (f *cluster) takeOut(chosen func(i int) bool) []*fsm.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ops []*fsm.Op
	var rest []queued
	for i, q := range f.queue {
		if chosen(i) {
			ops = append(ops, q.op)
		} else {
			rest = append(rest, q)
		}
	}
	f.queue = rest
	return ops
}

func (f *cluster) queued() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue)
}

func (f *cluster) inFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent)
}

// next takes the oldest batch in flight.
func (f *cluster) next() []fsm.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.sent[0]
	f.sent = f.sent[1:]
	return b
}

func (f *cluster) oldest() []fsm.Address {
	f.mu.Lock()
	defer f.mu.Unlock()
	var as []fsm.Address
	for _, op := range f.sent[0] {
		as = append(as, fsm.Address{Conn: op.Conn, Seq: op.Seq})
	}
	return as
}

// client is an Answerer that writes down what it is told.
type client struct {
	mu      sync.Mutex
	conn    *Conn
	tags    []uint64
	codes   []fsm.Code
	ints    []int64
	flushed int
	closed  []error
}

func (a *client) Answer(op *fsm.Op, tag any, r *fsm.Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := tag.(uint64)
	if op.Target != n {
		panic(fmt.Sprintf("tag %d came with op %d", n, op.Target))
	}
	if len(a.closed) > 0 {
		panic("answered after Close")
	}
	a.tags, a.codes, a.ints = append(a.tags, n), append(a.codes, r.Code), append(a.ints, r.Int)
}

func (a *client) Flush() {
	a.mu.Lock()
	a.flushed++
	a.mu.Unlock()
}

func (a *client) Close(why error) {
	a.mu.Lock()
	a.closed = append(a.closed, why)
	conn := a.conn
	a.mu.Unlock()
	if conn != nil { // else Open has not returned yet
		conn.Closed() // resp may call back at once
	}
}

func (a *client) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.closed) > 0
}
