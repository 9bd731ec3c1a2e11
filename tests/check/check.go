package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// hold is one passage of a lock from free to held and what its owner did with it.
type hold struct {
	fence      int64
	key, owner string
	asked      time.Duration // when the grant was asked for
	known      time.Duration // when the owner was told
	promised   time.Duration // until then nobody else may have it
	last       *Op           // the latest request that showed that it is held
}

// maxFaults bounds what one check complains about.
const maxFaults = 50

type checker struct {
	ends   map[string]time.Duration
	over   time.Duration // the last moment of the history
	holds  map[int64]*hold
	faults []string
}

func (c *checker) fault(format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// Check returns what cannot be, or nothing. Call it when no client is at work any more.
func (h *History) Check() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{ends: h.ends, over: h.Now(), holds: map[int64]*hold{}}
	type line struct{ owner, key string }
	lines := map[line][]*Op{}
	var order []line
	for _, o := range h.ops {
		at := line{o.owner, o.key}
		if lines[at] == nil {
			order = append(order, at)
		}
		lines[at] = append(lines[at], o)
	}
	for _, at := range order {
		c.follow(lines[at])
	}
	c.rising()
	c.exclusive()
	c.inOrder(h.ops)
	return c.faults
}

// counts are the hold counts that an owner may have, by what it was told.
type counts map[int64]bool

func (n counts) shifted(by int64) counts {
	to := counts{}
	for v := range n {
		if v+by >= 0 {
			to[v+by] = true
		}
	}
	return to
}

func (n counts) String() string { return fmt.Sprint(slices.Sorted(maps.Keys(n))) }

// tracker follows one owner through its requests for one key.
type tracker struct {
	*checker
	may    counts
	hold   *hold         // the present one; nil: none, or its fence is not known
	leased time.Duration // the earliest end of the lease; never: none
}

// follow checks the counts of one owner and one key and finds its holds.
func (c *checker) follow(ops []*Op) {
	t := &tracker{checker: c, may: counts{0: true}, leased: never}
	for _, o := range ops {
		// What may be lost by now, may be gone.
		if end, ok := c.ends[o.owner]; ok && end <= o.answered || t.leased != never && t.leased <= o.answered {
			t.may[0] = true
		}
		switch o.kind {
		case Acquire:
			t.acquire(o)
		case Release:
			t.release(o)
		case Count:
			if o.outcome == done {
				t.is(o, o.value)
			}
		}
	}
	t.close(c.over)
}

// close ends the present hold: until a moment its owner was promised it.
func (t *tracker) close(at time.Duration) {
	if t.hold == nil {
		return
	}
	end := at
	if ends, ok := t.ends[t.hold.owner]; ok {
		end = min(end, ends)
	}
	t.hold.promised = min(t.hold.promised, end, t.leased)
	t.hold = nil
}

// is takes a count that was answered. It is the holder's, whoever that is: of one that may hold nothing it says nothing.
func (t *tracker) is(o *Op, count int64) {
	if t.may[0] {
		return
	}
	if !t.may[count] {
		t.fault("%v: the hold count can only be %v", o, t.may)
	}
	t.may = counts{count: true}
	if count > 0 && t.hold != nil {
		t.hold.last = o
	}
}

func (t *tracker) acquire(o *Op) {
	switch o.outcome {
	case done:
		t.granted(o)
	case unknown:
		maps.Copy(t.may, t.may.shifted(1))
	case nothing, notHeld:
	}
}

