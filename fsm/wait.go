package fsm

import "github.com/redlockd/redlockd/internal/canary"

// wait is one place in the queue of a lock.
type wait struct {
	rec
	num     uint64
	lock    *lock
	cmd     OpCode
	kind    ownerKind
	session *session
	label   string
	id      string
	note    string
	lease   int64
	since   int64
	until   int64 // of TRYLOCK; 0: none
	orphan  int64 // withdrawn then, unless asked again; 0: a connection asks
	callers []*caller
	memo    *memo // remembers id; nil without one
	timer   timer[*wait]

	prev, next *wait
	sessPos    int32
}

// caller is one request that shares the place: the first one, or a retry of it.
type caller struct {
	w   *wait
	c   *conn
	seq uint64 // 0: ASYNC, nothing waits for a reply
	pos int32
}

func (w *wait) appendKey(dst []byte) []byte { return appendID(dst, kindWait, w.num) }

func (w *wait) appendValue(dst []byte) []byte {
	dst = append(dst, byte(w.cmd), byte(w.kind))
	dst = appendString(w.session.appendRef(appendString(dst, w.lock.key)), w.label)
	dst = appendString(appendString(dst, w.id), w.note)
	dst = appendInts(dst, w.lease, w.since, w.until, w.orphan)
	dst = appendUints(dst, uint64(len(w.callers)))
	for _, k := range w.callers {
		dst = appendUints(dst, uint64(k.c.id), k.seq)
	}
	return dst
}

func (w *wait) forget(*Machine) {}

// asker is the connection on whose behalf the wait stands, nil if it is gone.
func (w *wait) asker() *conn {
	if len(w.callers) == 0 {
		return nil
	}
	return w.callers[len(w.callers)-1].c
}

// async reports whether nobody waits for a reply.
func (w *wait) async() bool {
	for _, k := range w.callers {
		if k.seq != 0 {
			return false
		}
	}
	return true
}

// enqueue puts the request at the end of the lock's queue.
func (m *Machine) enqueue(c *conn, o *Op, own owner, l *lock) {
	x := &m.settings
	d, full := m.acquireRefused(own, false)
	switch {
	case full:
	case int64(l.queued) >= x.MaxWaiters:
		d, full = limitDetail(SettingMaxWaiters, x.MaxWaiters), true
	case int64(len(m.waits)) >= x.MaxWaits:
		d, full = limitDetail(SettingMaxWaits, x.MaxWaits), true
	}
	if full {
		m.refuse(c, o.Seq, CodeLimit, d)
		return
	}
	m.meta.waits++
	w := &wait{
		num: m.meta.waits, lock: l, cmd: o.Code, kind: own.kind, session: own.s, label: string(own.label),
		id: string(o.ID), note: string(o.Note), lease: o.Lease, since: m.meta.now,
	}
	if o.Code == OpTryLock {
		w.until = m.meta.now + o.Timeout
	}
	if canary.WaitTimesOut && w.until == 0 { // request-timeout reaches a LOCK that waits
		w.until = m.meta.now + 5000
	}
	m.waits[w.num] = w
	m.line(w)
	if w.id != "" {
		w.memo = m.memoFor(own, o)
		m.record(w.memo, memory{id: w.id, cmd: w.cmd, wait: w.num})
	}
	m.call(w, c, o)
	m.armWait(w)
	m.touch(w)
}

// line links the wait to its lock and session.
func (m *Machine) line(w *wait) {
	l := w.lock
	if w.prev = l.tail; l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
	l.queued++
	bagAdd(&w.session.waits, w, &w.sessPos)
}

// call adds the op to those that share the wait. An ASYNC one is told at once
// that it stands in line.
func (m *Machine) call(w *wait, c *conn, o *Op) {
	if o.Flags&FlagAsync != 0 {
		m.reply(c, o.Seq, -1)
		for _, k := range w.callers {
			if k.c == c && k.seq == 0 {
				return
			}
		}
		m.bind(w, c, 0)
		return
	}
	m.bind(w, c, o.Seq)
}

