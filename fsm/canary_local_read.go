//go:build canary_local_read

package fsm

// Peek answers a query from the state as it is, without an entry.
func (m *Machine) Peek(o *Op) (r Reply, ok bool) {
	c := m.conns[o.Conn]
	switch o.Code {
	case OpLockCount, OpFence, OpIsLocked, OpIsOwner, OpLeaseTime:
	default:
		return r, false
	}
	if c == nil || c.blocked != nil || o.Seq != c.seq+1 {
		return r, false
	}
	n := len(m.eff.Replies)
	m.query(c, o)
	if len(m.eff.Replies) == n {
		return r, false
	}
	r = m.eff.Replies[n]
	m.eff.Replies = m.eff.Replies[:n]
	return r, true
}
