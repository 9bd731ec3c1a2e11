package fsm

// ownerKind says what makes two requests the same owner.
type ownerKind uint8

const (
	ownSelf  ownerKind = iota // an anonymous session itself
	ownLabel                  // OWNER label inside a session
	ownEach                   // each request by itself, in a named session
	ownKeep                   // KEEP: nobody
)

// owner is who asks.
type owner struct {
	kind     ownerKind
	s        *session
	label    []byte
	attached bool // the connection is in the present life of s
}

func ownerOf(c *conn, o *Op) owner {
	w := owner{s: c.session, label: o.Owner, attached: c.life != 0}
	switch {
	case o.Flags&FlagKeep != 0:
		w.kind = ownKeep
	case len(o.Owner) > 0:
		w.kind = ownLabel
	case w.s.name != "":
		w.kind = ownEach
	}
	return w
}

// holds reports whether the owner holds l; any request of a named session stands
// for all of its unlabelled ones.
func (w owner) holds(l *lock) bool {
	return l != nil && l.fence != 0 && w.kind != ownKeep && w.attached && l.kind == w.kind && l.session == w.s && l.label == string(w.label)
}

// reenters reports whether a LOCK of the owner re-enters l.
func (w owner) reenters(l *lock) bool { return w.kind != ownEach && w.holds(l) }

// deadlocks reports whether the op would wait for a hold of its own connection,
// whose UNLOCK could only come behind it.
func (w owner) deadlocks(l *lock, o *Op) bool {
	return l != nil && o.Waits() && w.s.name == "" && l.session == w.s
}

// lock is a held lock and its queue. It leaves the map with the flush after the
// entry that frees it, so that a lock taken and freed between two flushes costs
// no record.
type lock struct {
	rec
	key     string
	fence   uint64 // 0: free
	kind    ownerKind
	session *session // nil: KEEP
	label   string
	count   int64
	granted int64
	end     int64 // of the lease; 0: none
	conn    ConnID
	node    string
	name    string // client name and address, where the connection may go before the hold
	addr    string
	note    string
	memo    uint64 // number of the owner's memo, if it uses IDs
	sessPos int32

	// claimer is the connection that must ask for an ASYNC grant; once it is
	// gone, claim is when the grant is released if nobody asked.
	claimer *conn
	claim   int64

	timer      timer[*lock] // at the earlier of end and claim
	head, tail *wait
	queued     int
}

func (l *lock) appendKey(dst []byte) []byte { return append(append(dst, kindLock), l.key...) }

func (l *lock) appendValue(dst []byte) []byte {
	dst = append(appendUints(dst, l.fence), byte(l.kind))
	dst = appendString(l.session.appendRef(dst), l.label)
	dst = appendInts(dst, l.count, l.granted, l.end, l.claim)
	claimer := ConnID(0)
	if l.claimer != nil {
		claimer = l.claimer.id
	}
	dst = appendUints(dst, uint64(l.conn), uint64(claimer), l.memo)
	dst = appendString(appendString(dst, l.node), l.note)
	return appendString(appendString(dst, l.name), l.addr)
}

func (l *lock) forget(m *Machine) {
	delete(m.locks, l.key)
	*l = lock{rec: rec{kept: l.kept}, key: l.key} // flush still needs the key
	if len(m.pool) < 1024 {
		m.pool = append(m.pool, l)
	}
}

// held returns the lock if somebody holds it.
func (m *Machine) held(key []byte) *lock {
	if l := m.locks[string(key)]; l != nil && l.fence != 0 {
		return l
	}
	return nil
}