func (m *Machine) bind(w *wait, c *conn, seq uint64) {
	k := &caller{w: w, c: c, seq: seq}
	w.callers = append(w.callers, k)
	bagAdd(&c.callers, k, &k.pos)
	if seq != 0 {
		c.blocked = k
		w.session.blocked++
	}
	m.touch(w)
}

// release ends one caller's share in its wait.
func (m *Machine) release(k *caller) {
	bagDel(&k.c.callers, k.pos, func(k *caller) *int32 { return &k.pos })
	w := k.w
	for i, x := range w.callers {
		if x == k {
			w.callers = append(w.callers[:i], w.callers[i+1:]...)
			break
		}
	}
	if k.seq != 0 {
		k.c.blocked = nil
		w.session.blocked--
		if w.session.live && w.session.heartbeat { // it spoke until now
			m.contact(w.session)
		}
	}
	m.touch(w)
}

// orphan is what becomes of a wait whose last connection has gone: with an ID in
// a named session it stays in line for the session's TTL, else it is withdrawn.
func (m *Machine) orphan(w *wait) {
	if w.id == "" || w.session.name == "" || !w.session.live {
		m.endWait(w, answer{forget: true})
		return
	}
	w.orphan = m.meta.now + w.session.ttl
	m.armWait(w)
	m.touch(w)
}

func (m *Machine) armWait(w *wait) {
	at := w.until
	if w.orphan != 0 && (at == 0 || w.orphan < at) {
		at = w.orphan
	}
	if at == 0 {
		m.waitTimers.stop(&w.timer)
		return
	}
	w.timer.it, w.timer.ord = w, w.num
	m.waitTimers.set(&w.timer, at)
}

// waitDue ends a wait whose deadline has passed.
func (m *Machine) waitDue(w *wait) {
	if w.until != 0 && w.until <= m.meta.now {
		m.stats.Timeouts++
		m.endWait(w, answer{})
		return
	}
	m.endWait(w, answer{forget: true})
}

// endWait takes a wait out of the queue and answers all who share it.
func (m *Machine) endWait(w *wait, a answer) {
	l := w.lock
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.prev, w.next = nil, nil
	l.queued--
	bagDel(&w.session.waits, w.sessPos, func(w *wait) *int32 { return &w.sessPos })
	m.waitTimers.stop(&w.timer)
	delete(m.waits, w.num)
	m.drop(w)
	if w.memo != nil {
		m.settle(w.memo, w.id, a)
	} else if o := m.memos[memoKey{w.session, claimKey{w.kind, w.label, l.key}}]; o != nil && !o.gone {
		m.keepMemo(o) // IDs live on for a while after a wait without one, too
	}
	if len(w.callers) == 0 {
		return
	}
	d := m.detailOf(a, l)
	for len(w.callers) > 0 {
		k := w.callers[0]
		m.release(k)
		if k.seq != 0 {
			m.send(k.c, k.seq, a, d)
		}
	}
}

// supersede ends the older wait of the same owner for the key. Owners that are
// each of their own have none.
func (m *Machine) supersede(own owner, key []byte) {
	if own.kind != ownSelf && own.kind != ownLabel || len(own.s.waits) == 0 {
		return
	}
	l := m.held(key)
	if l == nil {
		return
	}
	for w := range l.line(own.s) {
		if w.kind == own.kind && w.label == string(own.label) {
			m.stats.Cancelled++
			m.endWait(w, answer{code: CodeCancelled, why: WhySuperseded})
			return
		}
	}
}

// line yields the waits of session s for the lock, walking the shorter of the
// lock's queue and the session's waits.
func (l *lock) line(s *session) func(yield func(*wait) bool) {
	return func(yield func(*wait) bool) {
		if len(s.waits) <= l.queued {
			for _, w := range s.waits {
				if w.lock == l && !yield(w) {
					return
				}
			}
			return
		}
		for w := l.head; w != nil; w = w.next {
			if w.session == s && !yield(w) {
				return
			}
		}
	}
}
