package fsm

import (
	"cmp"
	"slices"
)

// sessionOp carries out the SESSION commands and RESET.
func (m *Machine) sessionOp(c *conn, o *Op) {
	switch o.Code {
	case OpSessionID:
		m.reply(c, o.Seq, int64(c.life))
	case OpSessionAttach:
		m.attach(c, o)
	case OpSessionDetach:
		if c.session.name != "" {
			m.detach(c)
		}
		m.pardon(c)
		m.reply(c, o.Seq, 0)
	case OpReset:
		m.resetConn(c)
		m.reply(c, o.Seq, 0)
	case OpSessionClose:
		m.closeSession(c, o)
	case OpSessionKill:
		m.killSession(c, o)
	case OpSessionInfo:
		s := c.attached()
		if len(o.Name) > 0 {
			s = m.find(string(o.Name))
		}
		if s == nil {
			m.refuse(c, o.Seq, CodeErr, Detail{Why: WhyNoSuchSession, Text: string(o.Name)})
			return
		}
		m.data(c, o.Seq, []SessionInfo{m.describe(s)})
	case OpSessionList:
		all, ok := m.listSessions(string(o.Name))
		if !ok {
			m.refuse(c, o.Seq, CodeErr, Detail{Why: WhyCostly, Number: int64(len(m.sessions))})
			return
		}
		m.data(c, o.Seq, all)
	default:
	}
}

// attach moves a connection to a named session.
func (m *Machine) attach(c *conn, o *Op) {
	code, why := m.mayAttach(c, o)
	if code != CodeOK {
		if o.Flags&FlagByName != 0 {
			c.refusal, c.reason = code, why
		}
		m.refuse(c, o.Seq, code, why)
		return
	}
	c.refusal = CodeOK
	s, old := m.named[string(o.Name)], c.session
	if s == nil {
		s = &session{name: string(o.Name)}
		m.named[s.name] = s
	}
	if s != old {
		m.unbind(c)
		if old.name == "" {
			m.part(c)
			m.endSessions([]*session{old}, WhyReset)
		} else {
			m.unlink(c)
			m.eff.Events = append(m.eff.Events, Event{Kind: EventDetached, Conn: c.id, Session: old.id})
		}
		c.session = s
		s.linked++
	}
	created := !s.live
	if created {
		s.ttl, s.heartbeat = m.settings.SessionTimeout, false
		m.begin(s, c.node)
	}
	m.setTTL(s, o)
	if c.life == 0 {
		m.join(c, s)
	} else {
		m.contact(s)
		m.attachedEvent(c)
	}
	m.data(c, o.Seq, &Attached{Session: s.id, Created: created})
}

// mayAttach says why a connection can not attach; CodeOK if it can.
func (m *Machine) mayAttach(c *conn, o *Op) (Code, Detail) {
	old, s := c.session, m.named[string(o.Name)]
	if old.name == "" && len(old.holds)+len(old.waits) > 0 {
		return CodeErr, Detail{Why: WhyAnonymousHolds, Number: int64(len(old.holds) + len(old.waits)), Text: string(o.Name)}
	}
	ttl, heartbeat := m.settings.SessionTimeout, false
	if s != nil && s.live {
		ttl, heartbeat = s.ttl, s.heartbeat
	} else if n := int64(len(m.sessions)); n > m.settings.MaxSessions || n == m.settings.MaxSessions && old.name != "" {
		return CodeLimit, limitDetail(SettingMaxSessions, m.settings.MaxSessions)
	}
	if o.Lease > 0 {
		ttl = o.Lease
	}
	if (heartbeat || o.Flags&FlagHeartbeat != 0) && ttl < m.settings.SessionTimeout {
		return CodeErr, Detail{Why: WhyHeartbeatTTL, Number: m.settings.SessionTimeout, Text: string(o.Name)}
	}
	return CodeOK, Detail{}
}

