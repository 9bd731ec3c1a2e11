package fsm_test

import (
	"slices"

	"github.com/redlockd/redlockd/fsm"
)

func ownerOf(c *mConn, o *fsm.Op) mOwner {
	w := mOwner{sess: c.sess, label: string(o.Owner), keep: o.Flags&fsm.FlagKeep != 0}
	w.each = !w.keep && w.label == "" && c.sess.name != ""
	return w
}

// mine reports whether the caller's owner has the hold; in a named session every
// unlabelled request may act for all of them.
func (m *model) mine(c *mConn, own mOwner, key string) bool {
	h := m.holds[key]
	return h != nil && c.in && !own.keep && h.owner == own
}

func (m *model) lock(c *mConn, o *fsm.Op) {
	m.reopen(c)
	own, key := ownerOf(c, o), string(o.Key)
	if m.repeated(c, o, own) {
		return
	}
	if n := m.noticeOf(own, key, 0, true); n != nil && !own.each {
		m.takeNotice(n)
		m.answer(c, o, own, fsm.CodeLockLost, 0)
		return
	}
	h := m.holds[key]
	waits := (o.Code == fsm.OpLock || o.Timeout > 0) && o.Flags&fsm.FlagAsync == 0
	behind := h != nil && c.sess.name == "" && !h.owner.keep && h.owner.sess == c.sess
	if waits && behind && !m.mine(c, own, key) { // nobody is each of its own in an anonymous session
		m.answer(c, o, own, fsm.CodeDeadlock, 0)
		return
	}
	m.supersede(own, key)
	switch {
	case m.destroyed[key]:
		m.answer(c, o, own, fsm.CodeDestroyed, 0)
	case m.mine(c, own, key) && !own.each:
		m.reenter(c, o, own, h)
	case h == nil && m.diskFull():
		m.reply(c, o.Seq, fsm.CodeLimit, 0)
	case h == nil:
		m.grant(key, own, o.Lease)
		m.answerGrant(c, o, own, true)
	case o.Code == fsm.OpTryLock && o.Timeout == 0:
		m.answer(c, o, own, fsm.CodeOK, 0)
	case m.diskFull() || len(m.line(key)) >= m.maxWaiters:
		m.reply(c, o.Seq, fsm.CodeLimit, 0)
	default:
		m.enqueue(c, o, own)
	}
}

func (m *model) reenter(c *mConn, o *fsm.Op, own mOwner, h *mHold) {
	switch {
	case m.acquireLimit > 0 && h.count >= m.acquireLimit && o.Code == fsm.OpTryLock:
		m.answer(c, o, own, fsm.CodeOK, 0)
		return
	case m.acquireLimit > 0 && h.count >= m.acquireLimit:
		m.answer(c, o, own, fsm.CodeLockLimit, 0)
		return
	}
	h.count++
	h.claim, h.claimer = 0, nil
	if o.Lease == 0 {
		h.end = 0
	} else if h.end != 0 {
		h.end = max(h.end, m.now+o.Lease)
	}
	m.answerGrant(c, o, own, false)
}

func (m *model) grant(key string, own mOwner, lease int64) *mHold {
	m.fence++
	h := &mHold{owner: own, fence: m.fence, count: 1}
	if lease > 0 {
		h.end = m.now + lease
	}
	m.holds[key] = h
	h.linked = slices.ContainsFunc(m.memos, func(y *mMemo) bool { return y.owner == own && y.key == key })
	if !own.each {
		m.notices = slices.DeleteFunc(m.notices, func(n *mNotice) bool { return n.owner == own && n.key == key })
	}
	return h
}

func (m *model) line(key string) []*mWait {
	var line []*mWait
	for _, w := range m.waits {
		if w.key == key {
			line = append(line, w)
		}
	}
	return line
}

func (m *model) enqueue(c *mConn, o *fsm.Op, own mOwner) {
	w := &mWait{key: string(o.Key), cmd: o.Code, owner: own, id: string(o.ID), lease: o.Lease}
	if o.Code == fsm.OpTryLock {
		w.until = m.now + o.Timeout
	}
	m.waits = append(m.waits, w)
	if w.id != "" {
		m.remember(&mMemo{owner: own, key: w.key, id: w.id, cmd: w.cmd, wait: w})
	}
	m.join(w, c, o)
}

// join makes the op one of those that share the wait.
func (m *model) join(w *mWait, c *mConn, o *fsm.Op) {
	if o.Flags&fsm.FlagAsync != 0 {
		m.reply(c, o.Seq, fsm.CodeOK, -1)
		if !slices.Contains(w.callers, mCaller{c, 0}) {
			w.callers = append(w.callers, mCaller{c, 0})
		}
		return
	}
	w.callers = append(w.callers, mCaller{c, o.Seq})
	c.blocked = w
}

// supersede ends the older wait of the same owner.
func (m *model) supersede(own mOwner, key string) {
	if own.each || own.keep {
		return
	}
	for _, w := range m.line(key) {
		if w.owner == own {
			m.endWait(w, mReply{fsm.CodeCancelled, 0}, true)
			return
		}
	}
}

