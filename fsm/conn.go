package fsm

import (
	"cmp"
	"slices"

	"github.com/redlockd/redlockd/internal/canary"
)

// conn is a client connection that has sent at least one op.
type conn struct {
	rec
	id      ConnID
	seq     uint64 // the last op applied
	last    int64  // when
	name    string // client name
	addr    string
	node    *node
	nodePos int32

	session *session
	// life is the id of the session's life that the connection is attached to;
	// 0 once that life has ended (a named session's connection stays open).
	life    SessionID
	sessPos int32

	blocked   *caller // the op that waits for its reply
	callers   []*caller
	unclaimed int // ASYNC grants that nobody has asked for yet

	// refusal answers every lock and session op: the attachment that the
	// client name asked for failed, or a limit was reached when it opened.
	refusal Code
	reason  Detail
}

func (c *conn) appendKey(dst []byte) []byte { return appendID(dst, kindConn, uint64(c.id)) }

func (c *conn) appendValue(dst []byte) []byte {
	dst = appendUints(dst, c.seq, uint64(c.last), uint64(c.life))
	dst = appendString(appendString(c.session.appendRef(dst), c.name), c.addr)
	dst = append(dst, byte(c.refusal))
	if c.refusal != CodeOK {
		dst = append(dst, byte(c.reason.Why))
		dst = appendString(appendInts(dst, c.reason.Number), c.reason.Text)
	}
	return dst
}

func (c *conn) forget(*Machine) {}

// attached returns the live session that the connection is in, or nil.
func (c *conn) attached() *session {
	if c.life == 0 {
		return nil
	}
	return c.session
}

// op applies one op of a batch.
func (m *Machine) op(n *node, o *Op) {
	c := m.conns[o.Conn]
	switch {
	case o.Code == OpEnd:
		if c != nil && (c.blocked == nil || !canary.EndWaits) { // canary: the end of a connection waits for its wait
			m.endConn(c, WhyConnClosed)
		}
	case c == nil && (o.Code == OpOpen && o.Seq == 1 || canary.SessionReturns): // canary: any op brings an ended session back
		m.openConn(n, o)
	case c == nil:
		m.eff.Events = append(m.eff.Events, Event{Kind: EventUnknown, Conn: o.Conn})
	case c.blocked != nil && !canary.OpWhileWaiting || o.Seq > c.seq+1 && !canary.OpGap || o.Seq == c.seq+1 && m.postponed(o): // canary: ops pass a wait, or one another
		m.eff.Refused = append(m.eff.Refused, Address{o.Conn, o.Seq})
	case o.Seq == c.seq+1 || canary.OpGap && o.Seq > c.seq || canary.BatchTwice && o.Seq != 1: // canary: see above; a copy acts again
		c.seq, c.last = o.Seq, m.meta.now
		m.touch(c)
		if s := c.attached(); s != nil && s.heartbeat {
			m.contact(s)
		}
		m.dispatch(c, o)
	}
}

// openConn takes a connection, and its anonymous session, into the state.
func (m *Machine) openConn(n *node, o *Op) {
	c := &conn{id: o.Conn, seq: 1, last: m.meta.now, name: string(o.Name), addr: string(o.Value), node: n}
	m.conns[c.id] = c
	bagAdd(&n.conns, c, &c.nodePos)
	// The node's own connection brings the settings given by flags: nothing is at
	// stake for it, and a deadline by the session-timeout before them would outlast them.
	if n.deadline.pos == 0 && c.id.Number() != MaxConnNumber {
		m.vouch(n)
	}
	m.anonymous(c, c.id.Session())
	m.touch(c)
	m.pardon(c)
	m.reply(c, o.Seq, 0)
}

// pardon forgets why c is refused, unless there are too many sessions.
func (m *Machine) pardon(c *conn) {
	c.refusal, c.reason = CodeOK, Detail{}
	if c.session.name == "" && int64(len(m.sessions)) > m.settings.MaxSessions {
		c.refusal, c.reason = CodeLimit, limitDetail(SettingMaxSessions, m.settings.MaxSessions)
	}
}

// endConn ends a connection and what ends with it.
func (m *Machine) endConn(c *conn, why Why) {
	if s := m.leave(c); s != nil {
		m.endSessions([]*session{s}, why)
	}
}

// leave takes a connection out of the state: its waits end, or stay in line for
// their ID. Its anonymous session is returned, to be ended by the caller.
func (m *Machine) leave(c *conn) *session {
	m.unbind(c)
	n := c.node
	bagDel(&n.conns, c.nodePos, func(c *conn) *int32 { return &c.nodePos })
	if len(n.conns) == 0 {
		m.nodeTimers.stop(&n.deadline)
	}
	delete(m.conns, c.id)
	m.drop(c)
	s := c.session
	if s.name == "" {
		return s
	}
	m.unlink(c)
	return nil
}

