package check

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Kind is what an operation asks for.
type Kind int

// The kinds, by the commands that they stand for.
const (
	Acquire   Kind = iota // LOCK, TRYLOCK
	Release               // UNLOCK
	Renew                 // RENEW
	Count                 // LOCKCOUNT
	Owns                  // ISOWNER
	Fence                 // FENCE
	Force                 // FORCEUNLOCK
	Destroy               // DESTROY
	Undestroy             // UNDESTROY
)

var kindNames = []string{"acquire", "release", "renew", "count", "owns", "fence", "force", "destroy", "undestroy"}

func (k Kind) String() string { return kindNames[k] }

// outcome is what a client knows of an operation.
type outcome int

const (
	waiting   outcome = iota // not answered yet, on a connection that is there
	unknown                  // will not be answered, or UNCERTAIN: done once, or not at all
	done                     // answered with a value
	refused                  // an Acquire that answered 0: another one held it
	nothing                  // answered: nothing was done (CLUSTERDOWN, LIMIT)
	notHeld                  // answered NOTOWNER
	lost                     // answered LOCKLOST
	destroyed                // an Acquire that answered DESTROYED
)

var outcomeNames = []string{"waiting", "unknown", "done", "refused", "nothing", "not-held", "lost", "destroyed"}

func (o outcome) String() string { return outcomeNames[o] }

// Never is the end of a session that need not end.
const Never = time.Duration(math.MaxInt64)

// never is the number of a moment that did not come.
const never = int64(math.MaxInt64)

// Op is one request. Its methods are called by the client that sent it.
type Op struct {
	h        *History
	kind     Kind
	outcome  outcome
	owner    string
	key      string
	sent     int64 // the number of the moment
	answered int64 // never: not answered
	given    int64 // when it was given up, if it was not answered
	inLine   int64 // when it was seen waiting; never: not known
	requeued int64 // when it may have lost its place last
	value    int64 // fence, holds left, count, or 1 and 0
	fence    int64 // that it named; 0: none
	lease    time.Duration
	waits    time.Duration // for the lock, at least, before it may be refused; Never: for ever
	kept     bool
}

// span is a time in which a session ends; until Never: it need not. Where last is set its owner never comes back.
type span struct {
	from, until time.Duration
	last        bool
}

// History is all that clients asked and were told. It is safe for many goroutines.
type History struct {
	mu     sync.Mutex
	clock  func() time.Duration
	times  []time.Duration // of the moments, by number
	ops    []*Op
	ends   map[string][]*span       // by owner
	lives  map[string]time.Duration // by owner: of notices, after the end of its session; see Forgets
	marks  map[uint64]mark          // state hashes by index
	things map[string]*resource
	queues []lineUp
	hashes int      // that were compared with another node's
	faults []string // found on the way
}

// mark is the state hash that the first node told at an index.
type mark struct {
	node, hash string
	told       map[string]bool // by these nodes
}

// New returns an empty history.
func New() *History {
	began := time.Now()
	return &History{
		clock: func() time.Duration { return time.Since(began) },
		ends:  map[string][]*span{}, lives: map[string]time.Duration{}, marks: map[uint64]mark{}, things: map[string]*resource{},
	}
}

// Now is a time in this history.
func (h *History) Now() time.Duration { return h.clock() }

// moment numbers the present one. The caller holds mu.
func (h *History) moment() int64 {
	h.times = append(h.times, h.Now())
	return int64(len(h.times) - 1)
}

// Begin notes a request; call it before it is sent. An owner is one that re-enters its own locks, and its requests for
// one key are carried out in the order of their Begin; only one that was given up ([Op.Unknown]) may be carried out later,
// behind what was begun since. Retries with the same ID are one operation.
func (h *History) Begin(owner string, kind Kind, key string) *Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &Op{h: h, kind: kind, owner: owner, key: key, sent: h.moment(), answered: never, given: never, inLine: never}
	h.ops = append(h.ops, o)
	return o
}

// Lease says that the request asked for one.
func (o *Op) Lease(d time.Duration) *Op {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.lease = d
	return o
}

// Waits says for how long an Acquire is to wait in line, at least, before it may be refused: 0 not at all, [Never] for
// ever.
func (o *Op) Waits(d time.Duration) *Op {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.waits = d
	return o
}

// Keep says that the hold asked for belongs to no session (KEEP): nobody is told of its loss.
func (o *Op) Keep() *Op {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.kept = true
	return o
}

// WithFence says which hold the request named (FENCE n).
func (o *Op) WithFence(fence int64) *Op {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.fence = fence
	return o
}

