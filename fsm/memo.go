package fsm

import (
	"cmp"

	"github.com/redlockd/redlockd/internal/canary"
)

// rememberedIDs is how many request IDs of one owner and key are kept.
const rememberedIDs = 16

// claimKey names an owner inside a session, and a key.
type claimKey struct {
	kind  ownerKind
	label string
	key   string
}

// memoKey names an owner and a key. Named sessions keep their object over their
// lives, so it reaches across a reconnect.
type memoKey struct {
	s *session
	claimKey
}

// answer is the outcome of a request: of an op, or of the wait that it became.
type answer struct {
	code  Code
	why   Why
	fence uint64 // the fence granted, or lost
	num   int64  // the integer reply, where it is not the fence; the limit reached
	text  string
	fresh bool // the fence was granted, not re-entered
	// forget: not to be remembered by its ID, the request may act anew.
	forget bool
}

// value is the integer reply.
func (a *answer) value() int64 {
	if a.fence != 0 {
		return int64(a.fence)
	}
	return a.num
}

// memory is one remembered request ID.
type memory struct {
	id   string
	cmd  OpCode
	wait uint64 // the wait's number while it is in line, else 0 and the answer counts
	answer
}

// memo holds the newest request IDs of one owner and key.
type memo struct {
	rec
	memoKey
	list   []memory // oldest first
	expire timer[*memo]
	pos    int32
}

func (o *memo) appendKey(dst []byte) []byte {
	dst = append(o.s.appendRef(append(dst, kindMemo)), byte(o.kind))
	return append(appendString(dst, o.label), o.key...)
}

func (o *memo) appendValue(dst []byte) []byte {
	dst = appendInts(dst, o.expire.at)
	dst = appendUints(dst, o.expire.ord, uint64(len(o.list)))
	for i := range o.list {
		y := &o.list[i]
		dst = append(appendString(dst, y.id), byte(y.cmd), byte(y.code), byte(y.why))
		dst = appendInts(appendUints(dst, y.wait, y.fence), y.num)
		dst = appendBool(appendString(dst, y.text), y.fresh)
	}
	return dst
}

func (o *memo) forget(m *Machine) {
	if m.memos[o.memoKey] == o {
		delete(m.memos, o.memoKey)
	}
}

func byNumber(a, b *memo) int { return cmp.Compare(a.expire.ord, b.expire.ord) }

// memoKey names what remembers a request ID. Where each request is an owner of
// its own, or of none (KEEP), each has its own memory, so that others do not push it out.
func (w owner) memoKey(key, id []byte) memoKey {
	k := memoKey{w.s, w.claim(key)}
	if w.kind == ownEach || w.kind == ownKeep {
		k.label = string(id)
	}
	return k
}

func (w owner) claim(key []byte) claimKey { return claimKey{w.kind, string(w.label), string(key)} }

// memoFor returns the memo for the op's owner, key and ID, made if need be, and keeps it for
// two session-timeouts more.
func (m *Machine) memoFor(own owner, op *Op) *memo {
	k := own.memoKey(op.Key, op.ID)
	o := m.memos[k]
	if o == nil {
		o = &memo{memoKey: k}
		m.memos[k] = o
	} else if !o.gone {
		m.keepMemo(o)
		return o
	}
	o.gone = false
	m.meta.memos++
	o.expire.it, o.expire.ord = o, m.meta.memos
	m.memoByNumber[o.expire.ord] = o
	bagAdd(&own.s.memos, o, &o.pos)
	m.keepMemo(o)
	return o
}

// keepMemo lets the memo live for two session-timeouts from now.
func (m *Machine) keepMemo(o *memo) {
	keep := 2 * m.settings.SessionTimeout
	if canary.IDForgotten { // with the hold
		keep = 1
	}
	m.memoTimers.set(&o.expire, m.meta.now+keep)
	m.touch(o)
}

// memoDue drops a memo whose owner neither holds nor waits any more.
func (m *Machine) memoDue(o *memo) {
	if l := m.locks[o.key]; l != nil && l.fence != 0 {
		if l.memo == o.expire.ord {
			m.keepMemo(o)
			return
		}
		for w := range l.line(o.s) {
			if w.memo == o || w.kind == o.kind && w.kind != ownEach && w.label == o.label {
				m.keepMemo(o)
				return
			}
		}
	}
	s := o.s
	m.dropMemo(o)
	m.retire(s)
}

func (m *Machine) dropMemo(o *memo) {
	m.memoTimers.stop(&o.expire)
	delete(m.memoByNumber, o.expire.ord)
	bagDel(&o.s.memos, o.pos, func(o *memo) *int32 { return &o.pos })
	o.s.ids -= int64(len(o.list))
	m.ids -= int64(len(o.list))
	o.list = nil
	m.drop(o)
}

// record notes a request ID, in the place of the oldest answered one if there are many.
func (m *Machine) record(o *memo, y memory) {
	if len(o.list) >= rememberedIDs {
		for i := range o.list {
			if o.list[i].wait == 0 {
				m.unrecord(o, i)
				break
			}
		}
	}
	o.list = append(o.list, y)
	o.s.ids++
	m.ids++
	m.touch(o)
}

