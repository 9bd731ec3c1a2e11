package fsm_test

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/redlockd/redlockd/fsm"
)

func (m *model) sessionOp(c *mConn, o *fsm.Op) {
	n := int64(0)
	switch o.Code {
	case fsm.OpSessionID:
		if c.in {
			n = int64(c.sess.id)
		}
	case fsm.OpSessionAttach:
		m.attach(c, o)
		return
	case fsm.OpSessionDetach:
		c.refusal = fsm.CodeOK
		if c.sess.name != "" {
			m.leaveSession(c)
		}
	case fsm.OpReset:
		c.refusal = fsm.CodeOK
		m.leaveSession(c)
	case fsm.OpSessionClose:
		if !c.in {
			break
		}
		n = m.holdsOf(c.sess)
		if c.sess.name == "" {
			m.leaveSession(c)
		} else {
			m.endSessions([]*mSession{c.sess})
		}
	case fsm.OpSessionKill:
		m.kill(c, o)
		return
	case fsm.OpUnblock:
		n = m.unblock(fsm.ConnID(o.Target), o.Flags&fsm.FlagError != 0)
	case fsm.OpKillConn:
		m.closed[fsm.ConnID(o.Target)] = true
		for _, x := range m.conns {
			if x.id == fsm.ConnID(o.Target) {
				m.endConn(x)
				n = 1
				break
			}
		}
	}
	m.reply(c, o.Seq, fsm.CodeOK, n)
}

func (m *model) holdsOf(s *mSession) int64 {
	n := int64(0)
	for _, h := range m.holds {
		if h.owner.sess == s && !h.owner.keep {
			n++
		}
	}
	return n
}

func (m *model) unblock(id fsm.ConnID, asError bool) int64 {
	for _, c := range m.conns {
		if c.id == id && c.blocked != nil {
			r := mReply{fsm.CodeCancelled, 0}
			if c.blocked.cmd == fsm.OpTryLock && !asError {
				r = mReply{}
			}
			m.endWait(c.blocked, r, true)
			return 1
		}
	}
	return 0
}

// draw gives the next session id of the connection's incarnation (ids.go).
func (m *model) draw(n *mNode) fsm.SessionID {
	n.drawn++
	return fsm.SessionID(uint64(n.inc)<<32 | 1<<31 | n.drawn)
}

func (m *model) attach(c *mConn, o *fsm.Op) {
	name, s := string(o.Name), m.named[string(o.Name)]
	if code := m.mayAttach(c, o, s); code != fsm.CodeOK {
		if o.Flags&fsm.FlagByName != 0 {
			c.refusal = code
		}
		m.reply(c, o.Seq, code, 0)
		return
	}
	c.refusal = fsm.CodeOK
	if s == nil {
		s = &mSession{name: name}
		m.named[name] = s
	}
	if c.sess != s {
		m.unbind(c)
		old := c.sess
		m.part(c)
		if old.name == "" {
			m.endSessions([]*mSession{old})
		}
	}
	n := int64(0)
	if !s.live {
		s.ttl, s.hb, n = m.timeout, false, 1
		m.begin(s, c.node)
	}
	if o.Lease > 0 {
		s.ttl = o.Lease
	}
	s.hb = s.hb || o.Flags&fsm.FlagHeartbeat != 0
	c.sess, c.in = s, true
	m.contact(s)
	m.reply(c, o.Seq, fsm.CodeOK, n)
}

func (m *model) mayAttach(c *mConn, o *fsm.Op, s *mSession) fsm.Code {
	if c.sess.name == "" {
		if m.holdsOf(c.sess) > 0 || slices.ContainsFunc(m.waits, func(w *mWait) bool { return w.owner.sess == c.sess }) {
			return fsm.CodeErr
		}
	}
	ttl, hb := m.timeout, o.Flags&fsm.FlagHeartbeat != 0
	if s != nil && s.live {
		ttl, hb = s.ttl, hb || s.hb
	}
	if o.Lease > 0 {
		ttl = o.Lease
	}
	if hb && ttl < m.timeout {
		return fsm.CodeErr
	}
	return fsm.CodeOK
}

func (m *model) begin(s *mSession, n *mNode) { s.id, s.live = m.draw(n), true }

func (m *model) reopen(c *mConn) {
	if c.in {
		return
	}
	if !c.sess.live {
		m.begin(c.sess, c.node)
	}
	c.in = true
	m.contact(c.sess)
}

