package check

import (
	"strings"
	"testing"
)

// adversary are more cases: what a server could do wrong, thought of by one who wants it to pass, and beside each what
// looks alike and is right.
var adversary = []struct {
	name  string
	write func(s *script)
	want  string
}{
	{"refused though it was to wait for ever", func(s *script) {
		s.lock("b", "k", 0, 1, 1)
		e := s.told("a", Acquire, "k", 2, 9, refused)
		e.waits = Never
	}, "it was to wait for ever"},
	{"refused before its time was over", func(s *script) {
		s.lock("b", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 2, 6, refused).waiting(5)
	}, "it was to wait for 5ms"},
	{"refused when its time was over", func(s *script) {
		s.lock("b", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 2, 8, refused).waiting(5)
		s.unlock("b", "k", 8, 9, 0)
	}, ""},
	{"a waiter that was forgotten till its time was over", func(s *script) {
		s.lock("b", "k", 0, 1, 1)
		s.unlock("b", "k", 3, 4, 0)
		s.told("a", Acquire, "k", 2, 15, refused).waiting(10)
	}, ""},
	{"overtaken, and refused later", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 1, 25, refused).waiting(20).seenAt(2)
		s.lock("b", "k", 3, 6, 2)
		s.unlock("c", "k", 4, 5, 0)
		s.unlock("b", "k", 30, 31, 0)
	}, "it overtook"},
	{"granted after another one's time was over", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 1, 25, refused).waiting(20).seenAt(2)
		s.lock("b", "k", 3, 24, 2)
		s.unlock("c", "k", 22, 23, 0)
	}, ""},
	{"the second in line comes first", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		b := s.lock("b", "k", 2, 8, 2)
		a := s.lock("a", "k", 3, 11, 3)
		s.line(5, a, b) // they were sent at the same time: who came first, only the line can tell
		s.unlock("c", "k", 6, 7, 0)
		s.unlock("b", "k", 9, 10, 0)
	}, "behind which it was in line"},
	{"each in its turn", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		b := s.lock("b", "k", 2, 8, 2)
		a := s.lock("a", "k", 3, 11, 3)
		s.line(5, b, a)
		s.unlock("c", "k", 6, 7, 0)
		s.unlock("b", "k", 9, 10, 0)
	}, ""},
	{"the second in line comes first, for the first had to stand in line anew", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		b := s.lock("b", "k", 2, 8, 2)
		a := s.lock("a", "k", 3, 11, 3)
		a.requeued = 100
		s.line(5, a, b)
		s.unlock("c", "k", 6, 7, 0)
		s.unlock("b", "k", 9, 10, 0)
	}, ""},
	{"re-entered from behind another one in line", func(s *script) {
		s.lock("c", "k", 0, 1, 1)
		a := s.lock("a", "k", 2, 8, 2)
		b := s.lock("b", "k", 3, 13, 3)
		again := s.lock("a", "k", 3, 8, 2)
		s.line(5, a, b, again)
		s.unlock("c", "k", 6, 7, 0)
		s.unlock("a", "k", 9, 10, 1)
		s.unlock("a", "k", 11, 12, 0)
	}, ""},
	{"a fence below one that only FENCE told", func(s *script) {
		s.told("z", Acquire, "k", 0, unanswered, unknown)
		s.op("x", Fence, "k", 1, 2, done, 9)
		s.lock("a", "j", 3, 4, 8)
	}, "is not above fence 9"},
	{"FENCE tells a fence of another key", func(s *script) {
		s.told("z", Acquire, "k", 0, unanswered, unknown)
		s.op("x", Fence, "k", 1, 5, done, 4)
		s.lock("a", "j", 2, 4, 4)
	}, "this is the fence of"},
	{"a waiter is granted with a fence from before", func(s *script) {
		s.lock("c", "j", 0, 1, 1)
		s.lock("b", "j", 1, 7, 7) // asked for early, and given late
		s.lock("a", "k", 2, 3, 8)
		s.unlock("c", "j", 4, 5, 0)
	}, "is not above fence 8"},
	{"a waiter is granted with a new fence", func(s *script) {
		s.lock("c", "j", 0, 1, 1)
		s.lock("b", "j", 1, 7, 9)
		s.lock("a", "k", 2, 3, 8)
		s.unlock("c", "j", 4, 5, 0)
	}, ""},
	{"a release that names a hold of before is done to this one", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.unlock("a", "k", 2, 3, 0)
		s.lock("a", "k", 4, 5, 2)
		s.unlock("a", "k", 6, 7, 0).named(1)
	}, "it named fence 1"},
	{"a renewal that names a hold of before is done to this one", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.unlock("a", "k", 2, 3, 0)
		s.lock("a", "k", 4, 5, 2)
		s.op("a", Renew, "k", 6, 7, done, 2).leased(10).named(1)
	}, "it named fence 1"},
	{"a count that says NOTOWNER", func(s *script) {
		s.told("a", Count, "k", 0, 1, notHeld)
	}, "no such answer"},
	{"a release that says DESTROYED", func(s *script) {
		s.op("x", Destroy, "k", 0, 1, done, 1)
		s.told("a", Release, "k", 2, 3, destroyed)
	}, "no such answer"},
	{"an answer that is neither yes nor no", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("a", Owns, "k", 2, 3, done, 2)
	}, "no such value"},
	{"a fence below 0", func(s *script) {
		s.op("x", Fence, "k", 0, 1, done, -1)
	}, "no such value"},
	{"the fence of a destroyed lock goes back", func(s *script) {
		s.lock("a", "k", 0, 1, 8)
		s.op("x", Destroy, "k", 2, 3, done, 1)
		s.op("x", Undestroy, "k", 4, 5, done, 1)
		s.lock("b", "k", 6, 7, 3)
	}, "is not above fence 8"},
	{"an UNLOCK with an ID that is done twice", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.lock("a", "k", 1, 2, 1)
		s.unlock("a", "k", 3, 9, 1) // asked twice
		s.told("a", Release, "k", 10, 11, notHeld)
	}, "it holds it [1] times"},
	{"a grant to an ended session that nobody hears of", func(s *script) {
		s.lock("b", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 2, unanswered, unknown)
		s.MayEnd("a", at(3))
		s.MustEnd("a", at(5))
		s.unlock("b", "k", 6, 7, 0)
		s.told("c", Acquire, "k", 8, unanswered, waiting)
	}, "it was forgotten"},
	{"a release heard behind a later grant", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 2, unanswered, unknown).gaveUp(3)
		s.lock("a", "k", 4, 5, 1)
		s.unlock("a", "k", 6, 7, 0)
	}, ""},
	{"a release overtaken on its own connection", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 2, unanswered, unknown).gaveUp(8)
		s.lock("a", "k", 4, 5, 1)
		s.unlock("a", "k", 6, 7, 0)
	}, "the hold count before it can only be [2]"},
	{"a release heard twice", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 2, unanswered, unknown).gaveUp(3)
		s.lock("a", "k", 4, 5, 1)
		s.unlock("a", "k", 6, 7, 0)
	}, ""},
	{"a release heard when there is something to release", func(s *script) {
		s.told("a", Release, "k", 0, unanswered, unknown).gaveUp(1)
		s.lock("a", "k", 2, 3, 1)
		s.lock("b", "k", 4, 5, 2)
	}, ""},
	{"an acquire heard late", func(s *script) {
		s.told("a", Acquire, "k", 0, unanswered, unknown).gaveUp(1)
		s.told("a", Release, "k", 2, 3, notHeld)
		s.told("b", Acquire, "k", 4, 5, refused)
		s.op("a", Owns, "k", 6, 7, done, 1)
	}, ""},
	{"a renewal heard late", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Renew, "k", 2, unanswered, unknown).leased(3).gaveUp(3)
		s.unlock("a", "k", 4, 5, 0)
		s.lock("a", "k", 6, 7, 2)
		s.lock("b", "k", 8, 9, 3)
	}, ""},
	{"a pipeline heard late, a hold of its own in it", func(s *script) {
		s.told("a", Release, "k", 0, unanswered, unknown).gaveUp(1)
		s.told("a", Acquire, "k", 0, unanswered, unknown).gaveUp(1)
		s.told("a", Acquire, "k", 0, unanswered, unknown).gaveUp(1)
		s.lock("a", "k", 2, 3, 1)
		s.lock("b", "other", 4, 5, 4)
		s.lock("a", "k", 6, 7, 2)
		s.unlock("a", "k", 8, 9, 2)
	}, ""},
}