// InLine says that the request is known to wait: whoever asks from now on comes behind it.
func (o *Op) InLine() {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	if o.inLine == never {
		o.inLine = o.h.moment()
	}
}

func (o *Op) settle(how outcome, value int64) {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	if o.outcome > unknown {
		if how > unknown {
			o.h.fault("%v: it was answered a second time, %v %d", o, how, value)
		}
		return // what was told stays told
	}
	o.outcome, o.value, o.answered = how, value, o.h.moment()
	if how == unknown {
		o.given, o.answered = o.answered, never
	}
}

// Done notes the answer: the fence of an Acquire, a Renew or a Fence, the holds left of a Release, the count of a Count,
// 1 or 0 of the others.
func (o *Op) Done(value int64) { o.settle(done, value) }

// Refused notes that an Acquire was answered 0: at some moment in between another owner held the lock.
func (o *Op) Refused() { o.settle(refused, 0) }

// Nothing notes an answer that says nothing was done, and nothing about the lock.
func (o *Op) Nothing() { o.settle(nothing, 0) }

// NotHeld notes NOTOWNER.
func (o *Op) NotHeld() { o.settle(notHeld, 0) }

// Lost notes LOCKLOST.
func (o *Op) Lost() { o.settle(lost, 0) }

// Destroyed notes that an Acquire was answered DESTROYED.
func (o *Op) Destroyed() { o.settle(destroyed, 0) }

// Unknown notes that no answer will come, or that it said UNCERTAIN. A request that is never settled is a fault.
func (o *Op) Unknown() { o.settle(unknown, 0) }

// MayEnd says that from a moment on the session of an owner may have ended: its connection is about to be closed, or
// it has been given up for so long. The earliest moment counts. The owner takes nothing anew after its end.
func (h *History) MayEnd(owner string, from time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.final(owner); s != nil {
		s.from = min(s.from, from)
		return
	}
	h.ends[owner] = append(h.ends[owner], &span{from, Never, true})
}

// final returns the end of an owner that never comes back. The caller holds mu.
func (h *History) final(owner string) *span {
	if all := h.ends[owner]; len(all) > 0 && all[len(all)-1].last {
		return all[len(all)-1]
	}
	return nil
}

// MustEnd says, after MayEnd, when the session has ended for sure: from then on its locks must be others' to have.
func (h *History) MustEnd(owner string, until time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.final(owner); s != nil {
		s.until = min(s.until, until)
	}
}

// End says that a session ended once between two moments ([Never]: perhaps), and that its owner may live again after it.
func (h *History) End(owner string, from, until time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends[owner] = append(h.ends[owner], &span{from, until, false})
}

// Forgets says how long after the end of its session an owner is still told of what it had lost (ten TTLs of a named
// session): later it is answered as one that never had anything. Without it an owner is told whenever it asks.
func (h *History) Forgets(owner string, after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lives[owner] = after
}

// Hash notes the state hash of a node at an index of the log.
func (h *History) Hash(node string, index uint64, hash string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.marks[index]
	if !ok {
		h.marks[index] = mark{node, hash, map[string]bool{node: true}}
		return
	}
	if !m.told[node] {
		m.told[node] = true
		h.hashes++
	}
	if m.hash != hash {
		h.fault("at entry %d the state of %s has hash %s, that of %s has %s", index, m.node, m.hash, node, hash)
	}
}

// fault notes something found on the way. The caller holds mu.
func (h *History) fault(format string, args ...any) {
	if len(h.faults) < maxFaults {
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

// Len is how many requests were noted, and how many of them have no known outcome.
func (h *History) Len() (all, unanswered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		if o.outcome <= unknown {
			unanswered++
		}
	}
	return len(h.ops), unanswered
}

// at is a moment as a person reads it.
func (h *History) at(moment int64) string {
	if moment < 0 || moment >= int64(len(h.times)) {
		return "the end"
	}
	return fmt.Sprintf("%v (#%d)", h.times[moment].Round(time.Microsecond), moment)
}

func (o *Op) String() string {
	text := fmt.Sprintf("%s of %s by %s, sent at %s", o.kind, o.key, o.owner, o.h.at(o.sent))
	if o.lease > 0 {
		text += fmt.Sprintf(", lease %v", o.lease)
	}
	switch o.outcome {
	case waiting:
		return text + ", not answered"
	case unknown:
		return text + ", outcome unknown"
	case done:
		return fmt.Sprintf("%s, answered %d at %s", text, o.value, o.h.at(o.answered))
	case refused, nothing, notHeld, lost, destroyed:
	}
	return fmt.Sprintf("%s, answered %v at %s", text, o.outcome, o.h.at(o.answered))
}
