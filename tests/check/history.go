package check

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Kind is what an operation asks for.
type Kind int

// The kinds: LOCK and TRYLOCK, UNLOCK, LOCKCOUNT by the owner.
const (
	Acquire Kind = iota
	Release
	Count
)

func (k Kind) String() string { return [...]string{"acquire", "release", "count"}[k] }

// outcome is what a client knows of an operation.
type outcome int

const (
	unknown outcome = iota // not answered, or UNCERTAIN: done once, or not at all
	done                   // answered with a value
	nothing                // answered: nothing was done (TRYLOCK 0, CLUSTERDOWN, LIMIT)
	notHeld                // answered NOTOWNER or LOCKLOST
)

const never = time.Duration(math.MaxInt64)

// Op is one request. Its methods are called by the client that sent it.
type Op struct {
	h        *History
	kind     Kind
	owner    string
	key      string
	seq      int
	sent     time.Duration
	answered time.Duration // never: not answered
	outcome  outcome
	value    int64         // fence, holds left, or count
	lease    time.Duration // 0: none
	inLine   time.Duration // when it was seen waiting; never: not known
}

// History is all that clients asked and were told. It is safe for many goroutines.
type History struct {
	mu    sync.Mutex
	began time.Time
	ops   []*Op
	ends  map[string]time.Duration // of owners: from then on their holds may be gone
}

// New returns an empty history.
func New() *History {
	return &History{began: time.Now(), ends: map[string]time.Duration{}}
}

// Now is a moment in this history.
func (h *History) Now() time.Duration { return time.Since(h.began) }

// Begin notes a request; call it before it is sent. An owner is one that re-enters its own locks, and its requests are
// carried out in the order of their Begin. Retries with the same ID are one operation.
func (h *History) Begin(owner string, kind Kind, key string) *Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &Op{
		h: h, kind: kind, owner: owner, key: key, seq: len(h.ops), sent: h.Now(), answered: never, inLine: never,
	}
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

// InLine says that the request is known to wait: whoever asks from now on comes behind it.
func (o *Op) InLine() {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.inLine = o.h.Now()
}

func (o *Op) settle(how outcome, value int64) {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.outcome, o.value, o.answered = how, value, o.h.Now()
}

// Done notes the answer: the fence of an Acquire, the holds left of a Release, the count of a Count.
func (o *Op) Done(value int64) { o.settle(done, value) }

// Nothing notes the answer that nothing was done.
func (o *Op) Nothing() { o.settle(nothing, 0) }

// NotHeld notes the answer that the owner does not hold the lock.
func (o *Op) NotHeld() { o.settle(notHeld, 0) }

// An operation whose outcome nobody knows needs no call.

// MayEnd says that from a moment on the holds of an owner may be gone: its connection is about to be closed, or its
// session has been given up for so long. The earliest moment counts.
func (h *History) MayEnd(owner string, from time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, ok := h.ends[owner]; !ok || from < at {
		h.ends[owner] = from
	}
}

// Len is how many requests were noted, and how many of them have no known outcome.
func (h *History) Len() (all, unanswered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		if o.outcome == unknown {
			unanswered++
		}
	}
	return len(h.ops), unanswered
}

func (o *Op) String() string {
	text := fmt.Sprintf("%s of %s by %s, sent at %v", o.kind, o.key, o.owner, o.sent.Round(time.Microsecond))
	switch o.outcome {
	case done:
		return fmt.Sprintf("%s, answered %d at %v", text, o.value, o.answered.Round(time.Microsecond))
	case nothing:
		return text + ", answered: nothing done"
	case notHeld:
		return text + ", answered: not held"
	case unknown:
	}
	return text + ", not answered"
}
