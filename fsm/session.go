package fsm

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/redlockd/redlockd/internal/canary"
)

// session keeps holds alive. An anonymous one lives and goes with its
// connection. A named one stays as a shell after its end, while connections,
// notices or request IDs still refer to its name.
type session struct {
	rec
	id        SessionID // of its present or last life
	name      string
	live      bool
	why       Why // how its last life ended
	ttl       int64
	heartbeat bool
	last      int64 // of a named session: when it was last attached, detached or spoken for
	deadline  timer[*session]

	conns   []*conn // attached ones
	linked  int     // connections that refer to it, attached or not
	blocked int     // callers that wait for a reply
	holds   []*lock
	waits   []*wait
	memos   []*memo
	ids     int64
	notices map[claimKey][]*notice
}

func (s *session) appendKey(dst []byte) []byte {
	if s.name != "" {
		return append(append(dst, kindSession, 'n'), s.name...)
	}
	return appendID(append(dst, kindSession), 'a', uint64(s.id))
}

func (s *session) appendValue(dst []byte) []byte {
	dst = append(appendUints(dst, uint64(s.id)), byte(s.why))
	dst = appendBool(appendBool(dst, s.live), s.heartbeat)
	at := int64(-1)
	if s.deadline.pos != 0 {
		at = s.deadline.at
	}
	return appendInts(dst, s.ttl, s.last, at)
}

// appendRef appends what another record needs to find the session.
func (s *session) appendRef(dst []byte) []byte {
	if s == nil {
		return append(dst, 0)
	}
	if s.name != "" {
		return appendString(append(dst, 1), s.name)
	}
	return appendUints(append(dst, 2), uint64(s.id))
}

func (s *session) forget(m *Machine) {
	if s.name != "" && m.named[s.name] == s {
		delete(m.named, s.name)
	}
}

// anonymous gives c an anonymous session of its own.
func (m *Machine) anonymous(c *conn, id SessionID) {
	s := &session{id: id, live: true, last: m.meta.now}
	s.deadline.it = s
	m.sessions[id] = s
	c.session, c.life = s, id
	bagAdd(&s.conns, c, &c.sessPos)
	m.touch(s)
	m.touch(c)
}

// draw returns an unused session id of the node's incarnation. When all have been
// given, which a pool that says RESET at each return does in some days, it goes on
// with those whose sessions have ended.
func (m *Machine) draw(n *node) SessionID {
	m.touch(n)
	for {
		n.drawn++
		k := n.drawn & (drawnSessions - 1)
		id := SessionID(n.inc.Conn(0)) | drawnSessions | SessionID(k)
		if k != 0 && m.sessions[id] == nil {
			return id
		}
	}
}

// begin starts a new life of a named session.
func (m *Machine) begin(s *session, n *node) {
	s.id, s.live, s.why, s.last = m.draw(n), true, WhyNone, m.meta.now
	s.deadline.it, s.deadline.ord = s, uint64(s.id)
	m.sessions[s.id] = s
	s.gone = false
	m.touch(s)
}

// join attaches c to the present life of s, which it refers to already.
func (m *Machine) join(c *conn, s *session) {
	c.life = s.id
	bagAdd(&s.conns, c, &c.sessPos)
	m.contact(s)
	m.touch(c)
	m.attachedEvent(c)
}

func (m *Machine) attachedEvent(c *conn) {
	m.eff.Events = append(m.eff.Events, Event{Kind: EventAttached, Conn: c.id, Session: c.life, Heartbeat: c.session.heartbeat})
}

// contact notes that a connection of s spoke, and sets its deadline anew. What is
// said to a node comes here with its next keepalive: what was said within the TTL may
// come up to a session-timeout later, while the node lives.
func (m *Machine) contact(s *session) {
	if s.name == "" {
		return
	}
	s.last = m.meta.now
	switch {
	case len(s.conns) == 0:
		m.sessionTimers.set(&s.deadline, m.meta.now+s.ttl)
	case s.heartbeat && canary.HeartbeatStrict: // what was said to a node in time comes too late
		m.sessionTimers.set(&s.deadline, m.meta.now+s.ttl)
	case s.heartbeat:
		m.sessionTimers.set(&s.deadline, m.meta.now+s.ttl+m.settings.SessionTimeout)
	default:
		m.sessionTimers.stop(&s.deadline)
	}
	m.touch(s)
}

// part takes c off the conns of its session, if it is attached.
func (m *Machine) part(c *conn) {
	s := c.attached()
	if s == nil {
		return
	}
	bagDel(&s.conns, c.sessPos, func(c *conn) *int32 { return &c.sessPos })
	c.life = 0
	m.touch(c)
	if s.name != "" && s.live {
		m.contact(s)
	}
}