// endWait takes a wait out of the line, answers those who wait and remembers the
// answer for a retry, or nothing.
func (m *model) endWait(w *mWait, r mReply, remember bool) {
	m.waits = slices.DeleteFunc(m.waits, func(x *mWait) bool { return x == w })
	m.used(w.owner, w.key, w.id)
	for i, y := range m.memos {
		if y.wait == w {
			if y.wait, y.reply = nil, r; r.code == fsm.CodeOK && r.n > 0 {
				y.fence, y.fresh = uint64(r.n), true
			}
			if !remember {
				m.memos = slices.Delete(m.memos, i, i+1)
			}
			break
		}
	}
	for _, k := range w.callers {
		if k.seq != 0 {
			k.conn.blocked = nil
			m.reply(k.conn, k.seq, r.code, r.n)
			m.spoke(k.conn.sess, k.conn)
		}
	}
	w.callers = nil
}

// free ends a hold; the first in line gets the lock.
func (m *model) free(key string) {
	m.usedBy(m.holds[key], key)
	delete(m.holds, key)
	line := m.line(key)
	if len(line) == 0 {
		return
	}
	w := line[0]
	h := m.grant(key, w.owner, w.lease)
	async := !slices.ContainsFunc(w.callers, func(k mCaller) bool { return k.seq != 0 })
	switch {
	case w.owner.keep:
	case w.orphan != 0:
		h.claim = w.orphan
	case async:
		h.claimer = w.callers[len(w.callers)-1].conn
	}
	m.endWait(w, mReply{fsm.CodeOK, int64(h.fence)}, true)
	if s := h.owner.sess; !h.owner.keep && s.name == "" {
		for _, w := range m.line(key) { // it blocks the connection that holds now
			if w.owner.sess == s && slices.ContainsFunc(w.callers, func(k mCaller) bool { return k.seq != 0 }) {
				m.endWait(w, mReply{fsm.CodeDeadlock, 0}, true)
			}
		}
	}
}

// lose ends a hold without its owner's UNLOCK.
func (m *model) lose(key string, session bool) {
	h := m.holds[key]
	if s := h.owner.sess; !h.owner.keep && (s.live || s.name != "") {
		m.notices = append(m.notices, &mNotice{owner: h.owner, key: key, fence: h.fence, session: session})
	}
	m.free(key)
}

// target is the hold that UNLOCK or RENEW acts on; else the error was found.
func (m *model) target(c *mConn, o *fsm.Op, own mOwner) (*mHold, fsm.Code) {
	key := string(o.Key)
	if h := m.holds[key]; h != nil && (o.Fence == 0 || o.Fence == h.fence) {
		if m.mine(c, own, key) || h.owner.keep && o.Fence != 0 {
			return h, fsm.CodeOK
		}
	}
	if n := m.noticeOf(own, key, o.Fence, false); n != nil {
		m.takeNotice(n)
		return nil, fsm.CodeLockLost
	}
	return nil, fsm.CodeNotOwner
}

func (m *model) unlock(c *mConn, o *fsm.Op) {
	own, key := ownerOf(c, o), string(o.Key)
	if m.repeated(c, o, own) {
		return
	}
	h, code := m.target(c, o, own)
	if h == nil {
		m.answer(c, o, own, code, 0)
		return
	}
	h.count--
	h.claim, h.claimer = 0, nil
	if h.count == 0 {
		m.free(key)
	}
	m.answer(c, o, own, fsm.CodeOK, h.count)
}

func (m *model) renew(c *mConn, o *fsm.Op) {
	h, code := m.target(c, o, ownerOf(c, o))
	if h == nil {
		m.reply(c, o.Seq, code, 0)
		return
	}
	h.end, h.claim, h.claimer = m.now+o.Lease, 0, nil
	m.reply(c, o.Seq, fsm.CodeOK, int64(h.fence))
}

func (m *model) forceUnlock(c *mConn, o *fsm.Op) {
	h := m.holds[string(o.Key)]
	if h == nil || o.Fence != 0 && o.Fence != h.fence {
		m.reply(c, o.Seq, fsm.CodeOK, 0)
		return
	}
	m.lose(string(o.Key), false)
	m.reply(c, o.Seq, fsm.CodeOK, 1)
}

func (m *model) destroy(c *mConn, o *fsm.Op) {
	key := string(o.Key)
	m.destroyed[key] = true
	for _, w := range m.line(key) {
		m.endWait(w, mReply{fsm.CodeDestroyed, 0}, true)
	}
	if m.holds[key] != nil {
		m.lose(key, false)
	}
	m.reply(c, o.Seq, fsm.CodeOK, 0)
}

func (m *model) unwait(c *mConn, o *fsm.Op) {
	own, key := ownerOf(c, o), string(o.Key)
	y := m.memo(own, key, string(o.ID))
	if (y == nil || y.cmd == fsm.OpUnlock) && len(o.Owner) == 0 {
		y = m.memo(mOwner{sess: c.sess, keep: true}, key, string(o.ID))
	}
	n := int64(0)
	if y != nil && y.cmd != fsm.OpUnlock {
		if h := m.holds[key]; y.wait != nil {
			m.endWait(y.wait, mReply{fsm.CodeCancelled, 0}, true)
			n = 1
		} else if y.fresh && h != nil && h.fence == y.fence && h.count == 1 {
			m.free(key)
			n = 1
		}
	}
	m.reply(c, o.Seq, fsm.CodeOK, n)
}
