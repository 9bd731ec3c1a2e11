package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// consensus is what this package needs of *raft.Raft while it runs.
type consensus interface {
	ApplyLog(log raft.Log, timeout time.Duration) raft.ApplyFuture
	Barrier(timeout time.Duration) raft.Future
	State() raft.RaftState
	CurrentTerm() uint64
	LeaderCh() <-chan bool
}

// source is where a proposer finds what to put into entries: this node's agent,
// and what each other node forwards.
type source interface {
	// ready reports whether draw would bring something. It is cheap.
	ready() bool
	// draw adds to the round what is to be sent now.
	draw(r *round)
	// failed says that something drawn was not confirmed.
	failed(err *ProposeError)
}

// round is what goes into one entry.
type round struct {
	keepalives []fsm.Keepalive
	items      [][]byte
	size       int // bytes of the items
	limit      int
	// copies makes the round keep the items' bytes in buf: they are used after
	// another link may have drawn.
	copies bool
	buf    []byte
}

func (r *round) add(item []byte) {
	r.size += len(item)
	if r.copies {
		r.buf = append(r.buf, item...)
		return
	}
	r.items = append(r.items, item)
}

func (r *round) empty() bool { return len(r.keepalives) == 0 && r.size == 0 }

// room reports whether another item may be added. The last one may overshoot.
func (r *round) room() bool { return r.size < r.limit }

func (r *round) reset() {
	clear(r.keepalives)
	clear(r.items)
	r.keepalives, r.items, r.size, r.buf = r.keepalives[:0], r.items[:0], 0, r.buf[:0]
}

// Pace of the proposer.
const (
	// enqueueTimeout is how long Raft's main loop may take to accept an entry.
	enqueueTimeout = time.Second
	// flightLimit is how long an entry may stay unanswered before its place is
	// given to another one.
	flightLimit = 2 * time.Second
	// tickEvery is how often something is written at least while a deadline is
	// pending, in ms of cluster time: what a change of leader may lose.
	tickEvery = 1000
	// keepBuffers is how many entry buffers are kept for use again, and
	// keepBytes how big one may be.
	keepBuffers = 4
	keepBytes   = 2 << 20
)

// flight is one entry that was handed to Raft.
type flight struct {
	data      []byte
	office    []byte // see proposer.office
	at        time.Time
	committed bool // seen by our own apply loop; another entry may take its place
}

// proposer builds the leader's entries and stamps them with cluster time. It is
// closed while this node does not lead.
type proposer struct {
	raft  consensus // set before run
	clock Clock
	log   *slog.Logger
	// inFlight entries at most are under way at once; more than one only while
	// those ahead are smaller than smallEntry bytes.
	inFlight, smallEntry int

	wakeCh chan struct{} // capacity 1
	landed chan struct{} // capacity 1: the last flight was answered
	quit   chan struct{}
	done   chan struct{}

	// full is set while nothing could be proposed, so that the many who bring ops
	// meanwhile do not wake run for nothing. Whoever makes a place wakes it.
	full atomic.Bool
	// deadline is the machine's next one in ms of cluster time, -1: none. The apply
	// loop sets it without waiting for a proposal being built.
	deadline atomic.Int64

	// leads is open, for those who do not want to wait.
	leads atomic.Bool

	mu      sync.Mutex
	sources []source // never changed in place
	first   int      // which source comes first in the next entry
	open    bool
	office  []byte // the term of the office, which goes with each entry; never changed in place
	time    leaderClock
	stamped int64 // cluster time of the newest entry
	flights []*flight
	free    [][]byte
	round   round
	refused time.Time // since when every proposal is refused because of a transfer; zero: is not
	counts  proposerCounts
}

// proposerCounts are counted since the start; under proposer.mu.
type proposerCounts struct {
	entries, bytes, ticks, unconfirmed uint64
}

func newProposer(clock Clock, log *slog.Logger, o *Options) *proposer {
	p := &proposer{
		clock: clock, log: log,
		inFlight: o.InFlight, smallEntry: o.SmallEntry,
		wakeCh: make(chan struct{}, 1), landed: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		round: round{limit: o.EntryBytes},
	}
	p.deadline.Store(-1)
	return p
}