// TestAnsweredTwice: one request, one answer; the first is what was told.
func TestAnsweredTwice(t *testing.T) {
	h := New()
	o := h.Begin("a", Acquire, "k")
	o.Done(4)
	o.Unknown() // the client has given up what it was told already
	h.Begin("a", Release, "k").Done(0)
	if r := Check(h, Options{}); len(r.Faults) > 0 {
		t.Error(r)
	}
	o.Done(5)
	if r := Check(h, Options{}); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "answered a second time, done 5") {
		t.Error(r)
	}
	late := h.Begin("b", Acquire, "j")
	late.Unknown()
	late.Done(6) // it came after all
	if r := Check(h, Options{}); len(r.Faults) != 1 || r.Unknown != 0 {
		t.Error(r)
	}
}

// TestQueue: what is noted of a line.
func TestQueue(t *testing.T) {
	h := New()
	h.Begin("c", Acquire, "k").Done(1)
	b, a := h.Begin("b", Acquire, "k"), h.Begin("a", Acquire, "k")
	h.Queue(h.Moment(), a, b)
	h.Begin("c", Release, "k").Done(0)
	b.Done(2)
	h.Begin("b", Release, "k").Done(0)
	a.Done(3)
	if r := Check(h, Options{}); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "behind which it was in line") {
		t.Error(r)
	}
	a.Requeued() // it says that a's place was another one by the time
	if r := Check(h, Options{}); len(r.Faults) > 0 {
		t.Error(r)
	}
}