// setTTL changes what the attachment names, for all connections of the session.
func (m *Machine) setTTL(s *session, o *Op) {
	if o.Lease > 0 {
		s.ttl = o.Lease
	}
	if o.Flags&FlagHeartbeat != 0 && !s.heartbeat {
		s.heartbeat = true
		conns := slices.Clone(s.conns)
		slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
		for _, c := range conns {
			m.attachedEvent(c)
		}
	}
	m.touch(s)
}

// detach moves a connection from a named session to a new anonymous one.
func (m *Machine) detach(c *conn) {
	id := c.session.id
	m.unbind(c)
	m.unlink(c)
	m.eff.Events = append(m.eff.Events, Event{Kind: EventDetached, Conn: c.id, Session: id})
	m.anonymous(c, m.draw(c.node))
}

// renewAnonymous ends a connection's anonymous session and gives it a new one.
func (m *Machine) renewAnonymous(c *conn, why Why) {
	s := c.session
	m.unbind(c)
	m.part(c)
	m.endSessions([]*session{s}, why)
	m.anonymous(c, m.draw(c.node))
}

func (m *Machine) resetConn(c *conn) {
	if c.session.name != "" {
		m.detach(c)
	} else {
		m.renewAnonymous(c, WhyReset)
	}
	m.pardon(c)
}

func (m *Machine) closeSession(c *conn, o *Op) {
	s := c.attached()
	if s == nil {
		m.reply(c, o.Seq, 0)
		return
	}
	n := int64(len(s.holds))
	if s.name == "" {
		m.renewAnonymous(c, WhySessionClosed)
	} else {
		m.endSessions([]*session{s}, WhySessionClosed)
	}
	m.reply(c, o.Seq, n)
}

func (m *Machine) killSession(c *conn, o *Op) {
	s := m.find(string(o.Name))
	if s == nil {
		m.reply(c, o.Seq, 0)
		return
	}
	m.reply(c, o.Seq, 1)
	if s.name != "" {
		m.endSessions([]*session{s}, WhySessionKilled)
		return
	}
	victim := s.conns[0]
	if k := victim.blocked; k != nil {
		m.endWait(k.w, answer{code: CodeNoSession, why: WhySessionKilled, forget: true})
	}
	m.eff.Events = append(m.eff.Events, Event{Kind: EventClose, Conn: victim.id, Why: WhySessionKilled})
	m.endConn(victim, WhySessionKilled)
}

// describe makes the reply of SESSION INFO.
func (m *Machine) describe(s *session) SessionInfo {
	i := SessionInfo{
		ID: s.id, Name: s.name, Connections: int64(len(s.conns)), TTLMS: s.ttl, Heartbeat: s.heartbeat,
		Holds: int64(len(s.holds)), Waits: int64(len(s.waits)),
	}
	m.shown += 1 + len(s.conns)/perLook
	last := s.last
	var newest ConnID
	for _, c := range s.conns {
		last = max(last, c.last)
		if c.id >= newest {
			newest, i.Node = c.id, c.node.name
		}
	}
	i.IdleMS = m.meta.now - last
	return i
}

// listSessions describes the live sessions whose name, or id where there is no
// name, matches the glob; the oldest id first. It gives up a glob that takes too long.
func (m *Machine) listSessions(glob string) (infos []SessionInfo, ok bool) {
	all := make([]*session, 0, len(m.sessions))
	steps := 0
	for _, s := range m.sessions {
		text := s.name
		if text == "" {
			text = s.id.String()
		}
		n, found := matching(glob, text)
		if glob == "" || found {
			all = append(all, s)
		}
		if steps += n; steps > maxListSteps {
			m.shown = maxShown // whichever session it was at
			return nil, false
		}
	}
	m.shown += len(m.sessions)/perLook + steps/scanUnit
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	infos = make([]SessionInfo, len(all))
	for i, s := range all {
		infos[i] = m.describe(s)
	}
	return infos, true
}
