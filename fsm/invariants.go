package fsm

import "fmt"

// CheckInvariants looks for a state that must never be; for tests. It must not
// be called while an entry is being applied.
func (m *Machine) CheckInvariants() error {
	for _, check := range []func() error{m.checkLocks, m.checkWaits, m.checkSessions, m.checkConns, m.checkMemos, m.checkSums} {
		if err := check(); err != nil {
			return fmt.Errorf("at index %d: %w", m.meta.index, err)
		}
	}
	return nil
}

func (m *Machine) checkLocks() error {
	fences := map[uint64]string{}
	for key, l := range m.locks {
		switch {
		case l.key != key || l.fence == 0 || l.gone || !l.kept:
			return fmt.Errorf("lock %q is kept though it is free", key)
		case l.fence > m.meta.fence || l.count < 1:
			return fmt.Errorf("lock %q has fence %d of %d and count %d", key, l.fence, m.meta.fence, l.count)
		case fences[l.fence] != "":
			return fmt.Errorf("locks %q and %q share fence %d", key, fences[l.fence], l.fence)
		case l.kind != ownKeep && (l.session == nil || !l.session.live):
			return fmt.Errorf("lock %q is held by a session that has ended", key)
		case l.kind == ownKeep && l.session != nil:
			return fmt.Errorf("lock %q is kept for nobody by a session", key)
		case l.kind == ownKeep && l.end == 0:
			return fmt.Errorf("lock %q is kept for nobody without a lease", key)
		case l.end != 0 && l.end <= m.meta.now:
			return fmt.Errorf("the lease of lock %q ended at %d, it is %d", key, l.end, m.meta.now)
		}
		fences[l.fence] = key
		n := 0
		for w := l.head; w != nil; w = w.next {
			if n++; w.lock != l || w.gone {
				return fmt.Errorf("the queue of lock %q holds a wait that is not its own", key)
			}
			if w.next != nil && w.next.num <= w.num {
				return fmt.Errorf("the queue of lock %q is out of order", key)
			}
		}
		if n != l.queued {
			return fmt.Errorf("lock %q counts %d waiters and has %d", key, l.queued, n)
		}
	}
	n, last := 0, uint64(0)
	for fence, l := range m.holdOrder.after(0) {
		if fence <= last || l.fence != fence {
			return fmt.Errorf("the scan order is broken at fence %d", fence)
		}
		last = fence
		n++
	}
	if n != len(m.locks) || n != m.holdOrder.n {
		return fmt.Errorf("the scan order has %d holds of %d and counts %d", n, len(m.locks), m.holdOrder.n)
	}
	return nil
}

func (m *Machine) checkWaits() error {
	queued := 0
	for _, l := range m.locks {
		queued += l.queued
	}
	if queued != len(m.waits) {
		return fmt.Errorf("%d waits, %d of them in line", len(m.waits), queued)
	}
	owners := map[memoKey]bool{}
	for num, w := range m.waits {
		switch {
		case w.num != num || !w.session.live:
			return fmt.Errorf("wait %d is of a session that has ended", num)
		case len(w.callers) == 0 && w.orphan == 0:
			return fmt.Errorf("wait %d for lock %q has nobody that waits", num, w.lock.key)
		case w.until != 0 && w.until <= m.meta.now:
			return fmt.Errorf("wait %d for lock %q is overdue", num, w.lock.key)
		}
		for _, k := range w.callers {
			if m.conns[k.c.id] != k.c || k.seq != 0 && k.c.blocked != k {
				return fmt.Errorf("wait %d for lock %q answers a connection that is gone", num, w.lock.key)
			}
		}
		if k := (memoKey{w.session, claimKey{w.kind, w.label, w.lock.key}}); w.kind == ownSelf || w.kind == ownLabel {
			if owners[k] {
				return fmt.Errorf("an owner waits twice for lock %q", w.lock.key)
			}
			owners[k] = true
		}
	}
	return nil
}