// add makes a source one that is drawn from; remove undoes it.
func (p *proposer) add(s source) {
	p.mu.Lock()
	p.sources = append(slices.Clone(p.sources), s)
	p.mu.Unlock()
}

func (p *proposer) remove(s source) {
	p.mu.Lock()
	p.sources = slices.DeleteFunc(slices.Clone(p.sources), func(x source) bool { return x == s })
	p.mu.Unlock()
}

// start takes office in a term: the clock starts at the machine's time.
func (p *proposer) start(ms int64, term uint64) {
	if canary.ClockFromZero { // time stands still until the new leader has caught up
		ms = 0
	}
	p.mu.Lock()
	p.open, p.stamped, p.refused = true, ms, time.Time{}
	p.office = binary.BigEndian.AppendUint64(nil, term)
	p.leads.Store(true)
	p.time.start(ms, p.clock.Now())
	p.mu.Unlock()
	p.look()
}

// restart sets the clock of a leader whose state was replaced.
func (p *proposer) restart(ms int64) {
	p.mu.Lock()
	if p.open && !canary.RestoreKeepsClock { // canary: the time of the state that is gone
		p.stamped = ms
		p.time.start(ms, p.clock.Now())
	}
	p.mu.Unlock()
}

// stop leaves office. Entries in flight are answered by Raft.
func (p *proposer) stop() {
	p.mu.Lock()
	p.open = false
	p.leads.Store(false)
	p.mu.Unlock()
}

// wake tells that there is something to propose; it never blocks.
func (p *proposer) wake() {
	if !p.full.Load() {
		p.look()
	}
}

// look makes run look whether something can be proposed.
func (p *proposer) look() {
	select {
	case p.wakeCh <- struct{}{}:
	default:
	}
}

// run proposes whenever there is something and a place in flight.
func (p *proposer) run() {
	defer close(p.done)
	timer := time.NewTimer(longSleep)
	defer timer.Stop()
	for {
		f, wait := p.next()
		if f != nil {
			fut := p.raft.ApplyLog(raft.Log{Data: f.data, Extensions: f.office}, enqueueTimeout)
			go p.settle(f, fut)
			continue
		}
		timer.Reset(wait)
		select {
		case <-p.wakeCh:
		case <-timer.C:
		case <-p.quit:
			return
		}
	}
}

// next builds the next entry, or says how long there is nothing to do. Here, and
// nowhere else, an entry gets its time.
func (p *proposer) next() (*flight, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		p.full.Store(true)
		return nil, longSleep
	}
	now := p.clock.Now()
	ms := p.time.sample(now)
	if !p.place(now) {
		p.full.Store(true)
		return nil, samplePeriod
	}
	p.full.Store(false)
	tick, wait := p.tick(ms)
	if !tick && !p.anything() {
		return nil, wait
	}
	for i := range p.sources {
		p.sources[(p.first+i)%len(p.sources)].draw(&p.round)
	}
	p.first++ // one source that fills every entry must not starve the others
	// The time is read again behind the ops: one that came after the first reading
	// would be granted its lease before it was asked for.
	ms = p.time.sample(p.clock.Now())
	empty := p.round.empty()
	if empty && !tick {
		return nil, wait
	}
	f := &flight{at: now, data: p.buffer(), office: p.office}
	f.data = fsm.AppendEntry(f.data, ms, p.round.keepalives, p.round.items...)
	if empty {
		p.counts.ticks++
	}
	p.round.reset()
	p.stamped = ms
	p.flights = append(p.flights, f)
	p.counts.entries++
	p.counts.bytes += uint64(len(f.data))
	return f, 0
}

func (p *proposer) anything() bool {
	for _, s := range p.sources {
		if s.ready() {
			return true
		}
	}
	return false
}

