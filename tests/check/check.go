package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// DefaultTimeout is how long Porcupine may look at all locks together.
const DefaultTimeout = 2 * time.Minute

// maxFaults bounds what one check complains about.
const maxFaults = 50

// Options say how thorough Check is and where it leaves what it found.
type Options struct {
	// Dir is where the history and the drawings of a bad run go; it is made then. "": nowhere.
	Dir string
	// Keep writes them in any case: something else was wrong with the run.
	Keep bool
	// Timeout bounds Porcupine's time, by the real clock; 0 is [DefaultTimeout]. Reaching it is a fault.
	Timeout time.Duration
}

// Report is what Check found.
type Report struct {
	Faults []string // what cannot be; none: all can be true
	Files  []string // the history and drawings that were written

	Ops, Answered, Unknown int
	Grants, Locks          int
	Hashes                 int // states of nodes that were compared with another node's
	// Hardest is the most requests and ends of sessions that Porcupine had to put in order for one lock.
	Hardest           int
	Linear, Porcupine time.Duration // what the two halves took
}

// String tells all of it in some lines.
func (r Report) String() string {
	text := fmt.Sprintf("%d requests, %d answered, %d unknown, %d grants of %d locks (%d steps at most); linear checks %v, Porcupine %v",
		r.Ops, r.Answered, r.Unknown, r.Grants, r.Locks, r.Hardest, r.Linear.Round(time.Millisecond), r.Porcupine.Round(time.Millisecond))
	for _, f := range r.Faults {
		text += "\n  " + f
	}
	if len(r.Files) > 0 {
		text += "\nkept: " + strings.Join(r.Files, " ")
	}
	return text
}

// line is what one owner asked for one key.
type line struct{ owner, key string }

// hold is one passage of a lock from free to held and what its owner did with it. Moments are numbers.
type hold struct {
	fence      int64
	key, owner string
	asked      int64 // when the grant was asked for
	known      int64 // when the owner was told
	promised   int64 // until then nobody else may have it
	last       *Op   // the latest request that showed that it is held
}

// ending is a moment from which on a hold may be gone though its owner did nothing, for Porcupine.
type ending struct {
	owner       string
	fence       int64 // of the hold that ends; 0: whichever the owner has
	from, until int64
	last        bool // its owner never comes back
	lease       bool // it is a lease that ends
}

type checker struct {
	h      *History
	times  []time.Duration
	shocks map[string][]*Op // FORCEUNLOCK and DESTROY by key, as sent
	lines  map[line][]*Op
	order  []line
	holds  map[int64]*hold
	ends   map[string][]ending // by key
	undone map[*Op]bool        // acquires that answered LOCKLOST and may have been granted before that
	idle   map[*Op]bool        // releases without answer of owners that had nothing to release
	faults []string
}

func (c *checker) fault(format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// Check judges a history. Call it when no client is at work any more, and not inside a bubble of testing/synctest.
func Check(h *History, opts Options) Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	c := newChecker(h)
	began := time.Now()
	c.linear()
	r := Report{Ops: len(h.ops), Grants: len(c.holds), Hashes: h.hashes, Linear: time.Since(began)}
	for _, o := range h.ops {
		switch o.outcome {
		case unknown:
			r.Unknown++
		case waiting:
		default:
			r.Answered++
		}
	}
	began = time.Now()
	bad := c.porcupine(opts.Timeout, &r)
	r.Porcupine = time.Since(began)
	r.Faults = append(slices.Clone(h.faults), c.faults...)
	if (opts.Keep || len(r.Faults) > 0) && opts.Dir != "" {
		c.keep(opts.Dir, bad, &r)
	}
	return r
}

func newChecker(h *History) *checker {
	c := &checker{
		h: h, times: h.times, shocks: map[string][]*Op{}, lines: map[line][]*Op{},
		holds: map[int64]*hold{}, ends: map[string][]ending{}, undone: map[*Op]bool{}, idle: map[*Op]bool{},
	}
	for _, o := range h.ops {
		if o.shakes() {
			c.shocks[o.key] = append(c.shocks[o.key], o)
		}
		if !o.ownersOwn() {
			continue
		}
		at := line{o.owner, o.key}
		ops := c.lines[at]
		if ops == nil {
			c.order = append(c.order, at)
		}
		c.lines[at] = append(ops, o)
	}
	return c
}

// shakes reports whether the request may have taken a lock from its holder.
func (o *Op) shakes() bool {
	switch o.kind {
	case Force:
		return o.outcome != nothing && (o.outcome != done || o.value > 0)
	case Destroy:
		return o.outcome != nothing
	default:
		return false
	}
}

// ownersOwn reports whether the request's answer depends on what its owner did before.
func (o *Op) ownersOwn() bool {
	switch o.kind {
	case Acquire, Release, Renew, Count, Owns:
		return true
	default:
		return false
	}
}

// linear runs all checks whose cost is about that of reading the history.
func (c *checker) linear() {
	for _, at := range c.order {
		c.follow(at, c.lines[at])
	}
	c.rising()
	c.exclusive()
	c.inOrder()
	c.answered()
	c.resources()
	c.soundAnswers()
	c.oneKey()
}

// first is the first moment at a time or after it: something that is possible from that time on is possible before it.
func (c *checker) first(at time.Duration) int64 {
	if at == Never {
		return never
	}
	return int64(sort.Search(len(c.times), func(i int) bool { return c.times[i] >= at }))
}

// after is the first moment that is surely after a time.
func (c *checker) after(at time.Duration) int64 {
	if at == Never {
		return never
	}
	return int64(sort.Search(len(c.times), func(i int) bool { return c.times[i] > at }))
}

// exclusive checks that no two held a key at once.
func (c *checker) exclusive() {
	keys := map[string][]*hold{}
	for _, h := range c.holds {
		keys[h.key] = append(keys[h.key], h)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		holds := keys[key]
		slices.SortFunc(holds, func(a, b *hold) int { return cmp.Compare(b.fence, a.fence) })
		var next *hold // of those with higher fences, the one that was told first
		for _, h := range holds {
			if next != nil && next.known < h.promised {
				c.fault("%s was granted to %s with fence %d, known at %s, while %s was promised it with fence %d until %s",
					key, next.owner, next.fence, c.h.at(next.known), h.owner, h.fence, c.h.at(h.promised))
			}
			if next != nil && h.last.sent > next.known {
				c.fault("%v: after %s was told at %s that it has the lock with fence %d", h.last, next.owner, c.h.at(next.known), next.fence)
			}
			if next == nil || h.known < next.known {
				next = h
			}
		}
	}
}

// answered checks that nobody was forgotten.
func (c *checker) answered() {
	for _, o := range c.h.ops {
		if o.outcome == waiting {
			c.fault("%v: it was forgotten", o)
		}
	}
}

// resources checks that the resources behind the locks turned nobody away who held the lock, and lost no update.
func (c *checker) resources() {
	for _, key := range slices.Sorted(maps.Keys(c.h.things)) {
		r := c.h.things[key]
		for _, t := range r.turned {
			if h := c.holds[t.fence]; h != nil && h.key == t.key && h.owner == t.owner && h.promised > t.at {
				c.fault("the resource of %s refused %s with fence %d at %s, for it had seen a higher one, while %s was promised the lock until %s",
					t.key, t.owner, t.fence, c.h.at(t.at), t.owner, c.h.at(h.promised))
			}
		}
		if r.value != r.writes {
			c.fault("the resource of %s has counted to %d in %d accepted writes: updates were lost", key, r.value, r.writes)
		}
	}
}