func (m *Machine) checkSessions() error {
	holds, waits := 0, 0
	for id, s := range m.sessions {
		if s.id != id || !s.live || s.gone {
			return fmt.Errorf("session %d is listed and has ended", id)
		}
		if s.name != "" && m.named[s.name] != s {
			return fmt.Errorf("session %q is not found by its name", s.name)
		}
		if s.name == "" && len(s.conns) != 1 {
			return fmt.Errorf("anonymous session %d has %d connections", id, len(s.conns))
		}
		if s.name != "" && len(s.conns) == 0 && s.deadline.pos == 0 {
			return fmt.Errorf("session %q is detached and never ends", s.name)
		}
		if s.deadline.pos != 0 && s.deadline.at <= m.meta.now {
			return fmt.Errorf("session %d is overdue", id)
		}
		blocked := 0
		for _, w := range s.waits {
			for _, k := range w.callers {
				if k.seq != 0 {
					blocked++
				}
			}
		}
		if blocked != s.blocked {
			return fmt.Errorf("session %d counts %d blocked and has %d", id, s.blocked, blocked)
		}
		holds, waits = holds+len(s.holds), waits+len(s.waits)
	}
	for name, s := range m.named {
		if !s.live && (len(s.holds)+len(s.waits)+len(s.conns) > 0 || s.linked == 0 && len(s.memos)+len(s.notices) == 0) {
			return fmt.Errorf("session %q has ended and keeps something, or nothing refers to it", name)
		}
	}
	for _, l := range m.locks {
		if l.session == nil {
			holds++
		}
	}
	if holds != len(m.locks) || waits != len(m.waits) {
		return fmt.Errorf("sessions have %d holds of %d and %d waits of %d", holds, len(m.locks), waits, len(m.waits))
	}
	return nil
}

func (m *Machine) checkConns() error {
	n := 0
	for _, x := range m.live {
		n += len(x.conns)
		if !x.alive || (x.deadline.pos != 0) != (len(x.conns) > 0) {
			return fmt.Errorf("the deadline of node %q does not fit its %d connections", x.name, len(x.conns))
		}
	}
	if n != len(m.conns) {
		return fmt.Errorf("nodes have %d connections of %d", n, len(m.conns))
	}
	for id, c := range m.conns {
		if c.id != id || m.live[id.Incarnation()] != c.node || c.life != 0 && (c.life != c.session.id || !c.session.live) {
			return fmt.Errorf("connection %d is in a session or on a node that has ended", id)
		}
		if c.life == 0 && c.session.name == "" {
			return fmt.Errorf("connection %d is in no session", id)
		}
		unclaimed := 0
		for _, l := range c.session.holds {
			if l.claimer == c {
				unclaimed++
			}
		}
		if unclaimed != c.unclaimed {
			return fmt.Errorf("connection %d counts %d unclaimed grants and has %d", id, c.unclaimed, unclaimed)
		}
	}
	return nil
}

func (m *Machine) checkMemos() error {
	ids := int64(0)
	for k, o := range m.memos {
		ids += int64(len(o.list))
		if o.memoKey != k || o.gone || o.expire.pos == 0 || k.s.name == "" && !k.s.live {
			return fmt.Errorf("the request IDs for lock %q are kept for nobody", k.key)
		}
		for _, y := range o.list {
			if w := m.waits[y.wait]; y.wait != 0 && (w == nil || w.id != y.id || w.memo != o) {
				return fmt.Errorf("request ID %q for lock %q stands in no line", y.id, k.key)
			}
		}
	}
	if ids != m.ids {
		return fmt.Errorf("%d request IDs counted, %d there", m.ids, ids)
	}
	for _, n := range m.notices {
		if n.gone || n.s.name == "" && !n.s.live {
			return fmt.Errorf("a notice of lock %q is kept for nobody", n.claim.key)
		}
	}
	return nil
}
