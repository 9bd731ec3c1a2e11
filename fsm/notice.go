package fsm

import (
	"slices"

	"github.com/redlockd/redlockd/internal/canary"
)

// notice tells an owner that a hold of it ended without its UNLOCK.
type notice struct {
	rec
	n      uint64
	s      *session
	claim  claimKey
	fence  uint64
	why    Why
	text   string
	expire timer[*notice] // runs once a named session has ended
}

func (n *notice) appendKey(dst []byte) []byte { return appendID(dst, kindNotice, n.n) }

func (n *notice) appendValue(dst []byte) []byte {
	dst = append(n.s.appendRef(dst), byte(n.claim.kind), byte(n.why))
	dst = appendString(appendString(dst, n.claim.label), n.claim.key)
	dst = appendString(appendUints(dst, n.fence), n.text)
	at := int64(-1)
	if n.expire.pos != 0 {
		at = n.expire.at
	}
	return appendInts(dst, at)
}

func (n *notice) forget(*Machine) {}

// endsSession tells the ends of sessions from the other ways to lose a hold: of
// these LOCK and the queries tell as well.
func (w Why) endsSession() bool {
	switch w {
	case WhySessionClosed, WhySessionExpired, WhySessionKilled, WhyNodeLost, WhyConnClosed, WhyReset:
		return true
	default:
		return false
	}
}

// maxOwnerNotices is how many untold losses of one key an owner has. Unlabelled requests
// in a named session share theirs, and no new grant clears them: without a bound those
// that leave their locks to the lease would make each LOCK look through all of them.
const maxOwnerNotices = 256

// addNotice notes that the hold of l is lost. Beyond the limits the oldest notice goes.
func (m *Machine) addNotice(l *lock, why Why, text string) {
	if canary.NoticeLost { // nobody is told
		return
	}
	m.meta.notices++
	n := &notice{n: m.meta.notices, s: l.session, claim: claimKey{l.kind, l.label, l.key}, fence: l.fence, why: why, text: text}
	n.expire.it, n.expire.ord = n, n.n
	m.keepNotice(n)
	m.touch(n)
	for list := n.s.notices[n.claim]; len(list) > maxOwnerNotices; list = n.s.notices[n.claim] {
		m.dropNotice(list[0])
	}
	for int64(len(m.notices)) > m.settings.MaxNotices {
		for m.oldest[0].gone {
			m.oldest = m.oldest[1:]
		}
		m.dropNotice(m.oldest[0])
	}
}

// keepNotice links a notice into the maps.
func (m *Machine) keepNotice(n *notice) {
	s := n.s
	if s.notices == nil {
		s.notices = map[claimKey][]*notice{}
	}
	s.notices[n.claim] = append(s.notices[n.claim], n)
	m.notices[n.n] = n
	if len(m.oldest) > 64 && len(m.oldest) > 2*len(m.notices) {
		live := make([]*notice, 0, len(m.notices))
		for _, o := range m.oldest {
			if !o.gone {
				live = append(live, o)
			}
		}
		m.oldest = live
	}
	m.oldest = append(m.oldest, n)
}

// noticeOf returns the oldest notice of the owner for the key; with a fence, the
// one of that hold.
func (m *Machine) noticeOf(own owner, key []byte, fence uint64) *notice {
	if len(own.s.notices) == 0 || own.kind == ownKeep {
		return nil
	}
	for _, n := range own.s.notices[own.claim(key)] {
		if fence == 0 || n.fence == fence {
			return n
		}
	}
	return nil
}

// endNotice returns the oldest notice that tells of the end of a session: LOCK
// and the queries tell of these only.
func (m *Machine) endNotice(own owner, key []byte) *notice {
	if len(own.s.notices) == 0 || own.kind == ownKeep {
		return nil
	}
	for _, n := range own.s.notices[own.claim(key)] {
		if n.why.endsSession() {
			return n
		}
	}
	return nil
}

// takeNotice drops the notice and returns it as an answer.
func (m *Machine) takeNotice(n *notice) answer {
	a := n.answer()
	if !canary.NoticeStays { // canary: it is told again and again
		m.dropNotice(n)
	}
	return a
}

func (n *notice) answer() answer {
	return answer{code: CodeLockLost, why: n.why, fence: n.fence, text: n.text}
}

// dropNotice takes a notice out of the state.
func (m *Machine) dropNotice(n *notice) {
	s := n.s
	list := s.notices[n.claim]
	switch i := slices.Index(list, n); i {
	case -1:
	case 0: // the most common one: nothing is moved
		list = list[1:]
	default:
		list = append(list[:i:i], list[i+1:]...)
	}
	if len(list) == 0 {
		delete(s.notices, n.claim)
	} else {
		s.notices[n.claim] = list
	}
	m.eraseNotice(n)
	m.retire(s)
}

// eraseNotice takes a notice out of everything but its session.
func (m *Machine) eraseNotice(n *notice) {
	m.noticeTimers.stop(&n.expire)
	delete(m.notices, n.n)
	m.drop(n)
}

// clearNotices drops the notices of an owner that holds the lock again.
func (m *Machine) clearNotices(s *session, claim claimKey) {
	for len(s.notices[claim]) > 0 {
		m.dropNotice(s.notices[claim][0])
	}
}
