package cluster

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

func TestLeaderClock(t *testing.T) {
	var c leaderClock
	at := time.Now()
	c.start(7000, at)
	for _, s := range []struct {
		after time.Duration
		want  int64
	}{
		{0, 7000},
		{250 * time.Millisecond, 7250},
		{499*time.Millisecond + 600*time.Microsecond, 7749},
		{400 * time.Microsecond, 7750}, // fractions are not lost
		{time.Hour, 8250},              // a pause counts as 500 ms
		{-time.Hour, 8250},             // and nothing goes back
		{250 * time.Millisecond, 8250}, // not even in the shade of a step back
	} {
		at = at.Add(s.after)
		if got := c.sample(at); got != s.want {
			t.Fatalf("after %v: %d, want %d", s.after, got, s.want)
		}
	}
	c.start(9000, at)
	if got := c.sample(at.Add(time.Millisecond)); got != 9001 {
		t.Fatal("after a restart:", got)
	}
}

// testSource is a source that has one item, or nothing.
type testSource struct {
	mu       sync.Mutex
	item     []byte
	failures []*ProposeError
}

func (s *testSource) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.item != nil
}

func (s *testSource) draw(r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.item != nil {
		r.add(s.item)
		s.item = nil
	}
}

func (s *testSource) failed(err *ProposeError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
}

func newTestProposer(clock Clock, inFlight, small int) (*proposer, *testSource) {
	o, err := Options{NodeID: "n", Storage: gatedStorage{}, Host: newTestHost(), InFlight: inFlight, SmallEntry: small}.withDefaults()
	if err != nil {
		panic(err)
	}
	p := newProposer(clock, quiet(), &o)
	s := &testSource{}
	p.sources = []source{s}
	return p, s
}

// drive moves the clock and collects the times of the ticks, each applied at once.
func drive(p *proposer, c *testClock, step time.Duration, n int) (ticks []int64) {
	for range n {
		for f, _ := p.next(); f != nil; f, _ = p.next() {
			var e fsm.Entry
			if err := fsm.DecodeEntry(f.data, &e); err != nil {
				panic(err)
			}
			ticks = append(ticks, e.Time)
			p.flights = nil
		}
		c.freeze(step)
	}
	return ticks
}

func TestTicks(t *testing.T) {
	c := &testClock{start: time.Now(), still: true}
	p, _ := newTestProposer(c, 1, 0)
	if f, _ := p.next(); f != nil {
		t.Fatal("an entry while closed")
	}
	p.start(1000, 1)
	if got := drive(p, c, 100*time.Millisecond, 100); got != nil {
		t.Fatalf("ticks %v without a deadline", got)
	}
	p.start(1000, 1)
	p.expect(3500)
	got := drive(p, c, 100*time.Millisecond, 30)
	if want := "[2000 3000 3500]"; fmt.Sprint(got) != want {
		t.Fatalf("ticks %v, want %v: one a second, and one at the deadline", got, want)
	}
	// The deadline passed and something keeps it: one a second, no storm.
	if got := drive(p, c, time.Millisecond, 2000); len(got) != 2 {
		t.Fatalf("%d ticks in two seconds", len(got))
	}
}

func TestPauseDoesNotJump(t *testing.T) {
	c := &testClock{start: time.Now(), still: true}
	p, _ := newTestProposer(c, 1, 0)
	p.start(0, 1)
	p.expect(20_000)
	drive(p, c, 250*time.Millisecond, 4)
	c.freeze(time.Hour)
	if got := drive(p, c, 250*time.Millisecond, 1); len(got) != 1 || got[0] > 1500 {
		t.Fatalf("ticks %v after a pause", got)
	}
}

func TestWaitForDeadline(t *testing.T) {
	c := &testClock{start: time.Now(), still: true}
	p, _ := newTestProposer(c, 1, 0)
	p.start(0, 1)
	p.expect(40)
	waits := func(want time.Duration) {
		t.Helper()
		if f, wait := p.next(); f != nil || wait > want {
			t.Fatalf("entry %v, wait %v, want at most %v", f, wait, want)
		}
	}
	waits(40 * time.Millisecond)
	p.expect(5000)
	waits(samplePeriod)
}

