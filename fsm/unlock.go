package fsm

// mine returns the hold that UNLOCK or RENEW acts on, or the answer why there is none.
func (m *Machine) mine(own owner, o *Op) (*lock, answer) {
	l := m.held(o.Key)
	fits := l != nil && (o.Fence == 0 || o.Fence == l.fence)
	if fits && own.holds(l) {
		return l, answer{}
	}
	if fits && l.kind == ownKeep && o.Fence != 0 {
		return l, answer{}
	}
	if n := m.noticeOf(own, o.Key, o.Fence); n != nil {
		return nil, m.takeNotice(n)
	}
	a := answer{code: CodeNotOwner, why: WhyFree}
	switch {
	case own.holds(l):
		a.why, a.fence = WhyOtherFence, l.fence
	case l != nil:
		a.why = WhyOther
	}
	return nil, a
}

// unlock carries out UNLOCK.
func (m *Machine) unlock(c *conn, o *Op) {
	own := ownerOf(c, o)
	if len(o.ID) > 0 && m.repeated(c, o, own) {
		return
	}
	// What was acquired by IDs can be released by IDs: those of UNLOCK have as much room again.
	if m.idsRefused(c, o, own, 2*m.settings.MaxIDs) {
		return
	}
	l, a := m.mine(own, o)
	if l == nil {
		m.answerOp(c, o, own, a)
		return
	}
	m.claimed(l)
	l.count--
	m.touch(l)
	left := l.count
	if left == 0 {
		m.stats.Releases++
		m.free(l)
	}
	m.answerOp(c, o, own, answer{num: left})
}

// forceUnlock carries out FORCEUNLOCK.
func (m *Machine) forceUnlock(c *conn, o *Op) {
	l := m.held(o.Key)
	if l == nil || o.Fence != 0 && o.Fence != l.fence {
		m.reply(c, o.Seq, 0)
		return
	}
	m.stats.Forced++
	m.lose(l, WhyForced, "")
	m.reply(c, o.Seq, 1)
}

// renew carries out RENEW: the lease ends o.Lease from now, also if that is sooner.
func (m *Machine) renew(c *conn, o *Op) {
	own := ownerOf(c, o)
	l, a := m.mine(own, o)
	if l == nil {
		m.answerOp(c, o, own, a)
		return
	}
	m.claimed(l)
	l.end = m.meta.now + o.Lease
	m.arm(l)
	m.touch(l)
	m.reply(c, o.Seq, int64(l.fence))
}

// unwait carries out UNWAIT: it withdraws the wait of a request ID, or releases
// its grant if that came first and was not re-entered.
func (m *Machine) unwait(c *conn, o *Op) {
	own := ownerOf(c, o)
	y := m.requestOf(own, o)
	if y == nil && len(o.Owner) == 0 {
		own.kind = ownKeep
		y = m.requestOf(own, o)
	}
	if y == nil {
		m.reply(c, o.Seq, 0)
		return
	}
	if y.wait != 0 {
		m.stats.Cancelled++
		m.endWait(m.waits[y.wait], answer{code: CodeCancelled, why: WhyUnwaited})
		m.reply(c, o.Seq, 1)
		return
	}
	l := m.held(o.Key)
	if y.code != CodeOK || !y.fresh || l == nil || l.fence != y.fence || l.count != 1 {
		m.reply(c, o.Seq, 0)
		return
	}
	m.stats.Releases++
	m.free(l)
	m.reply(c, o.Seq, 1)
}

// requestOf returns what is remembered of the LOCK or TRYLOCK with o's ID.
func (m *Machine) requestOf(own owner, o *Op) *memory {
	memo := m.memos[own.memoKey(o.Key, o.ID)]
	i := memo.seek(string(o.ID))
	if i < 0 || memo.list[i].cmd == OpUnlock {
		return nil
	}
	return &memo.list[i]
}

// tomb is a destroyed name.
type tomb struct {
	rec
	key  string
	note string
	n    uint64 // rises with each DESTROY; the cursor of LOCKSCAN DESTROYED
}

func (t *tomb) appendKey(dst []byte) []byte { return append(append(dst, kindTomb), t.key...) }

func (t *tomb) appendValue(dst []byte) []byte { return appendString(appendUints(dst, t.n), t.note) }

func (t *tomb) forget(m *Machine) { delete(m.tombs, t.key) }

// tombOf returns the tomb of a destroyed name, or nil.
func (m *Machine) tombOf(key []byte) *tomb {
	if t := m.tombs[string(key)]; t != nil && !t.gone {
		return t
	}
	return nil
}

// destroy carries out DESTROY: waiters first, so that the holder's end grants nothing.
func (m *Machine) destroy(c *conn, o *Op) {
	t := m.tombs[string(o.Key)]
	if t == nil || t.gone {
		if m.deadCount >= m.settings.MaxDestroyed {
			m.refuse(c, o.Seq, CodeLimit, limitDetail(SettingMaxDestroyed, m.settings.MaxDestroyed))
			return
		}
		if t == nil {
			t = &tomb{key: string(o.Key)}
			m.tombs[t.key] = t
		}
		m.deadCount++
		m.meta.tombs++
		t.n, t.note, t.gone = m.meta.tombs, string(o.Note), false
		m.tombOrder.add(t.n, t)
	} else if len(o.Note) > 0 {
		t.note = string(o.Note)
	}
	m.touch(t)
	if l := m.held(o.Key); l != nil {
		for l.head != nil {
			m.endWait(l.head, answer{code: CodeDestroyed, why: WhyDestroyed, text: t.note})
		}
		m.lose(l, WhyDestroyed, t.note)
	}
	m.reply(c, o.Seq, 0)
}

// undestroy carries out UNDESTROY.
func (m *Machine) undestroy(c *conn, o *Op) {
	t := m.tombOf(o.Key)
	if t == nil {
		m.reply(c, o.Seq, 0)
		return
	}
	m.tombOrder.remove(t.n)
	t.n = 0
	m.deadCount--
	m.drop(t)
	m.reply(c, o.Seq, 1)
}
