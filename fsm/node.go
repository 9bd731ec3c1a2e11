package fsm

import (
	"cmp"
	"slices"

	"github.com/redlockd/redlockd/internal/canary"
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
	disk     string // empty: not known
	announce string
	// mark and hash are what it last reported of its state; 0: nothing yet.
	mark, hash uint64
	seen       int64        // what its clients had said by then has come here; 0: not known
	deadline   timer[*node] // runs while it has connections here
	at         int64        // the deadline, also while the timer is stopped

	conns []*conn
}

func (n *node) appendKey(dst []byte) []byte { return append(append(dst, kindNode), n.name...) }

func (n *node) appendValue(dst []byte) []byte {
	dst = appendUints(dst, uint64(n.inc), n.ka, n.batch, n.drawn)
	dst = append(dst, n.nonce[:]...)
	dst = appendBool(appendBool(appendBool(dst, n.alive), n.extended), n.diskFull)
	dst = appendInts(dst, n.at)
	if n.disk == "" && n.announce == "" && n.mark == 0 && n.seen == 0 {
		return dst // as nodes were recorded before there were several
	}
	dst = appendString(appendString(dst, n.disk), n.announce)
	dst = appendUints(dst, n.mark, n.hash)
	if n.seen == 0 {
		return dst // as nodes were recorded before they said so
	}
	return appendInts(dst, n.seen)
}

func (n *node) forget(*Machine) {}

// register gives a node a new incarnation and ends the one before.
func (m *Machine) register(r *Register) {
	n := m.nodes[r.Node]
	if n != nil && n.nonce == r.Nonce && !canary.NonceForgotten { // canary: an attempt that comes again is another one
		m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Incarnation: n.inc, Newest: n.inc})
		return
	}
	var newest Incarnation
	if n != nil {
		newest = n.inc
	}
	if n != nil && n.disk != "" && r.Disk != "" && n.disk != r.Disk {
		m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Newest: newest, Disk: n.disk})
		return
	}
	if newest != r.Replaces && !canary.RegisterAny { // canary: a late registration ends a newer incarnation
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
	n.ka, n.batch, n.drawn, n.diskFull, n.mark, n.hash, n.seen = 0, 0, 0, false, 0, 0, 0
	n.announce = r.Announce
	if r.Disk != "" {
		n.disk = r.Disk
	}
	n.at = m.meta.now // the first connection gives it a session-timeout
	n.deadline.ord = uint64(n.inc)
	m.live[n.inc] = n
	m.touch(n)
	m.eff.Registered = append(m.eff.Registered, Registered{Node: r.Node, Nonce: r.Nonce, Incarnation: n.inc, Newest: n.inc})
}

// keepalive vouches for an incarnation. Each number counts once.
func (m *Machine) keepalive(k *Keepalive) {
	n := m.live[k.Incarnation]
	m.eff.Keepalives = append(m.eff.Keepalives, KeepaliveResult{Incarnation: k.Incarnation, Number: k.Number, Ended: n == nil})
	if n == nil || k.Number <= n.ka && !canary.KeepaliveTwice { // canary: a copy of an old keepalive vouches again
		return
	}
	n.ka, n.extended, n.diskFull, n.seen = k.Number, false, k.DiskFull, max(n.seen, k.Seen)
	m.vouch(n)
	m.compare(n, k)
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
		if !n.extended && !canary.TermNoTime { // canary: a change of leader ends incarnations
			n.extended = true
			n.diskFull = n.diskFull && n.at > m.meta.now // a word that is over does not begin anew
			n.at = max(n.at, m.meta.now+gap+m.settings.SessionTimeout)
			if n.deadline.pos != 0 {
				m.nodeTimers.set(&n.deadline, n.at)
			}
			m.touch(n)
		}
	}
	if gap == 0 || canary.TermNoTTL { // canary: sessions end by the time without a leader
		return
	}
	m.sessionTimers.shift(gap)
	for _, t := range slices.SortedFunc(slices.Values(m.sessionTimers.h), func(a, b *timer[*session]) int { return cmp.Compare(a.ord, b.ord) }) {
		t.it.last += gap
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
	if !canary.IncarnationRevived { // canary: an ended incarnation goes on
		delete(m.live, n.inc)
	}
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
		if at, ok := m.unheard(s); ok {
			m.sessionTimers.set(t, at)
			m.touch(s)
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
	if canary.EndsOneByOne { // what one leaves is granted to the next, which ends in the same entry
		for _, s := range append(lost, expired...) {
			m.endAll([]*session{s})
		}
		return
	}
	m.endAll(append(lost, expired...))
}

// unheard reports whether something that was said for a HEARTBEAT session within its
// TTL may still be with a node, and when to look again: by then the node has been
// heard, or has ended, from when on the session has a TTL.
func (m *Machine) unheard(s *session) (at int64, ok bool) {
	if canary.HeartbeatUnheard { // what a node has not told yet was never said
		return 0, false
	}
	for _, c := range s.conns {
		if n := c.node; n.seen < s.last+s.ttl && (!ok || n.at < at) {
			at, ok = n.at, true
		}
	}
	return max(at, m.meta.now+1), ok
}

// diskFull reports whether any node's disk is nearly full. What a node has said of that
// counts for as long as its keepalive does: a full disk is what nodes die of, and the
// incarnation of one without connections does not end by silence.
func (m *Machine) diskFull() bool {
	for _, n := range m.live {
		if n.diskFull && (n.at > m.meta.now || canary.DiskUnseen) { // canary: what was said counts for ever
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
	case canary.BatchTwice && b.Number == n.batch: // a copy is applied like the first
		r.Status = BatchApplied
	case b.Number <= n.batch:
		r.Status = BatchRepeated
	case b.Number != n.batch+1 && !canary.BatchGap: // canary: a number may be skipped, and what it carried is lost
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

// compare takes in what a node reports of its state. A node that differs from
// more than half of the live ones has diverged; where all have reported and no
// value has a majority, all have.
func (m *Machine) compare(n *node, k *Keepalive) {
	if k.HashIndex <= n.mark {
		return
	}
	n.mark, n.hash = k.HashIndex, k.Hash
	nodes := m.liveNodes()
	known, most := 0, 0
	var majority uint64
	for _, a := range nodes {
		if a.mark != n.mark {
			continue
		}
		known++
		same := 0
		for _, b := range nodes {
			if b.mark == n.mark && b.hash == a.hash {
				same++
			}
		}
		if same > most {
			most, majority = same, a.hash
		}
	}
	none := most*2 <= len(nodes)
	if most == known || none && known < len(nodes) {
		return
	}
	for _, a := range nodes {
		if a.mark == n.mark && (none || a.hash != majority) {
			m.eff.Diverged = append(m.eff.Diverged, a.inc)
		}
	}
}

// removeNode takes a node out that is no longer a member. Its number stays, so
// that nothing of its old life is taken for a new one.
func (m *Machine) removeNode(name string) {
	n := m.nodes[name]
	if n == nil {
		return
	}
	if n.alive {
		m.endSessions(m.endIncarnation(n), WhyNodeLost)
	}
	n.disk, n.announce, n.mark, n.hash, n.seen = "", "", 0, 0, 0
	m.touch(n)
}