// place reports whether another entry may be under way. One whose answer is
// long overdue gives up its place; its batches are sent again by their agent.
func (p *proposer) place(now time.Time) bool {
	n := 0
	for _, f := range p.flights {
		if f.committed || now.Sub(f.at) > flightLimit {
			continue
		}
		if n++; n == p.inFlight || len(f.data) > p.smallEntry {
			return false
		}
	}
	return true
}

// tick reports whether an entry is wanted for its time alone, and else how long
// to wait before asking again. One entry is enough for one deadline: the machine
// does all that is due. The clock is sampled at each call.
func (p *proposer) tick(ms int64) (now bool, wait time.Duration) {
	deadline := p.deadline.Load()
	if deadline < 0 && !canary.IdleWrites { // canary: an idle cluster fills its disks
		return false, samplePeriod
	}
	at := p.stamped + tickEvery
	if deadline > p.stamped && !canary.DeadlineLate { // canary: what is due waits for the next second
		at = min(at, deadline)
	}
	if canary.NoTicks { // a change of leader loses all the time since the last entry
		at = max(p.stamped+tickEvery, deadline)
	}
	if ms >= at {
		return true, 0
	}
	return false, min(samplePeriod, time.Duration(at-ms)*time.Millisecond)
}

// buffer returns an empty buffer for an entry.
func (p *proposer) buffer() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return nil
}

// settle waits for Raft's answer to an entry. A future that never answers keeps
// this one goroutine, and nothing else.
func (p *proposer) settle(f *flight, fut raft.ApplyFuture) {
	err := meaning(fut.Error())
	p.mu.Lock()
	for i, x := range p.flights {
		if x == f {
			p.flights = append(p.flights[:i], p.flights[i+1:]...)
			break
		}
	}
	freed, last, sources := !f.committed, len(p.flights) == 0, p.sources
	switch {
	case err == nil:
		// The state machine is done with the data, the log store has copied it.
		if len(p.free) < keepBuffers && cap(f.data) <= keepBytes {
			p.free = append(p.free, f.data[:0])
		}
		p.refused = time.Time{}
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		if p.refused.IsZero() {
			p.refused = p.clock.Now()
		}
		p.counts.unconfirmed++
	default:
		p.refused = time.Time{}
		p.counts.unconfirmed++
	}
	p.mu.Unlock()
	if err != nil {
		for _, s := range sources {
			s.failed(err)
		}
	}
	if freed {
		p.look()
	}
	if last {
		select {
		case p.landed <- struct{}{}:
		default:
		}
	}
}

// drain waits, after run has ended, until Raft has answered everything.
func (p *proposer) drain(ctx context.Context) {
	for {
		p.mu.Lock()
		n := len(p.flights)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-p.landed:
		case <-ctx.Done():
			return
		}
	}
}

// committed tells that our own apply loop has come to an entry: if it is one in
// flight, the next may go while this one is being applied.
func (p *proposer) committed(data []byte) {
	p.mu.Lock()
	for _, f := range p.flights {
		if len(data) > 0 && len(f.data) == len(data) && &f.data[0] == &data[0] {
			f.committed = true
			p.mu.Unlock()
			p.look()
			return
		}
	}
	p.mu.Unlock()
}

// expect takes in the machine's next deadline (-1: none).
func (p *proposer) expect(deadline int64) {
	if was := p.deadline.Swap(deadline); deadline >= 0 && (was < 0 || deadline < was) {
		p.wake()
	}
}

// accepted tells that entries are not refused any more.
func (p *proposer) accepted() {
	p.mu.Lock()
	p.refused = time.Time{}
	p.mu.Unlock()
}

// refusedSince returns since when proposals are refused because of a leadership
// transfer; zero if they are not.
func (p *proposer) refusedSince() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// timely reports whether an entry was built in the office of its own term. Raft may take
// one later, if this node leads again by then; the old office's clock may be ahead of
// what others have counted meanwhile, and a lease that they gave would end before its time.
func timely(l *raft.Log) bool {
	return len(l.Extensions) != 8 || binary.BigEndian.Uint64(l.Extensions) == l.Term
}
