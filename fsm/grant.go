package fsm

import "github.com/redlockd/redlockd/internal/canary"

// grant makes l held. Its kind, session, label and note are set; c is the
// connection that asked, nil if that is gone.
func (m *Machine) grant(l *lock, c *conn, lease int64) {
	m.stats.Grants++
	m.heldCount++
	l.gone = false
	l.fence, l.count, l.granted = m.nextFence(), 1, m.meta.now
	l.end, l.claim, l.claimer = 0, 0, nil
	if lease > 0 {
		l.end = m.meta.now + lease
	}
	l.conn, l.node, l.name, l.addr = 0, "", "", ""
	if c != nil {
		l.conn, l.node = c.id, c.node.name
		if l.session == nil || l.session.name != "" {
			l.name, l.addr = c.name, c.addr
		}
	}
	if l.session != nil {
		bagAdd(&l.session.holds, l, &l.sessPos)
		if l.kind != ownEach && len(l.session.notices) > 0 {
			m.clearNotices(l.session, claimKey{l.kind, l.label, l.key})
		}
		if len(l.session.memos) > 0 {
			if o := m.memos[memoKey{l.session, claimKey{l.kind, l.label, l.key}}]; o != nil && !o.gone {
				l.memo = o.expire.ord
			}
		}
	}
	m.holdOrder.add(l.fence, l)
	m.arm(l)
	m.touch(l)
}

// arm sets the hold's timer to the earlier of its lease and its claim.
func (m *Machine) arm(l *lock) {
	at := l.end
	if l.claim != 0 && (at == 0 || l.claim < at) {
		at = l.claim
	}
	if at == 0 {
		m.leaseTimers.stop(&l.timer)
		return
	}
	l.timer.it = l
	if l.timer.pos == 0 {
		l.timer.ord = l.fence
	}
	m.leaseTimers.set(&l.timer, at)
}

// leaseDue ends a hold whose lease, or whose time to be claimed, is over.
func (m *Machine) leaseDue(l *lock) {
	m.stats.Expired++
	if l.end != 0 && l.end <= m.meta.now {
		m.lose(l, WhyLeaseEnded, "")
	} else {
		m.lose(l, WhyUnclaimed, "")
	}
}

// lose ends a hold without its owner's UNLOCK: the owner gets a notice, the
// next waiter the lock.
func (m *Machine) lose(l *lock, why Why, text string) {
	if o := m.memoByNumber[l.memo]; o != nil {
		o.lost(l.fence, why)
	}
	if l.session != nil && (l.session.live || l.session.name != "") {
		m.stats.Lost++
		m.addNotice(l, why, text)
	}
	m.free(l)
}

// free ends a hold and hands the lock to the first waiter, in the same entry.
func (m *Machine) free(l *lock) {
	m.vacate(l)
	for l.head != nil {
		w := l.head
		if !w.session.live && !canary.GrantToEnded { // endAll removes these first; a grant checks all the same
			m.endWait(w, answer{code: CodeNoSession, why: w.session.why, forget: true})
			continue
		}
		m.handOver(l, w)
		return
	}
	if !canary.FreeKept { // canary: a free lock stays in the state
		m.drop(l)
	}
}

// vacate takes the holder off the lock.
func (m *Machine) vacate(l *lock) {
	m.claimed(l)
	m.leaseTimers.stop(&l.timer)
	m.holdOrder.remove(l.fence)
	l.fence = 0
	m.heldCount--
	if s := l.session; s != nil {
		bagDel(&s.holds, l.sessPos, func(l *lock) *int32 { return &l.sessPos })
	}
	if o := m.memoByNumber[l.memo]; o != nil {
		m.keepMemo(o)
	}
	l.memo = 0
	l.session = nil
}

// handOver grants the lock to the wait at the head of its queue.
func (m *Machine) handOver(l *lock, w *wait) {
	l.kind, l.label, l.note, l.session = w.kind, w.label, w.note, w.session
	if w.kind == ownKeep {
		l.session = nil
	}
	c, async, orphan := w.asker(), w.async(), w.orphan
	if w.memo != nil {
		l.memo = w.memo.expire.ord
	}
	m.grant(l, c, w.lease)
	if l.session != nil {
		switch {
		case orphan != 0:
			l.claim = orphan
			m.arm(l)
		case async && c != nil:
			l.claimer = c
			c.unclaimed++
		}
	}
	if canary.LostWaiter { // the grant is told to nobody
		w.callers = nil
	}
	m.endWait(w, answer{fence: l.fence, fresh: true})
	// Another owner of the same connection may wait here, and block the UNLOCK
	// that is due now.
	if s := l.session; s != nil && s.name == "" {
		if k := s.conns[0].blocked; k != nil && k.w.lock == l {
			m.endWait(k.w, answer{code: CodeDeadlock, why: WhyOther})
		}
	}
}

// claimed notes that the grant was asked for, so nothing releases it by itself.
func (m *Machine) claimed(l *lock) {
	if l.claimer != nil {
		l.claimer.unclaimed--
		l.claimer = nil
		m.touch(l)
	}
	if l.claim != 0 {
		l.claim = 0
		if l.fence != 0 {
			m.arm(l)
		}
		m.touch(l)
	}
}

// party describes the holder.
func (m *Machine) party(l *lock) Party {
	p := Party{Owner: l.label, Conn: l.conn, Node: l.node, ClientName: l.name, Addr: l.addr}
	if l.session != nil {
		p.Session, p.SessionName = l.session.id, l.session.name
	}
	if c := m.conns[l.conn]; c != nil {
		p.ClientName, p.Addr = c.name, c.addr
	}
	return p
}
