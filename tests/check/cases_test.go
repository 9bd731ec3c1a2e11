package check

// cases are histories by hand, and a part of what is to be said of them; "": nothing.
var cases = []struct {
	name  string
	write func(s *script)
	want  string
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
		s.told("a", Release, "k", 2, unanswered, unknown)
		s.lock("b", "k", 0, 3, 2)
	}, ""},
	{"a grant before the release was sent", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 4, unanswered, unknown)
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
		s.lock("a", "k", 0, 1, 1).leased(5)
		s.lock("b", "k", 0, 6, 2)
		s.told("a", Release, "k", 7, 8, lost)
	}, ""},
	{"a lease cut short", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(7)
		s.lock("b", "k", 0, 6, 2)
	}, "while a was promised it"},
	{"a lease and re-entry without one", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(5)
		s.lock("a", "k", 2, 3, 1)
		s.lock("b", "k", 0, 6, 2)
	}, "while a was promised it"},
	{"counts", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.lock("a", "k", 2, 3, 1)
		s.op("a", Count, "k", 3, 4, done, 2)
		s.unlock("a", "k", 4, 5, 1)
		s.unlock("a", "k", 6, 7, 0)
		s.told("a", Release, "k", 8, 9, notHeld)
		s.told("a", Acquire, "k", 8, 9, nothing)
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
		s.told("a", Acquire, "k", 1, 2, nothing)
		s.unlock("a", "k", 4, 5, 1)
	}, "can only be [1]"},
	{"lost for no reason", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 4, 5, notHeld)
	}, "it holds it [1] times"},
	{"no answer: once", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 1, unanswered, unknown)
		s.unlock("a", "k", 4, 5, 1)
		s.unlock("a", "k", 6, 7, 0)
	}, ""},
	{"no answer: not at all", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 1, unanswered, unknown)
		s.unlock("a", "k", 4, 5, 0)
	}, ""},
	{"no answer: twice", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 1, unanswered, unknown)
		s.op("a", Count, "k", 3, 4, done, 3)
	}, "can only be [1 2]"},
	{"the count of another one's hold", func(s *script) {
		s.lock("b", "k", 0, 1, 7)
		s.lock("b", "k", 0, 1, 7)
		s.lock("b", "k", 0, 1, 7)
		s.told("a", Acquire, "k", 1, 2, nothing)
		s.op("a", Count, "k", 3, 4, done, 3)
	}, ""},
	{"no answer to the grant", func(s *script) {
		s.told("a", Acquire, "k", 1, unanswered, unknown)
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
		s.lock("a", "k", 0, 10, 1).seenAt(2)
		s.MayEnd("a", at(11))
		s.lock("b", "k", 3, 12, 2).seenAt(4)
	}, ""},
	{"overtaken", func(s *script) {
		s.lock("b", "k", 3, 10, 1).seenAt(4)
		s.MayEnd("b", at(11))
		s.lock("a", "k", 0, 12, 2).seenAt(2)
	}, "overtook"},
	{"a grant taken from its holder by force", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("x", Force, "k", 2, 4, done, 1)
		s.lock("b", "k", 2, 3, 2)
		s.told("a", Release, "k", 5, 6, lost)
		s.told("a", Release, "k", 7, 8, notHeld)
		s.unlock("b", "k", 7, 9, 0)
	}, ""},
	{"force that named another hold", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("x", Force, "k", 2, 4, done, 1).named(7)
		s.lock("b", "k", 2, 3, 2)
	}, "while a was promised it"},
	{"force that found it free", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("x", Force, "k", 2, 4, done, 0)
		s.told("a", Release, "k", 5, 6, lost)
	}, "it has lost nothing"},
	{"destroyed and back", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("x", Destroy, "k", 2, 3, done, 1)
		s.told("b", Acquire, "k", 1, 4, destroyed)
		s.told("a", Renew, "k", 5, 6, lost)
		s.op("x", Undestroy, "k", 5, 6, done, 1)
		s.lock("b", "k", 7, 8, 2)
	}, ""},
	{"LOCKLOST to one that lost nothing", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 2, 3, lost)
	}, "it has lost nothing"},
	{"LOCKLOST not told", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.op("x", Force, "k", 2, 3, done, 1)
		s.told("a", Release, "k", 4, 5, notHeld)
	}, "LOCKLOST was due"},
	{"LOCKLOST not told by LOCK", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.End("a", at(2), at(3))
		s.lock("a", "k", 4, 5, 2)
	}, "LOCKLOST was due"},
	{"LOCKLOST told twice", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(2)
		s.told("a", Release, "k", 4, 5, lost)
		s.told("a", Release, "k", 6, 7, lost)
	}, "it has lost nothing"},
	{"a session that ended and came back", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.End("a", at(2), at(3))
		s.told("a", Owns, "k", 4, 5, lost)
		s.told("a", Acquire, "k", 6, 7, lost)
		s.lock("a", "k", 8, 9, 2)
		s.op("a", Owns, "k", 10, 11, done, 1)
	}, ""},
	{"a query that says LOCKLOST for no reason", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Count, "k", 2, 3, lost)
	}, "has not ended"},
	{"answers after the end", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.MayEnd("a", at(2))
		s.MustEnd("a", at(4))
		s.op("a", Count, "k", 5, 6, done, 1)
	}, "must have ended"},
	{"refused, and it is free", func(s *script) {
		s.told("a", Acquire, "k", 0, 1, refused)
	}, ""},
	{"refused by a lock that is stuck", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.MayEnd("a", at(2))
		s.MustEnd("a", at(4))
		s.told("b", Acquire, "k", 5, 6, refused)
	}, ""},
	{"refused by its own hold", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Acquire, "k", 2, 3, refused)
	}, "can re-enter"},
	{"refused while another may hold it", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.MayEnd("a", at(2))
		s.MustEnd("a", at(6))
		s.told("b", Acquire, "k", 5, 7, refused)
		s.lock("b", "k", 8, 9, 2)
	}, ""},
	{"forgotten", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.unlock("a", "k", 2, 3, 0)
		s.told("b", Acquire, "k", 1, unanswered, waiting)
	}, "forgotten"},
	{"a lease renewed", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(4)
		s.op("a", Renew, "k", 2, 3, done, 1).leased(10)
		s.lock("b", "k", 0, 13, 2)
	}, ""},
	{"a renewed lease cut short", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(4)
		s.op("a", Renew, "k", 2, 3, done, 1).leased(10)
		s.lock("b", "k", 0, 6, 2)
	}, "while a was promised it"},
	{"renewed by one that has released", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(4)
		s.unlock("a", "k", 2, 3, 0)
		s.op("a", Renew, "k", 4, 5, done, 1).leased(10)
	}, "does not hold it"},
	{"a lease, and no answer to the renewal", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(40)
		s.told("a", Renew, "k", 2, unanswered, unknown).leased(3)
		s.lock("b", "k", 0, 6, 2)
	}, ""},
	{"repeated after its lease", func(s *script) {
		s.told("a", Acquire, "k", 0, 9, lost).leased(3)
		s.told("b", Acquire, "k", 1, 2, refused)
		s.lock("b", "k", 6, 7, 2)
	}, ""},
	{"repeated, and it cannot have ended", func(s *script) {
		s.told("a", Acquire, "k", 0, 9, lost)
	}, "has lost nothing"},
	{"a fence that is another's", func(s *script) {
		s.lock("a", "k", 0, 1, 4)
		s.op("x", Fence, "k", 2, 3, done, 5)
	}, ""},
	{"a stale count", func(s *script) {
		s.lock("a", "k", 0, 1, 4)
		s.op("x", Count, "k", 2, 3, done, 0)
	}, ""},
	{"no answer, then a new hold", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(3)
		s.told("a", Acquire, "k", 2, unanswered, unknown)
		s.lock("b", "k", 2, 6, 2)
		s.unlock("b", "k", 7, 8, 0)
		s.unlock("a", "k", 9, 10, 0) // the grant that was not answered
	}, ""},
	{"a release that names an older hold", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.unlock("a", "k", 2, 3, 0)
		s.lock("a", "k", 4, 5, 2)
		s.told("a", Release, "k", 6, 7, notHeld).named(1)
		s.unlock("a", "k", 8, 9, 0)
	}, ""},
	{"a release that names its own hold", func(s *script) {
		s.lock("a", "k", 0, 1, 1)
		s.told("a", Release, "k", 6, 7, notHeld).named(1)
	}, "it holds it [1] times"},
	{"a hold of no session", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(3).Keep()
		s.told("a", Release, "k", 6, 7, notHeld).named(1)
	}, ""},
	{"a hold of no session taken too early", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(30).Keep()
		s.told("a", Release, "k", 6, 7, notHeld).named(1)
	}, "it holds it [1] times"},
	{"the answer to a re-entry tells of a grant without answer", func(s *script) {
		s.lock("a", "k", 0, 1, 1).leased(3)
		s.lock("b", "k", 4, 5, 2)
		s.unlock("b", "k", 6, 7, 0)
		s.told("a", Acquire, "k", 8, unanswered, unknown)
		s.lock("c", "j", 20, 21, 4)
		s.lock("a", "k", 22, 23, 3)
		s.unlock("a", "k", 24, 25, 1)
		s.unlock("a", "k", 26, 27, 0)
	}, ""},
	{"a notice that was forgotten", func(s *script) {
		s.Forgets("a", at(10))
		s.lock("a", "k", 0, 1, 1)
		s.End("a", at(2), at(3))
		s.told("a", Release, "k", 11, 13, notHeld)
	}, ""},
	{"a notice that was forgotten too early", func(s *script) {
		s.Forgets("a", at(10))
		s.lock("a", "k", 0, 1, 1)
		s.End("a", at(2), at(3))
		s.told("a", Release, "k", 8, 9, notHeld)
	}, "LOCKLOST was due"},
	{"a notice of a lease that was forgotten with the session", func(s *script) {
		s.Forgets("a", at(10))
		s.lock("a", "k", 0, 1, 1).leased(1)
		s.End("a", at(4), at(5))
		s.told("a", Release, "k", 16, 17, notHeld)
	}, ""},
}
