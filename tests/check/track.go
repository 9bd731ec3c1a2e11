package check

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// What an owner may have of a lock: a hold count above 0, or one of these.
const (
	none       = 0
	noticed    = -1 // lost by lease, FORCEUNLOCK or DESTROY; the next UNLOCK or RENEW is told
	noticedEnd = -2 // lost by the end of its session; the next request is told
)

// states are what an owner may have, by what it was told.
type states map[int64]bool

// shifted returns what each count above 0 becomes.
func (s states) shifted(by int64) states {
	to := states{}
	for n := range s {
		if n > 0 {
			to[n+by] = true
		}
	}
	return to
}

func (s states) held() bool {
	for n := range s {
		if n > 0 {
			return true
		}
	}
	return false
}

// free reports whether the owner may hold nothing.
func (s states) free() bool { return s[none] || s[noticed] || s[noticedEnd] }

func (s states) String() string {
	var words []string
	for _, n := range slices.Sorted(maps.Keys(s)) {
		switch n {
		case noticed, noticedEnd:
			words = append(words, "lost")
		default:
			words = append(words, fmt.Sprint(n))
		}
	}
	return fmt.Sprint(slices.Compact(words))
}

// tracker follows one owner through its requests for one key.
type tracker struct {
	*checker
	at     line
	may    states
	hold   *hold         // the present one; nil: none, or its fence is not known
	asked  int64         // when the present hold, known or not, was asked for
	leased time.Duration // the earliest end of its lease; Never: none
	told   int64         // when the owner's latest request was settled
	shocks []*Op
	ended  map[*span]bool // that may have ended a hold
	kept   bool           // its hold belongs to no session: nobody is told of its loss
	ghosts bool           // some request may still take effect
	late   []*Op          // requests of which nothing is known, as they were sent
	// doubt: the present hold may be another one than hold, begun by a request without answer; doubted is the first such.
	doubt   bool
	doubted int64
}

// follow checks the counts of one owner and one key and finds its holds and how they may have ended.
func (c *checker) follow(at line, ops []*Op) {
	t := &tracker{
		checker: c, at: at, may: states{none: true}, asked: never, leased: Never, told: -1,
		shocks: c.shocks[at.key], ended: map[*span]bool{},
	}
	for _, o := range ops {
		t.losses(o.sent, o.answered, o)
		t.hearLate(o.sent)
		t.request(o)
		if o.answered != never {
			t.told = o.answered
		}
	}
	t.losses(int64(len(c.times)), int64(len(c.times)), nil)
	t.hearLate(never)
	t.close(int64(len(c.times)))
	t.endings()
}

// losses adds what the owner may have lost by the moment when a request was answered.
func (t *tracker) losses(sent, answered int64, o *Op) {
	defer t.forgets(answered)
	if !t.may.held() {
		return
	}
	if t.leased != Never && t.first(t.leased) <= answered {
		t.may[noticed] = true
	}
	for len(t.shocks) > 0 && t.shocks[0].answered < t.asked {
		t.shocks = t.shocks[1:]
	}
	for _, s := range t.shocks {
		if s.sent > answered {
			break
		}
		if t.shaken(s) {
			t.may[noticed] = true
		}
	}
	for _, e := range t.h.ends[t.at.owner] {
		if t.first(e.from) > answered || t.after(e.until) < t.asked {
			continue
		}
		t.ended[e] = true
		t.may[noticedEnd] = true
		if !t.ghosts && e.until != Never && t.after(e.until) <= sent && t.first(e.from) > t.told {
			t.gone(e, o)
		}
	}
}

// forgets adds that a notice may be gone by the moment when a request was answered, for its session ended so long ago.
func (t *tracker) forgets(answered int64) {
	life, ok := t.h.lives[t.at.owner]
	if !ok || !t.may[noticed] && !t.may[noticedEnd] {
		return
	}
	for _, e := range t.h.ends[t.at.owner] {
		if t.after(e.until) >= t.asked && t.first(e.from+life) <= answered {
			t.may[none] = true
		}
	}
}

// gone settles that a session has ended, and with it what the owner held.
func (t *tracker) gone(e *span, o *Op) {
	if o != nil && e.last && o.outcome >= done && o.outcome != nothing {
		t.fault("%v: its owner's session must have ended at %v", o, e.until)
	}
	t.close(t.first(e.from))
	t.may[noticedEnd], t.leased = true, Never
	maps.DeleteFunc(t.may, func(n int64, _ bool) bool { return n > 0 })
}

// shaken reports whether a FORCEUNLOCK or DESTROY may have ended the present hold.
func (t *tracker) shaken(s *Op) bool {
	return s.answered > t.asked && (s.fence == 0 || t.hold == nil || s.fence == t.hold.fence)
}

// close ends the present hold: until a moment its owner was promised it.
func (t *tracker) close(at int64) {
	if t.leased != Never && t.hold != nil && !t.doubt {
		t.leaseEnds(t.leased, t.hold.fence)
	} else if t.leased != Never {
		t.leaseEnds(t.leased, 0)
	}
	if t.hold == nil {
		return
	}
	end := min(at, t.first(t.leased))
	for _, e := range t.h.ends[t.at.owner] {
		if t.after(e.until) > t.asked {
			end = min(end, t.first(e.from))
		}
	}
	for _, s := range t.shocks {
		if t.shaken(s) {
			end = min(end, s.sent)
		}
	}
	t.hold.promised = min(t.hold.promised, end)
	t.hold = nil
}

// leaseEnds hands the possible end of a lease to Porcupine.
func (t *tracker) leaseEnds(at time.Duration, fence int64) {
	if from := t.first(at); from < int64(len(t.times)) {
		t.ends[t.at.key] = append(t.ends[t.at.key], ending{
			owner: t.at.owner, fence: fence, from: from, until: never, lease: true,
		})
	}
}

// endings hands the ends of this owner's sessions to Porcupine, where it may have held the lock.
func (t *tracker) endings() {
	for _, e := range t.h.ends[t.at.owner] {
		if !t.ended[e] && !t.ghosts {
			continue
		}
		t.ends[t.at.key] = append(t.ends[t.at.key], ending{
			owner: t.at.owner, from: t.first(e.from), until: t.after(e.until), last: e.last,
		})
	}
}