// unbind takes the connection away from its waits and unclaimed grants.
func (m *Machine) unbind(c *conn) {
	callers := slices.Clone(c.callers)
	slices.SortFunc(callers, func(a, b *caller) int {
		return cmp.Or(cmp.Compare(a.w.num, b.w.num), cmp.Compare(a.seq, b.seq))
	})
	for _, k := range callers {
		w := k.w
		m.release(k)
		if len(w.callers) == 0 && !canary.WaitsStay { // canary: an ended connection stays in line
			m.orphan(w)
		}
	}
	if c.unclaimed == 0 || c.attached() == nil {
		return
	}
	for _, l := range c.session.holds {
		if l.claimer == c {
			l.claimer = nil
			l.claim = m.meta.now + c.session.ttl
			m.arm(l)
			m.touch(l)
		}
	}
	c.unclaimed = 0
}

// reply answers an op of c with an integer.
func (m *Machine) reply(c *conn, seq uint64, n int64) {
	m.eff.Replies = append(m.eff.Replies, Reply{Conn: c.id, Seq: seq, Int: n})
}

// data answers an op with more than an integer.
func (m *Machine) data(c *conn, seq uint64, v any) {
	m.eff.Replies = append(m.eff.Replies, Reply{Conn: c.id, Seq: seq, Data: v})
}

// refuse answers an op with an error.
func (m *Machine) refuse(c *conn, seq uint64, code Code, d Detail) {
	if s := c.attached(); s != nil {
		d.Caller = s.id
	}
	m.eff.Replies = append(m.eff.Replies, Reply{Conn: c.id, Seq: seq, Code: code, Detail: &d})
}

func limitDetail(setting string, limit int64) Detail {
	return Detail{Why: WhyLimit, Text: setting, Number: limit}
}

// dispatch carries out the op. Every op gets one reply, now or when its wait ends.
func (m *Machine) dispatch(c *conn, o *Op) {
	if c.refusal != CodeOK && refusable(o.Code) {
		m.refuse(c, o.Seq, c.refusal, c.reason)
		return
	}
	switch o.Code {
	case OpLock, OpTryLock:
		m.lock(c, o)
	case OpUnlock:
		m.unlock(c, o)
	case OpForceUnlock:
		m.forceUnlock(c, o)
	case OpRenew:
		m.renew(c, o)
	case OpUnwait:
		m.unwait(c, o)
	case OpDestroy:
		m.destroy(c, o)
	case OpUndestroy:
		m.undestroy(c, o)
	case OpLockCount, OpFence, OpIsLocked, OpIsOwner, OpLeaseTime, OpLockInfo, OpLockWaiters, OpLockScan:
		m.query(c, o)
	case OpSessionID, OpSessionAttach, OpSessionDetach, OpSessionClose, OpSessionInfo, OpSessionList, OpSessionKill, OpReset:
		m.sessionOp(c, o)
	case OpUnblock:
		m.reply(c, o.Seq, m.unblock(ConnID(o.Target), o.Flags&FlagError != 0))
	case OpKillConn:
		m.reply(c, o.Seq, m.killConn(ConnID(o.Target)))
	case OpConfigSet:
		m.configSet(c, o)
	case OpDescribe:
		c.name = string(o.Name)
		m.reply(c, o.Seq, 0)
	case OpOpen, OpEnd, OpInvalid, opCodes:
		m.reply(c, o.Seq, 0)
	}
}

// refusable tells the lock and session ops from the rest.
func refusable(code OpCode) bool {
	switch code {
	case OpSessionAttach, OpSessionDetach, OpReset, OpUnblock, OpKillConn, OpConfigSet, OpDescribe, OpOpen, OpEnd:
		return false
	default:
		return true
	}
}

// unblock ends the wait of a blocked connection; it returns 1, or 0 if that does not wait.
func (m *Machine) unblock(id ConnID, asError bool) int64 {
	c := m.conns[id]
	if c == nil || c.blocked == nil {
		return 0
	}
	w := c.blocked.w
	if w.cmd == OpTryLock && !asError {
		m.stats.Timeouts++
		m.endWait(w, answer{})
		return 1
	}
	m.stats.Cancelled++
	m.endWait(w, answer{code: CodeCancelled, why: WhyUnblocked})
	return 1
}

// killConn ends a connection; its node is told to close it even if the machine
// does not know it yet.
func (m *Machine) killConn(id ConnID) int64 {
	c := m.conns[id]
	m.eff.Events = append(m.eff.Events, Event{Kind: EventClose, Conn: id, Why: WhySessionKilled})
	if c == nil {
		return 0
	}
	m.endConn(c, WhyConnClosed)
	return 1
}