func (m *Machine) unrecord(o *memo, i int) {
	o.list = append(o.list[:i], o.list[i+1:]...)
	o.s.ids--
	m.ids--
	m.touch(o)
}

// lost notes with a remembered grant how its hold ended.
func (o *memo) lost(fence uint64, why Why) {
	for i := range o.list {
		if y := &o.list[i]; y.wait == 0 && y.code == CodeOK && y.fence == fence {
			y.why = why
		}
	}
}

// seek returns the index of a request ID in the memo, or -1.
func (o *memo) seek(id string) int {
	if o != nil {
		for i := range o.list {
			if o.list[i].id == id {
				return i
			}
		}
	}
	return -1
}

// settle gives a remembered wait its answer.
func (m *Machine) settle(o *memo, id string, a answer) {
	m.keepMemo(o)
	i := o.seek(id)
	if i < 0 {
		return
	}
	if a.forget {
		m.unrecord(o, i)
		return
	}
	o.list[i].wait, o.list[i].answer = 0, a
}

// repeated answers an op whose ID was seen before; it reports whether it was.
func (m *Machine) repeated(c *conn, o *Op, own owner) bool {
	memo := m.memos[own.memoKey(o.Key, o.ID)]
	i := memo.seek(string(o.ID))
	if i < 0 || canary.IDIgnored { // canary: a retry acts anew
		return false
	}
	y := &memo.list[i]
	if canary.IDRegrants && y.wait == 0 && y.fence != 0 && m.held(o.Key) == nil { // a retry takes the lock that it lost
		return false
	}
	switch {
	case y.cmd != o.Code:
		m.refuse(c, o.Seq, CodeErr, Detail{Why: WhyIDReused, Text: string(o.ID)})
	case y.wait != 0 && own.deadlocks(m.held(o.Key), o):
		a := answer{code: CodeDeadlock, why: WhyOther}
		m.send(c, o.Seq, a, m.detailOf(a, m.held(o.Key)))
	case y.wait != 0:
		w := m.waits[y.wait]
		w.orphan = 0
		m.call(w, c, o)
		m.armWait(w)
	case (o.Code == OpLock || o.Code == OpTryLock) && y.code == CodeOK && y.fence != 0:
		m.repeatGrant(c, o, own, y)
	default:
		m.send(c, o.Seq, y.answer, m.detailOf(y.answer, m.held(o.Key)))
	}
	return true
}

// repeatGrant answers a repeated LOCK that was granted: with the same fence if
// the hold is still there.
func (m *Machine) repeatGrant(c *conn, o *Op, own owner, y *memory) {
	l := m.held(o.Key)
	if l != nil && l.fence == y.fence {
		m.claimed(l)
		m.reply(c, o.Seq, int64(y.fence))
		return
	}
	a := answer{code: CodeLockLost, why: y.why, fence: y.fence}
	switch n := m.noticeOf(own, o.Key, y.fence); {
	case n != nil && n.why.endsSession():
		a = m.takeNotice(n) // this is what LOCK tells and takes
	case n != nil:
		a = n.answer() // left for UNLOCK and RENEW
	case a.why == WhyNone:
		a.why = WhyReleased
	}
	m.send(c, o.Seq, a, m.detailOf(a, l))
}

// idsRefused refuses an op with an ID that could not be remembered, since its session
// has limit of them; it reports whether it did.
func (m *Machine) idsRefused(c *conn, o *Op, own owner, limit int64) bool {
	if len(o.ID) == 0 || own.s.ids < limit {
		return false
	}
	m.refuse(c, o.Seq, CodeLimit, limitDetail(SettingMaxIDs, m.settings.MaxIDs))
	return true
}

// answerOp answers an op, and remembers the answer if the op has an ID.
func (m *Machine) answerOp(c *conn, o *Op, own owner, a answer) {
	l := m.locks[string(o.Key)]
	if len(o.ID) > 0 {
		memo := m.memoFor(own, o)
		m.record(memo, memory{id: string(o.ID), cmd: o.Code, answer: a})
		if own.kind != ownEach && own.holds(l) || l != nil && l.fence != 0 && l.fence == a.fence && a.code == CodeOK {
			l.memo = memo.expire.ord
			m.touch(l)
		}
	}
	if a.code == CodeOK {
		m.reply(c, o.Seq, a.value())
		return
	}
	m.send(c, o.Seq, a, m.detailOf(a, l))
}

// send answers one op with an answer; d is made by detailOf.
func (m *Machine) send(c *conn, seq uint64, a answer, d Detail) {
	if a.code == CodeOK {
		m.reply(c, seq, a.value())
		return
	}
	m.refuse(c, seq, a.code, d)
}

// detailOf gathers what the error's sentence needs; l may be nil or free.
func (m *Machine) detailOf(a answer, l *lock) Detail {
	if a.code == CodeOK {
		return Detail{}
	}
	d := Detail{Why: a.why, Fence: a.fence, Number: a.num, Text: a.text}
	if l != nil && l.fence != 0 {
		d.Holder = m.party(l)
		if d.Fence == 0 {
			d.Fence = l.fence
		}
	}
	return d
}
