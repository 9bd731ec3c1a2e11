package check

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

// script builds a history by hand: times are in milliseconds. What happens at the same time happens in the order of
// the lines, an answer after its own request.
type script struct {
	*History
	lines  []*entry
	queued []*view
}

// view is a look at who stands in line.
type view struct {
	at   int
	ops  []*entry
	seen int64
}

type entry struct {
	*Op
	from, until, seen int
	left              int
}

const unanswered = -1

func newScript() *script { return &script{History: New()} }

func (s *script) op(owner string, kind Kind, key string, sent, answered int, how outcome, value int64) *entry {
	o := &Op{h: s.History, kind: kind, owner: owner, key: key, outcome: how, value: value, answered: never, given: never, inLine: never}
	e := &entry{o, sent, answered, unanswered, unanswered}
	s.ops = append(s.ops, o)
	s.lines = append(s.lines, e)
	return e
}

func (e *entry) leased(ms int) *entry { e.lease = at(ms); return e }
func (e *entry) seenAt(ms int) *entry { e.seen = ms; return e }
func (e *entry) waiting(ms int) *entry {
	e.waits = at(ms)
	return e
}

// gaveUp says when the client left the connection without an answer.
func (e *entry) gaveUp(ms int) *entry { e.left = ms; return e }
func (e *entry) named(f int64) *entry { e.fence = f; return e }

func (s *script) lock(owner, key string, sent, answered int, fence int64) *entry {
	return s.op(owner, Acquire, key, sent, answered, done, fence)
}

func (s *script) unlock(owner, key string, sent, answered int, left int64) *entry {
	return s.op(owner, Release, key, sent, answered, done, left)
}

// told is a request with another answer than a value.
func (s *script) told(owner string, kind Kind, key string, sent, answered int, how outcome) *entry {
	return s.op(owner, kind, key, sent, answered, how, 0)
}

// line is what somebody saw of who stands in line.
func (s *script) line(at int, ops ...*entry) { s.queued = append(s.queued, &view{at: at, ops: ops}) }

// end numbers the moments.
func (s *script) end() *History {
	type moment struct {
		ms int
		to *int64
	}
	var all []moment
	for _, e := range s.lines {
		all = append(all, moment{e.from, &e.sent})
		if e.seen != unanswered {
			all = append(all, moment{e.seen, &e.inLine})
		}
		if e.left != unanswered {
			all = append(all, moment{e.left, &e.given})
		}
		if e.until != unanswered {
			all = append(all, moment{e.until, &e.answered})
		}
	}
	for _, v := range s.queued {
		all = append(all, moment{v.at, &v.seen})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.ms, b.ms) })
	for i, m := range all {
		*m.to = int64(i)
		s.times = append(s.times, at(m.ms))
	}
	for _, v := range s.queued {
		q := lineUp{asked: v.seen, seen: v.seen}
		for _, e := range v.ops {
			q.ops = append(q.ops, e.Op)
		}
		s.queues = append(s.queues, q)
	}
	return s.History
}

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// stuck are the cases that only Porcupine complains about.
var stuck = []string{"refused, and it is free", "refused by a lock that is stuck", "a fence that is another's", "a stale count", "a waiter that was forgotten till its time was over", "a release heard twice"}

const noOrder = ": no order of its "

func TestCheck(t *testing.T) {
	for _, c := range slices.Concat(cases, adversary) {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.write(s)
			faults := Check(s.end(), Options{}).Faults
			all := strings.Join(faults, "\n")
			orders := strings.Count(all, noOrder)
			if want := slices.Contains(stuck, c.name); want && orders == 0 {
				t.Error("Porcupine found an order")
			} else if !want && c.want == "" && orders > 0 {
				t.Error("Porcupine found no order")
			}
			if n := len(faults) - orders; (c.want == "") != (n == 0) || n > 3 || !strings.Contains(all, c.want) {
				t.Errorf("complaints %q, want %q", faults, c.want)
			}
		})
	}
}