// lock carries out LOCK and TRYLOCK.
func (m *Machine) lock(c *conn, o *Op) {
	if !m.reopen(c, o) {
		return
	}
	own := ownerOf(c, o)
	if len(o.ID) > 0 && m.repeated(c, o, own) {
		return
	}
	if n := m.endNotice(own, o.Key); n != nil && own.kind != ownEach {
		m.answerOp(c, o, own, m.takeNotice(n))
		return
	}
	l := m.held(o.Key)
	tries := o.Code == OpTryLock && o.Timeout <= 0
	if !tries && !own.reenters(l) && own.deadlocks(l, o) { // before it would end an older wait: nothing is done
		m.answerOp(c, o, own, answer{code: CodeDeadlock, why: WhyOther})
		return
	}
	m.supersede(own, o.Key)
	if len(o.ID) > 0 && own.s.ids >= m.settings.MaxIDs {
		m.refuse(c, o.Seq, CodeLimit, limitDetail(SettingMaxIDs, m.settings.MaxIDs))
		return
	}
	if len(m.tombs) > 0 {
		if t := m.tombOf(o.Key); t != nil {
			m.answerOp(c, o, own, answer{code: CodeDestroyed, why: WhyDestroyed, text: t.note})
			return
		}
	}
	switch {
	case own.reenters(l):
		m.reenter(c, o, own, l)
	case l == nil:
		m.acquire(c, o, own)
	case tries:
		m.answerOp(c, o, own, answer{})
	default:
		m.enqueue(c, o, own, l)
	}
}

// reenter raises the count of the owner's hold, unless the acquire limit is reached.
func (m *Machine) reenter(c *conn, o *Op, own owner, l *lock) {
	if limit := m.settings.acquireLimit(l.key); limit > 0 && l.count >= limit {
		if o.Code == OpTryLock {
			m.answerOp(c, o, own, answer{})
		} else {
			m.answerOp(c, o, own, answer{code: CodeLockLimit, why: WhyLimit, num: limit})
		}
		return
	}
	l.count++
	if l.end != 0 {
		if o.Lease == 0 {
			l.end = 0
		} else {
			l.end = max(l.end, m.meta.now+o.Lease)
		}
		m.arm(l)
	}
	if len(o.Note) > 0 {
		l.note = string(o.Note)
	}
	m.claimed(l)
	m.touch(l)
	m.answerOp(c, o, own, answer{fence: l.fence})
}

// acquire takes a free lock.
func (m *Machine) acquire(c *conn, o *Op, own owner) {
	if d, full := m.acquireRefused(own, true); full {
		m.refuse(c, o.Seq, CodeLimit, d)
		return
	}
	l := m.newLock(o.Key)
	l.kind, l.label, l.note = own.kind, string(own.label), string(o.Note)
	if own.kind != ownKeep {
		l.session = own.s
	}
	m.grant(l, c, o.Lease)
	m.answerOp(c, o, own, answer{fence: l.fence, fresh: true})
}

// acquireRefused says which limit forbids one more hold, or wait, of the owner.
func (m *Machine) acquireRefused(own owner, hold bool) (Detail, bool) {
	x := &m.settings
	var d Detail
	switch {
	case m.diskFull():
		d = Detail{Why: WhyDiskFull}
	case hold && m.heldCount >= x.MaxHolds:
		d = limitDetail(SettingMaxHolds, x.MaxHolds)
	case own.kind != ownKeep && int64(len(own.s.holds)+len(own.s.waits)) >= x.MaxSessionHolds:
		d = limitDetail(SettingMaxSessionHolds, x.MaxSessionHolds)
	default:
		return Detail{}, false
	}
	return d, true
}

// newLock returns the lock object for a free key.
func (m *Machine) newLock(key []byte) *lock {
	if l := m.locks[string(key)]; l != nil { // freed since the last flush
		return l
	}
	var l *lock
	if n := len(m.pool); n > 0 {
		l = m.pool[n-1]
		m.pool[n-1] = nil
		m.pool = m.pool[:n-1]
		*l = lock{key: string(key)}
	} else {
		l = &lock{key: string(key)}
	}
	m.locks[l.key] = l
	return l
}

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
		if !w.session.live { // endAll removes these first; a grant checks all the same
			m.endWait(w, answer{code: CodeNoSession, why: w.session.why, forget: true})
			continue
		}
		m.handOver(l, w)
		return
	}
	m.drop(l)
}

// vacate takes the holder off the lock.
func (m *Machine) vacate(l *lock) {
	m.claimed(l)
	m.leaseTimers.stop(&l.timer)
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
	m.holdOrder.remove(func(n uint64, o *lock) bool { return o.fence == n })
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
