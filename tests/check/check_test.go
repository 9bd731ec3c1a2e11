package check

import (
	"strings"
	"testing"
	"time"
)

// script builds a history by hand: times are in milliseconds.
type script struct{ *History }

func newScript() *script { return &script{New()} }

const unanswered = -1

func (s *script) op(owner string, kind Kind, key string, sent, answered int, how outcome, value int64) *Op {
	o := s.Begin(owner, kind, key)
	o.sent, o.answered, o.outcome, o.value = at(sent), at(answered), how, value
	if answered == unanswered {
		o.answered = never
	}
	return o
}

func (s *script) lock(owner, key string, sent, answered int, fence int64) *Op {
	return s.op(owner, Acquire, key, sent, answered, done, fence)
}

func (s *script) unlock(owner, key string, sent, answered int, left int64) *Op {
	return s.op(owner, Release, key, sent, answered, done, left)
}

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(s *script)
		want  string // "" or a part of a complaint
	}{
		{"nothing", func(*script) {}, ""},
		{"two in turn", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.lock("b", "k", 0, 5, 2)
			s.unlock("a", "k", 3, 6, 0) // its own answer may come later than the next grant
			s.unlock("b", "k", 7, 8, 0)
		}, ""},
		{"two at once", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.lock("b", "k", 0, 2, 2)
			s.unlock("a", "k", 3, 4, 0)
		}, "while a was promised it"},
		{"two at once, the other way round", func(s *script) {
			s.lock("b", "k", 0, 1, 2)
			s.lock("a", "k", 0, 2, 1)
			s.unlock("a", "k", 3, 4, 0)
			s.unlock("b", "k", 5, 6, 0)
		}, "while a was promised it"},
		{"never released", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.lock("b", "k", 0, 2, 2)
		}, "while a was promised it"},
		{"a release without an answer", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Release, "k", 2, unanswered, unknown, 0)
			s.lock("b", "k", 0, 3, 2)
		}, ""},
		{"a grant before the release was sent", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Release, "k", 4, unanswered, unknown, 0)
			s.lock("b", "k", 0, 3, 2)
		}, "while a was promised it"},
		{"an ended session", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.MayEnd("a", at(5))
			s.MayEnd("a", at(9))
			s.lock("b", "k", 0, 6, 2)
		}, ""},
		{"a session ended too early", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.MayEnd("a", at(7))
			s.lock("b", "k", 0, 6, 2)
		}, "while a was promised it"},
		{"an ended session that acts", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.MayEnd("a", at(5))
			s.lock("b", "k", 0, 6, 2)
			s.unlock("a", "k", 7, 8, 0)
		}, "after b was told"},
		{"a lease", func(s *script) {
			s.lock("a", "k", 0, 1, 1).lease = at(5)
			s.lock("b", "k", 0, 6, 2)
			s.op("a", Release, "k", 7, 8, notHeld, 0)
		}, ""},
		{"a lease cut short", func(s *script) {
			s.lock("a", "k", 0, 1, 1).lease = at(7)
			s.lock("b", "k", 0, 6, 2)
		}, "while a was promised it"},
		{"a lease and re-entry without one", func(s *script) {
			s.lock("a", "k", 0, 1, 1).lease = at(5)
			s.lock("a", "k", 2, 3, 1)
			s.lock("b", "k", 0, 6, 2)
		}, "while a was promised it"},
		{"counts", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.lock("a", "k", 2, 3, 1)
			s.op("a", Count, "k", 3, 4, done, 2)
			s.unlock("a", "k", 4, 5, 1)
			s.unlock("a", "k", 6, 7, 0)
			s.op("a", Release, "k", 8, 9, notHeld, 0)
			s.op("a", Acquire, "k", 8, 9, nothing, 0)
			s.lock("a", "k", 8, 9, 2)
		}, ""},
		{"done twice", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.unlock("a", "k", 4, 5, 1)
		}, "can only be [1]"},
		{"a count too many", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Count, "k", 3, 4, done, 2)
		}, "can only be [1]"},
		{"done though nothing was", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Acquire, "k", 1, 2, nothing, 0)
			s.unlock("a", "k", 4, 5, 1)
		}, "can only be [1]"},
		{"lost for no reason", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Release, "k", 4, 5, notHeld, 0)
		}, "it holds it [1] times"},
		{"no answer: once", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Acquire, "k", 1, unanswered, unknown, 0)
			s.unlock("a", "k", 4, 5, 1)
			s.unlock("a", "k", 6, 7, 0)
		}, ""},
		{"no answer: not at all", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Acquire, "k", 1, unanswered, unknown, 0)
			s.unlock("a", "k", 4, 5, 0)
		}, ""},
		{"no answer: twice", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.op("a", Acquire, "k", 1, unanswered, unknown, 0)
			s.op("a", Count, "k", 3, 4, done, 3)
		}, "can only be [1 2]"},
		{"the count of another one's hold", func(s *script) {
			s.op("a", Acquire, "k", 1, 2, nothing, 0)
			s.op("a", Count, "k", 3, 4, done, 3)
		}, ""},
		{"no answer to the grant", func(s *script) {
			s.op("a", Acquire, "k", 1, unanswered, unknown, 0)
			s.lock("a", "k", 2, 3, 7)
			s.unlock("a", "k", 4, 5, 1)
		}, ""},
		{"another fence while it holds", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.lock("a", "k", 2, 3, 2)
			s.MayEnd("a", at(50))
		}, "already"},
		{"re-entered after its end", func(s *script) {
			s.lock("a", "k", 0, 1, 1)
			s.unlock("a", "k", 2, 3, 0)
			s.lock("a", "k", 4, 5, 1)
		}, "was given to a for k, too"},
		{"a fence for two keys", func(s *script) {
			s.lock("a", "k", 0, 5, 1)
			s.lock("b", "j", 0, 5, 1)
		}, "was given to a for k, too"},
		{"a fence that fell", func(s *script) {
			s.lock("a", "k", 0, 1, 8)
			s.lock("b", "j", 2, 3, 7)
		}, "is not above fence 8"},
		{"fences in flight together", func(s *script) {
			s.lock("a", "k", 0, 2, 8)
			s.lock("b", "j", 1, 3, 7)
		}, ""},
		{"no fence", func(s *script) { s.lock("a", "k", 0, 1, 0) }, "no fence"},
		{"in line", func(s *script) {
			s.lock("a", "k", 0, 10, 1).inLine = at(2)
			s.MayEnd("a", at(11))
			s.lock("b", "k", 3, 12, 2).inLine = at(4)
		}, ""},
		{"overtaken", func(s *script) {
			s.lock("b", "k", 3, 10, 1).inLine = at(4)
			s.MayEnd("b", at(11))
			s.lock("a", "k", 0, 12, 2).inLine = at(2)
		}, "overtook"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.write(s)
			s.began = time.Now().Add(-time.Second) // the history ends after all of it
			faults := s.Check()
			all := strings.Join(faults, "\n")
			if (c.want == "") != (len(faults) == 0) || len(faults) > 2 || !strings.Contains(all, c.want) {
				t.Errorf("complaints %q, want %q", faults, c.want)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	h := New()
	first := h.Begin("a", Acquire, "k").Lease(time.Hour)
	first.Done(4)
	second := h.Begin("b", Acquire, "k")
	second.InLine()
	h.Begin("a", Release, "k").Done(0)
	second.Done(5)
	h.Begin("b", Release, "k").Nothing()
	h.Begin("c", Release, "k").NotHeld()
	h.Begin("c", Acquire, "k")
	if all, open := h.Len(); all != 6 || open != 1 {
		t.Errorf("%d requests, %d without outcome", all, open)
	}
	if faults := h.Check(); len(faults) != 0 {
		t.Error(faults)
	}
	for _, o := range h.ops {
		if o.String() == "" || o.sent > o.answered {
			t.Errorf("%v", o)
		}
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	s := newScript()
	for i := range 10 * maxFaults {
		s.lock("a", "k", i, i+1, 0)
	}
	if n := len(s.Check()); n != maxFaults {
		t.Errorf("%d complaints", n)
	}
}