func TestInFlight(t *testing.T) {
	c := &testClock{start: time.Now(), still: true}
	p, s := newTestProposer(c, 2, 100)
	p.start(0, 1)
	give := func(size int) *flight {
		s.item = make([]byte, size)
		f, _ := p.next()
		return f
	}
	small := give(10)
	if small == nil {
		t.Fatal("no entry")
	}
	big := give(1000)
	if big == nil {
		t.Fatal("no second entry behind a small one")
	}
	if give(10) != nil {
		t.Fatal("three in flight")
	}
	p.committed(small.data)
	if f, _ := p.next(); f != nil {
		t.Fatal("a second entry behind a big one")
	}
	p.committed(big.data)
	third, _ := p.next()
	if third == nil {
		t.Fatal("no entry after both were committed")
	}
	// An entry that is never answered gives up its place.
	s.item = make([]byte, 1000)
	fourth, _ := p.next()
	if fourth == nil {
		t.Fatal("no fourth")
	}
	c.freeze(flightLimit + 1)
	if give(10) == nil {
		t.Fatal("stuck behind an entry that is never answered")
	}
}

// testRaft is a consensus that the test steers.
type testRaft struct {
	mu       sync.Mutex
	state    raft.RaftState
	term     uint64
	barrier  error
	apply    error
	applied  int
	barriers int
	leaderCh chan bool
}

type answered struct{ err error }

func (a answered) Error() error  { return a.err }
func (a answered) Response() any { return nil }
func (a answered) Index() uint64 { return 0 }

func (r *testRaft) set(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

func (r *testRaft) ApplyLog(raft.Log, time.Duration) raft.ApplyFuture {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied++
	return answered{r.apply}
}

func (r *testRaft) Barrier(time.Duration) raft.Future {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barriers++
	return answered{r.barrier}
}

func (r *testRaft) State() raft.RaftState { r.mu.Lock(); defer r.mu.Unlock(); return r.state }
func (r *testRaft) CurrentTerm() uint64   { r.mu.Lock(); defer r.mu.Unlock(); return r.term }
func (r *testRaft) LeaderCh() <-chan bool { return r.leaderCh }

// office runs a proposer and a leadership on a testRaft.
func office(t *testing.T, r *testRaft) (s *testSource, resent func() int, fatal chan error) {
	t.Helper()
	p, s := newTestProposer(newTestClock(), 1, 0)
	p.raft = r
	fatal = make(chan error, 100)
	var mu sync.Mutex
	n := 0
	l := &leadership{
		raft: r, clock: p.clock, log: quiet(), proposer: p, now: func() int64 { return 0 }, stuckAfter: time.Second,
		left: func() {}, tidy: func() {}, handing: func() bool { return false },
		resend: func() { mu.Lock(); n++; mu.Unlock() }, fatal: func(err error) { fatal <- err },
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	go l.run()
	t.Cleanup(func() {
		close(l.quit)
		<-l.done
		close(p.quit)
		<-p.done
	})
	return s, func() int { mu.Lock(); defer mu.Unlock(); return n }, fatal
}

// Each term is opened by a barrier of its own, also when the same node leads on.
func TestEachTermIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &testRaft{state: raft.Follower, term: 1, leaderCh: make(chan bool, 1)}
		_, resent, _ := office(t, r)
		time.Sleep(time.Second)
		if resent() != 0 {
			t.Fatal("a follower took office")
		}
		for term := uint64(2); term < 5; term++ {
			r.set(func() { r.state, r.term = raft.Leader, term })
			time.Sleep(time.Second)
			// Once for the new term, whoever leads it, and once when this office is open.
			if got := resent(); got != 2*int(term-1) {
				t.Fatalf("term %d: resent %d times", term, got)
			}
		}
		r.set(func() {
			if r.barriers != 3 {
				t.Errorf("%d barriers", r.barriers)
			}
		})
	})
}

