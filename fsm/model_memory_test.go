package fsm_test

import (
	"slices"

	"github.com/redlockd/redlockd/fsm"
)

// remember keeps a request ID; of an owner and key the last 16 are kept, but one
// that is in line, or that holds as an owner of its own, stays.
func (m *model) remember(y *mMemo) {
	n := 0
	for _, x := range m.memos {
		if x.owner == y.owner && x.key == y.key {
			n++
		}
	}
	if n >= 16 {
		i := slices.IndexFunc(m.memos, func(x *mMemo) bool {
			h := m.holds[x.key]
			holds := x.owner.each && x.fresh && h != nil && h.fence == x.fence
			return x.owner == y.owner && x.key == y.key && x.wait == nil && !holds
		})
		if i >= 0 {
			m.memos = slices.Delete(m.memos, i, i+1)
		}
	}
	m.memos = append(m.memos, y)
	m.used(y.owner, y.key)
}

// used notes that the owner asked, held or waited there just now.
func (m *model) used(own mOwner, key string) {
	for _, y := range m.memos {
		if y.owner == own && y.key == key {
			y.last = m.now
		}
	}
}

// usedBy is used for the owner of a hold. A KEEP hold belongs to no session: only
// the IDs of the request that took it go with it.
func (m *model) usedBy(h *mHold, key string) {
	if !h.owner.keep || slices.ContainsFunc(m.memos, func(y *mMemo) bool { return y.owner == h.owner && y.key == key && y.fence == h.fence }) {
		m.used(h.owner, key)
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
		m.used(w.owner, w.key)
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
	}
	m.reply(c, o.Seq, code, n)
}

func (m *model) answerGrant(c *mConn, o *fsm.Op, own mOwner, fresh bool) {
	f := m.holds[string(o.Key)].fence
	if len(o.ID) > 0 {
		m.remember(&mMemo{
			owner: own, key: string(o.Key), id: string(o.ID), cmd: o.Code, reply: mReply{fsm.CodeOK, int64(f)}, fence: f, fresh: fresh,
		})
	}
	m.reply(c, o.Seq, fsm.CodeOK, int64(f))
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
	case y.wait != nil && o.Waits() && c.sess.name == "" && !h.owner.keep && h.owner.sess == c.sess:
		m.reply(c, o.Seq, fsm.CodeDeadlock, 0)
	case y.wait != nil:
		y.wait.orphan = 0
		m.join(y.wait, c, o)
	case y.fence != 0 && h != nil && h.fence == y.fence:
		h.claim, h.claimer = 0, nil
		m.reply(c, o.Seq, fsm.CodeOK, y.reply.n)
	case y.fence != 0:
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
