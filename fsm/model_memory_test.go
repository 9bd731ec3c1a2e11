package fsm_test

import (
	"slices"

	"github.com/redlockd/redlockd/fsm"
)

// remember keeps a request ID; of an owner and key the last 16 are kept, but one
// that is in line stays.
func (m *model) remember(y *mMemo) {
	n := 0
	for _, x := range m.memos {
		if x.with(y.owner, y.key, y.id) {
			n++
		}
	}
	if n >= 16 {
		i := slices.IndexFunc(m.memos, func(x *mMemo) bool { return x.with(y.owner, y.key, y.id) && x.wait == nil })
		if i >= 0 {
			m.memos = slices.Delete(m.memos, i, i+1)
		}
	}
	m.memos = append(m.memos, y)
	m.used(y.owner, y.key, y.id)
}

// with reports whether the request was one of this owner there. Where each request is
// an owner of its own, or of none, its ID says which.
func (y *mMemo) with(own mOwner, key, id string) bool {
	return y.owner == own && y.key == key && (!own.each && !own.keep || y.id == id)
}

// used notes that the owner asked, held or waited there just now.
func (m *model) used(own mOwner, key, id string) {
	for _, y := range m.memos {
		if y.with(own, key, id) {
			y.last = m.now
		}
	}
}

// usedBy is used for the owner of a hold. A KEEP hold belongs to no session, and an
// unlabelled one in a named session to one request: the IDs of the request that took it
// go with it.
func (m *model) usedBy(h *mHold, key string) {
	if !h.owner.keep && !h.owner.each {
		if h.linked {
			m.used(h.owner, key, "")
		}
		return
	}
	for _, y := range m.memos {
		if y.owner == h.owner && y.key == key && y.fence == h.fence {
			m.used(h.owner, key, y.id)
			return
		}
	}
}

func (m *model) memo(own mOwner, key, id string) *mMemo {
	for _, y := range m.memos {
		if y.owner == own && y.key == key && y.id == id {
			return y
		}
	}
	return nil
}

// forgetDue drops what was not used for two session-timeouts.
func (m *model) forgetDue() {
	for key, h := range m.holds {
		m.usedBy(h, key)
	}
	for _, w := range m.waits {
		m.used(w.owner, w.key, w.id)
	}
	m.memos = slices.DeleteFunc(m.memos, func(y *mMemo) bool {
		return m.now >= y.last+2*m.timeout
	})
	m.notices = slices.DeleteFunc(m.notices, func(n *mNotice) bool { return n.until != 0 && m.now >= n.until })
}

// answer answers an op, and remembers it for a retry.
func (m *model) answer(c *mConn, o *fsm.Op, own mOwner, code fsm.Code, n int64) {
	if len(o.ID) > 0 {
		m.remember(&mMemo{owner: own, key: string(o.Key), id: string(o.ID), cmd: o.Code, reply: mReply{code, n}})
		m.link(c, own, string(o.Key))
	}
	m.reply(c, o.Seq, code, n)
}

func (m *model) answerGrant(c *mConn, o *fsm.Op, own mOwner, fresh bool) {
	f := m.holds[string(o.Key)].fence
	if len(o.ID) > 0 {
		m.remember(&mMemo{
			owner: own, key: string(o.Key), id: string(o.ID), cmd: o.Code, reply: mReply{fsm.CodeOK, int64(f)}, fence: f, fresh: fresh,
		})
		m.link(c, own, string(o.Key))
	}
	m.reply(c, o.Seq, fsm.CodeOK, int64(f))
}

// link notes that the holder uses IDs. A connection whose session was closed, and opened
// anew by another, is not the holder, though its IDs are in the same place.
func (m *model) link(c *mConn, own mOwner, key string) {
	if m.mine(c, own, key) {
		m.holds[key].linked = true
	}
}

// repeated answers a retry as the first request was.
func (m *model) repeated(c *mConn, o *fsm.Op, own mOwner) bool {
	if len(o.ID) == 0 {
		return false
	}
	y := m.memo(own, string(o.Key), string(o.ID))
	if y == nil {
		return false
	}
	h := m.holds[y.key]
	switch {
	case y.cmd != o.Code:
		m.reply(c, o.Seq, fsm.CodeErr, 0)
	case y.wait != nil && o.Flags&fsm.FlagAsync == 0 && c.sess.name == "" && !h.owner.keep && h.owner.sess == c.sess:
		m.reply(c, o.Seq, fsm.CodeDeadlock, 0)
	case y.wait != nil:
		y.wait.orphan = 0
		m.join(y.wait, c, o)
	case y.fence != 0 && h != nil && h.fence == y.fence:
		h.claim, h.claimer = 0, nil
		m.reply(c, o.Seq, fsm.CodeOK, y.reply.n)
	case y.fence != 0:
		if n := m.noticeOf(own, y.key, y.fence, false); n != nil && n.session {
			m.takeNotice(n)
		}
		m.reply(c, o.Seq, fsm.CodeLockLost, 0)
	default:
		m.reply(c, o.Seq, y.reply.code, y.reply.n)
	}
	return true
}

// noticeOf finds the oldest notice of the owner for the key.
func (m *model) noticeOf(own mOwner, key string, fence uint64, sessionOnly bool) *mNotice {
	for _, n := range m.notices {
		if n.owner == own && n.key == key && !own.keep && (fence == 0 || n.fence == fence) && (n.session || !sessionOnly) {
			return n
		}
	}
	return nil
}

func (m *model) takeNotice(n *mNotice) {
	m.notices = slices.DeleteFunc(m.notices, func(x *mNotice) bool { return x == n })
}

// ask answers the queries that depend on who asks.
func (m *model) ask(c *mConn, o *fsm.Op) {
	own, key := ownerOf(c, o), string(o.Key)
	h, mine := m.holds[key], m.mine(c, own, key)
	n := int64(0)
	switch {
	case !mine && m.noticeOf(own, key, 0, true) != nil:
		m.reply(c, o.Seq, fsm.CodeLockLost, 0)
		return
	case h == nil:
	case o.Code == fsm.OpLockCount:
		n = h.count
	case o.Code == fsm.OpIsLocked, mine:
		n = 1
	}
	m.reply(c, o.Seq, fsm.CodeOK, n)
}

func (m *model) query(c *mConn, o *fsm.Op) {
	h := m.holds[string(o.Key)]
	n := int64(0)
	switch o.Code {
	case fsm.OpFence:
		if h != nil {
			n = int64(h.fence)
		}
	case fsm.OpLeaseTime:
		switch {
		case h == nil:
			n = -1
		case h.end == 0:
			n = fsm.MaxLease
		default:
			n = h.end - m.now
		}
	case fsm.OpLockInfo: // as a number: the waiters, and the fence
		if h != nil {
			n = int64(h.fence)*1000 + int64(len(m.line(string(o.Key))))
		}
	case fsm.OpLockWaiters:
		n = int64(len(m.line(string(o.Key))))
	case fsm.OpLockScan:
		n = int64(len(m.holds))
	}
	m.reply(c, o.Seq, fsm.CodeOK, n)
}