// A leader that its own Raft refuses for good ends the process, whether it is
// the barrier that is refused or a later entry.
func TestStuckTransferIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &testRaft{state: raft.Leader, term: 1, leaderCh: make(chan bool, 1), barrier: raft.ErrLeadershipTransferInProgress}
		_, _, fatal := office(t, r)
		time.Sleep(900 * time.Millisecond)
		if len(fatal) != 0 {
			t.Fatal("too early")
		}
		time.Sleep(500 * time.Millisecond)
		if len(fatal) == 0 {
			t.Fatal("a stuck barrier was lived with")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &testRaft{state: raft.Leader, term: 1, leaderCh: make(chan bool, 1)}
		s, _, fatal := office(t, r)
		time.Sleep(time.Second)
		r.set(func() {
			r.apply, r.barrier = raft.ErrLeadershipTransferInProgress, raft.ErrLeadershipTransferInProgress
		})
		s.mu.Lock()
		s.item = []byte{1} // found at the next sample
		s.mu.Unlock()
		time.Sleep(500 * time.Millisecond)
		if len(fatal) != 0 {
			t.Fatal("too early")
		}
		time.Sleep(2 * time.Second)
		if len(fatal) == 0 {
			t.Fatal("a stuck leader was lived with")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.failures) != 1 || s.failures[0].Outcome != NotProposed {
			t.Fatalf("failures %v", s.failures)
		}
	})
}

// A transfer that ended, and nothing to propose since: that is no stuck leader.
func TestTransferThatEndedIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &testRaft{state: raft.Leader, term: 1, leaderCh: make(chan bool, 1)}
		s, _, fatal := office(t, r)
		time.Sleep(time.Second)
		r.set(func() { r.apply = raft.ErrLeadershipTransferInProgress })
		s.mu.Lock()
		s.item = []byte{1}
		s.mu.Unlock()
		time.Sleep(5 * time.Second)
		if len(fatal) != 0 {
			t.Fatal(<-fatal)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.failures) != 1 {
			t.Fatalf("failures %v", s.failures)
		}
	})
}

func TestMeaning(t *testing.T) {
	if meaning(nil) != nil {
		t.Fatal("nil has a meaning")
	}
	for err, want := range map[error]Outcome{
		raft.ErrNotLeader: NotProposed, raft.ErrEnqueueTimeout: NotProposed, raft.ErrLeadershipTransferInProgress: NotProposed,
		raft.ErrAbortedByRestore: NotProposed, raft.ErrLeadershipLost: Unknown, raft.ErrRaftShutdown: Shutdown,
		errLate: Unknown, errors.New("disk on fire"): Unknown,
	} {
		e := meaning(err)
		if e.Outcome != want || !errors.Is(e, err) || e.Sentence == "" || e.Error() == "" {
			t.Errorf("%v: %v (%v), want %v", err, e.Outcome, e, want)
		}
	}
}

// lateSource has its op come while the entry is being built.
type lateSource struct {
	testSource
	came func()
}

func (s *lateSource) draw(r *round) {
	s.came()
	s.testSource.draw(r)
}

// An entry's time is not before any of its ops came: a lease would begin, and end,
// before it was asked for.
func TestEntryTimeIsBehindItsOps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProposer(SystemClock{}, quiet(), &Options{InFlight: 1, EntryBytes: 1 << 20})
		p.start(1000, 1)
		s := &lateSource{came: func() { time.Sleep(40 * time.Millisecond) }}
		s.item = fsm.AppendBatch(nil, 1, 1, nil)
		p.add(s)
		f, _ := p.next()
		var e fsm.Entry
		if err := fsm.DecodeEntry(f.data, &e); err != nil || e.Time != 1040 {
			t.Fatalf("the entry's time is %d (%v), its op came at 1040", e.Time, err)
		}
	})
}
