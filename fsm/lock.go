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
	full := len(o.ID) > 0 && own.s.ids >= m.settings.MaxIDs         // then LIMIT, which does end an older wait
	if !full && !tries && !own.reenters(l) && own.deadlocks(l, o) { // before it would end an older wait: nothing is done
		m.answerOp(c, o, own, answer{code: CodeDeadlock, why: WhyOther})
		return
	}
	m.supersede(own, o.Key)
	if m.idsRefused(c, o, own, m.settings.MaxIDs) {
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