// unlink ends c's reference to its named session.
func (m *Machine) unlink(c *conn) {
	s := c.session
	m.part(c)
	s.linked--
	m.retire(s)
}

// retire drops the shell of an ended named session that nobody refers to.
func (m *Machine) retire(s *session) {
	if !s.live && s.name != "" && s.linked == 0 && len(s.memos) == 0 && len(s.notices) == 0 {
		m.drop(s)
	}
}

// endSessions ends sessions for one reason.
func (m *Machine) endSessions(all []*session, why Why) {
	for _, s := range all {
		s.why = why
	}
	m.endAll(all)
}

// endAll ends sessions together: all their waits first, so that none is granted
// what another one leaves, then their holds in the order of their fences.
func (m *Machine) endAll(all []*session) {
	var waits []*wait
	var holds []*lock
	for _, s := range all {
		s.live = false
		m.sessionTimers.stop(&s.deadline)
		delete(m.sessions, s.id)
		waits, holds = append(waits, s.waits...), append(holds, s.holds...)
	}
	slices.SortFunc(waits, func(a, b *wait) int { return cmp.Compare(a.num, b.num) })
	for _, w := range waits {
		if canary.GrantToEnded { // they stay in line
			break
		}
		m.endWait(w, answer{code: CodeNoSession, why: w.session.why, forget: true})
	}
	slices.SortFunc(holds, func(a, b *lock) int { return cmp.Compare(a.fence, b.fence) })
	for _, l := range holds {
		m.lose(l, l.session.why, "")
	}
	for _, s := range all {
		m.ended(s)
	}
}

// ended clears up after a session whose waits and holds are gone.
func (m *Machine) ended(s *session) {
	if s.name != "" || s.why != WhyConnClosed {
		m.eff.Sessions = append(m.eff.Sessions, SessionEnd{ID: s.id, Name: s.name, Why: s.why})
	}
	conns := slices.Clone(s.conns)
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	s.conns = nil
	for _, c := range conns {
		c.life = 0
		if s.name != "" {
			m.touch(c)
			m.eff.Events = append(m.eff.Events, Event{Kind: EventDetached, Conn: c.id, Session: s.id, Why: s.why})
		}
	}
	if s.name == "" {
		m.forgetAll(s)
		m.drop(s)
		return
	}
	notices := s.allNotices()
	m.rearmed += len(notices) + len(s.memos) // those of earlier lives too, each time
	for _, n := range notices {
		m.noticeTimers.set(&n.expire, m.meta.now+10*s.ttl)
		m.touch(n)
	}
	for _, o := range slices.SortedFunc(slices.Values(s.memos), byNumber) {
		m.keepMemo(o)
	}
	m.touch(s)
	m.retire(s)
}

// forgetAll drops the memories of an anonymous session.
func (m *Machine) forgetAll(s *session) {
	for _, o := range slices.SortedFunc(slices.Values(s.memos), byNumber) {
		m.dropMemo(o)
	}
	for _, n := range s.allNotices() {
		m.eraseNotice(n)
	}
	s.notices = nil
}

// allNotices returns the session's notices, oldest first.
func (s *session) allNotices() []*notice {
	var all []*notice
	for _, ns := range s.notices {
		all = append(all, ns...)
	}
	slices.SortFunc(all, func(a, b *notice) int { return cmp.Compare(a.n, b.n) })
	return all
}

// find returns the live session with this id or name, or nil.
func (m *Machine) find(idOrName string) *session {
	if id, err := strconv.ParseUint(idOrName, 10, 64); err == nil {
		if s := m.sessions[SessionID(id)]; s != nil {
			return s
		}
	}
	if s := m.named[idOrName]; s != nil && s.live {
		return s
	}
	return nil
}

// reopen gives a connection whose named session was closed a new life of it. It
// reports whether the connection is now in a session; if not, it has answered.
func (m *Machine) reopen(c *conn, o *Op) bool {
	if c.life != 0 {
		return true
	}
	s := c.session
	if !s.live {
		if m.sessionLimit() {
			m.refuse(c, o.Seq, CodeLimit, limitDetail(SettingMaxSessions, m.settings.MaxSessions))
			return false
		}
		m.begin(s, c.node)
	}
	m.join(c, s)
	return true
}

func (m *Machine) sessionLimit() bool { return int64(len(m.sessions)) >= m.settings.MaxSessions }
