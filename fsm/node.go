package fsm

import (
	"cmp"
	"slices"
)

// node is one node's newest incarnation.
type node struct {
	rec
	name     string
	inc      Incarnation
	nonce    Nonce
	alive    bool
	extended bool   // a new term gave it time already, since its last keepalive
	ka       uint64 // the last keepalive counted
	batch    uint64 // the last batch applied
	drawn    uint64 // sessions drawn in this incarnation
	diskFull bool
	deadline timer[*node] // runs while it has connections here
	at       int64        // the deadline, also while the timer is stopped

	conns []*conn
}

func (n *node) appendKey(dst []byte) []byte { return append(append(dst, kindNode), n.name...) }

func (n *node) appendValue(dst []byte) []byte {
	dst = appendUints(dst, uint64(n.inc), n.ka, n.batch, n.drawn)
	dst = append(dst, n.nonce[:]...)
	dst = appendBool(appendBool(appendBool(dst, n.alive), n.extended), n.diskFull)
	return appendInts(dst, n.at)
}

func (n *node) forget(*Machine) {}

// register gives a node a new incarnation and ends the one before.
func (m *Machine) register(r *Register) {
	n := m.nodes[r.Node]
	if n != nil && n.nonce == r.Nonce {
		m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Incarnation: n.inc, Newest: n.inc})
		return
	}
	var newest Incarnation
	if n != nil {
		newest = n.inc
	}
	if newest != r.Replaces {
		m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Newest: newest})
		return
	}
	if n == nil {
		n = &node{name: r.Node}
		n.deadline.it = n
		m.nodes[n.name] = n
	} else if n.alive {
		m.endSessions(m.endIncarnation(n), WhyNodeLost)
	}
	m.meta.incs++
	n.inc, n.nonce, n.alive, n.extended = Incarnation(m.meta.incs), r.Nonce, true, false
	n.ka, n.batch, n.drawn, n.diskFull = 0, 0, 0, false
	n.at = m.meta.now + m.settings.SessionTimeout
	n.deadline.ord = uint64(n.inc)
	m.live[n.inc] = n
	m.touch(n)
	m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Incarnation: n.inc, Newest: n.inc})
}

// keepalive vouches for an incarnation. Each number counts once.
func (m *Machine) keepalive(k *Keepalive) {
	n := m.live[k.Incarnation]
	m.eff.Keepalives = append(m.eff.Keepalives, KeepaliveResult{Incarnation: k.Incarnation, Number: k.Number, Ended: n == nil})
	if n == nil || k.Number <= n.ka {
		return
	}
	n.ka, n.extended, n.diskFull = k.Number, false, k.DiskFull
	m.vouch(n)
	for _, id := range k.Contacts {
		if s := m.sessions[id]; s != nil {
			m.contact(s)
		}
	}
}

// vouch makes the incarnation's deadline at least a session-timeout from now.
func (m *Machine) vouch(n *node) {
	n.at = max(n.at, m.meta.now+m.settings.SessionTimeout)
	if len(n.conns) > 0 {
		m.nodeTimers.set(&n.deadline, n.at)
	}
	m.touch(n)
}

// extend is done by the first entry of a new term: nodes get a session-timeout,
// named sessions the time that passed since the last entry.
func (m *Machine) extend(time int64) {
	gap := max(0, time-m.meta.now)
	for _, n := range m.liveNodes() {
		if !n.extended {
			n.extended = true
			n.at = max(n.at, m.meta.now+gap+m.settings.SessionTimeout)
			if n.deadline.pos != 0 {
				m.nodeTimers.set(&n.deadline, n.at)
			}
			m.touch(n)
		}
	}
	if gap == 0 {
		return
	}
	m.sessionTimers.shift(gap)
	for _, t := range slices.SortedFunc(slices.Values(m.sessionTimers.h), func(a, b *timer[*session]) int { return cmp.Compare(a.ord, b.ord) }) {
		m.touch(t.it)
	}
}

// liveNodes returns the nodes with a live incarnation, oldest incarnation first.
func (m *Machine) liveNodes() []*node {
	ns := make([]*node, 0, len(m.live))
	for _, n := range m.live {
		ns = append(ns, n)
	}
	slices.SortFunc(ns, func(a, b *node) int { return cmp.Compare(a.inc, b.inc) })
	return ns
}

// endIncarnation ends all connections of a node's incarnation and returns the
// anonymous sessions that end with them, still to be ended.
func (m *Machine) endIncarnation(n *node) []*session {
	n.alive = false
	delete(m.live, n.inc)
	m.nodeTimers.stop(&n.deadline)
	m.eff.Ended = append(m.eff.Ended, n.inc)
	m.touch(n)
	conns := slices.Clone(n.conns)
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	var due []*session
	for _, c := range conns {
		if s := m.leave(c); s != nil {
			due = append(due, s)
		}
	}
	return due
}

// sessionsDue ends, together, the incarnations and sessions whose time is over.
func (m *Machine) sessionsDue() {
	now := m.meta.now
	var lost, expired []*session
	for t := m.nodeTimers.due(now); t != nil; t = m.nodeTimers.due(now) {
		lost = append(lost, m.endIncarnation(t.it)...)
	}
	for t := m.sessionTimers.due(now); t != nil; t = m.sessionTimers.due(now) {
		s := t.it
		if s.blocked > 0 { // a command under way counts as speaking
			m.contact(s)
			continue
		}
		m.sessionTimers.stop(t)
		expired = append(expired, s)
	}
	if len(lost)+len(expired) == 0 {
		return
	}
	for _, s := range lost {
		s.why = WhyNodeLost
	}
	for _, s := range expired {
		s.why = WhySessionExpired
	}
	m.endAll(append(lost, expired...))
}

// diskFull reports whether any live node's disk is nearly full.
func (m *Machine) diskFull() bool {
	for _, n := range m.live {
		if n.diskFull {
			return true
		}
	}
	return false
}

// batch applies a node's batch if it is the next one.
func (m *Machine) batch(b *Batch) {
	r := BatchResult{Incarnation: b.Incarnation, Number: b.Number}
	n := m.live[b.Incarnation]
	switch {
	case n == nil:
		r.Status = BatchEnded
	case b.Number <= n.batch:
		r.Status = BatchRepeated
	case b.Number != n.batch+1:
		r.Status = BatchEarly
	default:
		r.Status = BatchApplied
		n.batch = b.Number
		m.touch(n)
	}
	m.eff.Batches = append(m.eff.Batches, r)
	if r.Status != BatchApplied {
		return
	}
	for i := range b.Ops {
		m.op(n, &b.Ops[i])
	}
}