func (t *tracker) granted(o *Op) {
	if o.value <= 0 {
		t.fault("%v: that is no fence", o)
		return
	}
	if t.hold != nil && t.hold.fence == o.value { // re-entered
		delete(t.may, 0)
		if len(t.may) == 0 {
			t.fault("%v: its former hold with this fence has ended", o)
			t.may = counts{0: true}
		}
		t.may = t.may.shifted(1)
		t.hold.last = o
		t.lease(o)
		return
	}
	again := t.may.shifted(1)
	delete(again, 1) // of a hold whose fence was not answered
	if t.hold != nil {
		again = nil // it has another fence: this is a new hold
	}
	if t.hold != nil && !t.may[0] {
		t.fault("%v: it holds this key with fence %d already", o, t.hold.fence)
	}
	t.close(o.sent)
	t.may = counts{1: true}
	maps.Copy(t.may, again)
	t.leased = never
	if o.lease > 0 {
		t.leased = o.sent + o.lease
	}
	if other := t.holds[o.value]; other != nil {
		t.fault("%v: this fence was given to %s for %s, too", o, other.owner, other.key)
	}
	t.hold = &hold{fence: o.value, key: o.key, owner: o.owner, asked: o.sent, known: o.answered, promised: never, last: o}
	t.holds[o.value] = t.hold
}

// lease takes the later of two ends, and none for the latest.
func (t *tracker) lease(o *Op) {
	switch {
	case o.lease == 0:
		t.leased = never
	case t.leased != never:
		t.leased = max(t.leased, o.sent+o.lease)
	}
}

func (t *tracker) release(o *Op) {
	switch o.outcome {
	case nothing:
		return
	case notHeld:
		if !t.may[0] {
			t.fault("%v: it holds it %v times", o, t.may)
		}
		t.close(o.sent)
		t.may = counts{0: true}
		return
	case unknown:
		lower := t.may.shifted(-1)
		if lower[0] && t.hold != nil {
			t.hold.promised = min(t.hold.promised, o.sent)
		}
		maps.Copy(t.may, lower)
		return
	case done:
	}
	if !t.may[o.value+1] {
		t.fault("%v: the hold count before it can only be %v", o, t.may)
	}
	if t.hold != nil {
		t.hold.last = o
	}
	t.may = counts{o.value: true}
	if o.value == 0 {
		t.close(o.sent)
		t.leased = never
	}
}

// rising checks that a grant has a higher fence than all that had been answered before it was asked for.
func (c *checker) rising() {
	holds := slices.Collect(maps.Values(c.holds))
	known := slices.Clone(holds)
	slices.SortFunc(holds, func(a, b *hold) int { return cmp.Compare(a.asked, b.asked) })
	slices.SortFunc(known, func(a, b *hold) int { return cmp.Compare(a.known, b.known) })
	var top *hold
	for _, h := range holds {
		for len(known) > 0 && known[0].known < h.asked {
			if top == nil || known[0].fence > top.fence {
				top = known[0]
			}
			known = known[1:]
		}
		if top != nil && h.fence <= top.fence {
			c.fault("fence %d of %s, asked for by %s at %v, is not above fence %d, which %s was told at %v",
				h.fence, h.key, h.owner, h.asked, top.fence, top.owner, top.known)
		}
	}
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
				c.fault("%s was granted to %s with fence %d, known at %v, while %s was promised it with fence %d until %v",
					key, next.owner, next.fence, next.known, h.owner, h.fence, h.promised)
			}
			if next != nil && h.last.sent > next.known {
				c.fault("%v: after %s was told at %v that it has the lock with fence %d", h.last, next.owner, next.known, next.fence)
			}
			if next == nil || h.known < next.known {
				next = h
			}
		}
	}
}

// inOrder checks that nobody overtook a waiter.
func (c *checker) inOrder(ops []*Op) {
	grants := map[string][]*Op{}
	for _, o := range ops {
		if h := c.holds[o.value]; o.kind == Acquire && o.outcome == done && h != nil && h.asked == o.sent && h.owner == o.owner {
			grants[o.key] = append(grants[o.key], o)
		}
	}
	for _, line := range grants {
		for _, first := range line {
			if first.inLine == never {
				continue
			}
			for _, o := range line {
				if o.sent > first.inLine && o.value < first.value {
					c.fault("%v: it overtook %v, which was in line at %v", o, first, first.inLine)
				}
			}
		}
	}
}