// contact sets a named session's deadline anew.
func (m *model) contact(s *mSession) {
	if s.name == "" {
		return
	}
	s.deadline, s.spoken = 0, m.now
	switch {
	case len(m.attachedTo(s)) == 0:
		s.deadline = m.now + s.ttl
	case s.hb:
		s.deadline = m.now + s.ttl + m.timeout
	}
}

// part takes the connection out of its session.
func (m *model) part(c *mConn) {
	if !c.in {
		return
	}
	c.in = false
	if c.sess.live {
		m.contact(c.sess)
	}
}

// leaveSession moves the connection to a new anonymous session.
func (m *model) leaveSession(c *mConn) {
	m.unbind(c)
	old := c.sess
	m.part(c)
	if old.name == "" {
		m.endSessions([]*mSession{old})
	}
	c.sess, c.in = &mSession{id: m.draw(c.node), live: true}, true
}

// unbind ends the connection's share in its waits and in what it was to claim.
func (m *model) unbind(c *mConn) {
	for _, w := range slices.Clone(m.waits) {
		n := len(w.callers)
		w.callers = slices.DeleteFunc(w.callers, func(k mCaller) bool { return k.conn == c })
		if n == 0 || len(w.callers) > 0 {
			continue
		}
		if w.id == "" || w.owner.sess.name == "" {
			m.endWait(w, mReply{}, false)
		} else {
			w.orphan = m.now + w.owner.sess.ttl
		}
	}
	c.blocked = nil
	for _, h := range m.holds {
		if h.claimer == c {
			h.claimer, h.claim = nil, m.now+c.sess.ttl
		}
	}
}

// leave takes the connection out of the state; its anonymous session is returned.
func (m *model) leave(c *mConn) *mSession {
	m.unbind(c)
	m.conns = slices.DeleteFunc(m.conns, func(x *mConn) bool { return x == c })
	if c.sess.name == "" {
		return c.sess
	}
	m.part(c)
	return nil
}

func (m *model) endConn(c *mConn) {
	if s := m.leave(c); s != nil {
		m.endSessions([]*mSession{s})
	}
}

// endSessions ends sessions together: all their waits first, then their holds.
func (m *model) endSessions(due []*mSession) {
	for _, s := range due {
		s.live, s.deadline = false, 0
	}
	for _, w := range slices.Clone(m.waits) {
		if slices.Contains(due, w.owner.sess) {
			m.endWait(w, mReply{fsm.CodeNoSession, 0}, false)
		}
	}
	keys := slices.SortedFunc(maps.Keys(m.holds), func(a, b string) int { return cmp.Compare(m.holds[a].fence, m.holds[b].fence) })
	for _, k := range keys {
		if h := m.holds[k]; !h.owner.keep && slices.Contains(due, h.owner.sess) {
			m.lose(k, true)
		}
	}
	for _, s := range due {
		m.clearUp(s)
	}
}

func (m *model) clearUp(s *mSession) {
	for _, c := range m.conns {
		if c.sess == s {
			c.in = false
		}
	}
	if s.name == "" {
		m.memos = slices.DeleteFunc(m.memos, func(y *mMemo) bool { return y.owner.sess == s })
		m.notices = slices.DeleteFunc(m.notices, func(n *mNotice) bool { return n.owner.sess == s })
		return
	}
	for _, n := range m.notices {
		if n.owner.sess == s {
			n.until = m.now + 10*s.ttl
		}
	}
	for _, y := range m.memos {
		if y.owner.sess == s {
			y.last = m.now
		}
	}
}

func (m *model) kill(c *mConn, o *fsm.Op) {
	s := m.named[string(o.Name)]
	if s == nil || !s.live {
		id, _ := strconv.ParseUint(string(o.Name), 10, 64)
		for _, x := range m.conns {
			if x.in && uint64(x.sess.id) == id {
				s = x.sess
			}
		}
	}
	if s == nil || !s.live {
		m.reply(c, o.Seq, fsm.CodeOK, 0)
		return
	}
	m.reply(c, o.Seq, fsm.CodeOK, 1)
	if s.name != "" {
		m.endSessions([]*mSession{s})
		return
	}
	victim := m.attachedTo(s)[0]
	if victim.blocked != nil {
		m.endWait(victim.blocked, mReply{fsm.CodeNoSession, 0}, false)
	}
	m.closed[victim.id] = true
	m.endConn(victim)
}
