package fsm_test

import (
	"maps"
	"slices"
	"strconv"

	"github.com/redlockd/redlockd/fsm"
)

// entry applies one entry, in the order of DESIGN.md section 3.
func (m *model) entry(term uint64, time int64, keepalives []fsm.Keepalive, items []fsm.Item) {
	m.replies, m.refused, m.ended, m.closed = map[fsm.Address]mReply{}, map[fsm.Address]bool{}, nil, map[fsm.ConnID]bool{}
	if m.term != 0 && term != m.term {
		m.extend(max(0, time-m.now))
	}
	m.term, m.now = term, max(m.now, time)
	for _, k := range keepalives {
		m.keepalive(k)
	}
	m.elapse()
	for i := range items {
		switch it := &items[i]; it.Kind {
		case fsm.ItemRegister:
			m.register(&it.Register)
		case fsm.ItemBatch:
			m.batch(&it.Batch)
		}
	}
}

func (m *model) elapse() {
	for _, w := range slices.Clone(m.waits) {
		if w.until != 0 && w.until <= m.now {
			m.endWait(w, mReply{}, true)
		} else if w.orphan != 0 && w.orphan <= m.now {
			m.endWait(w, mReply{}, false)
		}
	}
	var due []*mSession
	for _, n := range m.nodes {
		if n.alive && m.hasConns(n) && n.at <= m.now {
			due = append(due, m.endNode(n)...)
		}
	}
	for _, s := range m.named {
		if s.live && s.deadline != 0 && s.deadline <= m.now {
			if m.blocked(s) {
				m.contact(s)
				continue
			}
			if again := m.mayHaveSpoken(s); again != 0 {
				s.deadline = again
				continue
			}
			due = append(due, s)
		}
	}
	m.endSessions(due)
	// Leases and claims end in the order of their times, then of their fences; a
	// hand-over may bring the next one, but not one that is due.
	for {
		key, at := "", int64(0)
		for _, k := range slices.Sorted(maps.Keys(m.holds)) {
			h := m.holds[k]
			t := h.end
			if h.claim != 0 && (t == 0 || h.claim < t) {
				t = h.claim
			}
			if t != 0 && t <= m.now && (key == "" || t < at || t == at && h.fence < m.holds[key].fence) {
				key, at = k, t
			}
		}
		if key == "" {
			break
		}
		m.lose(key, false)
	}
	m.forgetDue()
}

func (m *model) blocked(s *mSession) bool {
	return slices.ContainsFunc(m.conns, func(c *mConn) bool { return c.sess == s && c.in && c.blocked != nil })
}

func (m *model) hasConns(n *mNode) bool {
	return slices.ContainsFunc(m.conns, func(c *mConn) bool { return c.node == n })
}

func (m *model) attachedTo(s *mSession) []*mConn {
	var cs []*mConn
	for _, c := range m.conns {
		if c.sess == s && c.in {
			cs = append(cs, c)
		}
	}
	return cs
}

func (m *model) node(inc fsm.Incarnation) *mNode {
	for _, n := range m.nodes {
		if n.inc == inc && n.alive {
			return n
		}
	}
	return nil
}

// mayHaveSpoken says when the first node that may know of a late word has told it or
// has ended; 0: no node may.
func (m *model) mayHaveSpoken(s *mSession) int64 {
	first := int64(0)
	for _, c := range m.attachedTo(s) {
		if c.node.seen < s.spoken+s.ttl && (first == 0 || c.node.at < first) {
			first = c.node.at
		}
	}
	return first
}

func (m *model) extend(gap int64) {
	for _, n := range m.nodes {
		if n.alive && !n.extended {
			n.full = n.full && n.at > m.now
			n.extended, n.at = true, max(n.at, m.now+gap+m.timeout)
		}
	}
	for _, s := range m.named {
		if s.live && s.deadline != 0 {
			s.deadline += gap
			s.spoken += gap
		}
	}
}

func (m *model) keepalive(k fsm.Keepalive) {
	n := m.node(k.Incarnation)
	if n == nil || k.Number <= n.ka {
		return
	}
	n.ka, n.extended, n.full = k.Number, false, k.DiskFull
	n.at = max(n.at, m.now+m.timeout)
	n.seen = max(n.seen, k.Seen)
	for _, id := range k.Contacts {
		for _, s := range m.named {
			if s.live && s.id == id {
				m.contact(s)
			}
		}
	}
}

func (m *model) diskFull() bool {
	return slices.ContainsFunc(m.nodes, func(n *mNode) bool { return n.alive && n.full && n.at > m.now })
}

func (m *model) register(r *fsm.Register) {
	i := slices.IndexFunc(m.nodes, func(n *mNode) bool { return n.name == r.Node })
	var old *mNode
	if i >= 0 {
		old = m.nodes[i]
		if old.nonce == r.Nonce || old.inc != r.Replaces {
			return
		}
		if old.alive {
			m.endSessions(m.endNode(old))
		}
		m.nodes = slices.Delete(m.nodes, i, i+1)
	} else if r.Replaces != 0 {
		return
	}
	m.incs++
	m.nodes = append(m.nodes, &mNode{name: r.Node, inc: fsm.Incarnation(m.incs), nonce: r.Nonce, alive: true, at: m.now})
}

// endNode ends the connections of an incarnation and returns their anonymous
// sessions, which end together with what else is due.
func (m *model) endNode(n *mNode) []*mSession {
	n.alive = false
	m.ended = append(m.ended, n.inc)
	var due []*mSession
	for _, c := range slices.Clone(m.conns) {
		if c.node == n {
			if s := m.leave(c); s != nil {
				due = append(due, s)
			}
		}
	}
	return due
}

func (m *model) batch(b *fsm.Batch) {
	n := m.node(b.Incarnation)
	if n == nil || b.Number != n.batch+1 {
		return
	}
	n.batch++
	for i := range b.Ops {
		m.op(n, &b.Ops[i])
	}
}

func (m *model) op(n *mNode, o *fsm.Op) {
	i := slices.IndexFunc(m.conns, func(c *mConn) bool { return c.id == o.Conn })
	switch {
	case o.Code == fsm.OpEnd:
		if i >= 0 {
			m.endConn(m.conns[i])
		}
		return
	case i < 0 && o.Code == fsm.OpOpen && o.Seq == 1:
		m.open(n, o)
		return
	case i < 0:
		m.closed[o.Conn] = true
		return
	}
	c := m.conns[i]
	switch {
	case c.blocked != nil || o.Seq > c.seq+1:
		m.refused[fsm.Address{Conn: o.Conn, Seq: o.Seq}] = true
	case o.Seq == c.seq+1:
		c.seq = o.Seq
		m.spoke(c.sess, c)
		m.do(c, o)
	}
}

// spoke notes that something came from a connection of a HEARTBEAT session.
func (m *model) spoke(s *mSession, c *mConn) {
	if c.in && s.hb && s.live {
		m.contact(s)
	}
}

func (m *model) open(n *mNode, o *fsm.Op) {
	if !m.hasConns(n) {
		n.at = max(n.at, m.now+m.timeout)
	}
	c := &mConn{id: o.Conn, seq: 1, node: n, in: true, sess: &mSession{id: o.Conn.Session(), live: true}}
	m.conns = append(m.conns, c)
	m.reply(c, 1, fsm.CodeOK, 0)
}

func (m *model) do(c *mConn, o *fsm.Op) {
	if c.refusal != fsm.CodeOK {
		switch o.Code {
		case fsm.OpSessionAttach, fsm.OpSessionDetach, fsm.OpReset, fsm.OpUnblock, fsm.OpKillConn, fsm.OpConfigSet, fsm.OpDescribe:
		default:
			m.reply(c, o.Seq, c.refusal, 0)
			return
		}
	}
	switch o.Code {
	case fsm.OpLock, fsm.OpTryLock:
		m.lock(c, o)
	case fsm.OpUnlock:
		m.unlock(c, o)
	case fsm.OpForceUnlock:
		m.forceUnlock(c, o)
	case fsm.OpRenew:
		m.renew(c, o)
	case fsm.OpUnwait:
		m.unwait(c, o)
	case fsm.OpDestroy:
		m.destroy(c, o)
	case fsm.OpUndestroy:
		n := int64(0)
		if m.destroyed[string(o.Key)] {
			n = 1
		}
		delete(m.destroyed, string(o.Key))
		m.reply(c, o.Seq, fsm.CodeOK, n)
	case fsm.OpLockCount, fsm.OpIsLocked, fsm.OpIsOwner:
		m.ask(c, o)
	case fsm.OpFence, fsm.OpLeaseTime, fsm.OpLockInfo, fsm.OpLockWaiters, fsm.OpLockScan:
		m.query(c, o)
	case fsm.OpConfigSet:
		m.configSet(c, o)
	default:
		m.sessionOp(c, o)
	}
}

func (m *model) configSet(c *mConn, o *fsm.Op) {
	n, err := strconv.Atoi(string(o.Value))
	switch string(o.Name) {
	case fsm.SettingAcquireLimit:
		if err != nil || n < 0 {
			m.reply(c, o.Seq, fsm.CodeErr, 0)
			return
		}
		m.acquireLimit = int64(n)
	case fsm.SettingMaxWaiters:
		if err != nil || n < 1 {
			m.reply(c, o.Seq, fsm.CodeErr, 0)
			return
		}
		m.maxWaiters = n
	}
	m.reply(c, o.Seq, fsm.CodeOK, 0)
}
