package check

import (
	"cmp"
	"maps"
	"slices"
	"sort"
)

// lineUp are requests that were seen in line for one lock, first in line first.
type lineUp struct {
	asked, seen int64
	ops         []*Op
}

// Moment numbers the present moment, for Queue.
func (h *History) Moment() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.moment()
}

// Queue says that requests were seen waiting for one lock, in this order, by one who asked at a moment and has been told
// now. Those that nobody knows are left out.
func (h *History) Queue(asked int64, ops ...*Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.moment()
	for _, o := range ops {
		if o.inLine == never && o.requeued < asked {
			o.inLine = seen
		}
	}
	if len(ops) > 1 {
		h.queues = append(h.queues, lineUp{asked, seen, slices.Clone(ops)})
	}
}

// Requeued says that the request may have lost its place in line, and stands in it anew: where it was seen before says
// nothing any more.
func (o *Op) Requeued() {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	o.inLine, o.requeued = never, o.h.moment()
}

// begins reports whether the request was granted and began a hold.
func (c *checker) begins(o *Op) bool {
	if o.kind != Acquire || o.outcome != done {
		return false
	}
	h := c.holds[o.value]
	return h != nil && h.asked == o.sent && h.owner == o.owner
}

// inOrder checks that nobody overtook a waiter that was seen in line: one who asked later, or was seen behind it.
func (c *checker) inOrder() {
	grants, waited := map[string][]*Op{}, map[string][]*Op{}
	for _, o := range c.h.ops {
		switch {
		case c.begins(o):
			grants[o.key] = append(grants[o.key], o)
		case o.outcome == refused && o.inLine != never && o.waits > 0:
			waited[o.key] = append(waited[o.key], o)
		}
	}
	c.inQueues()
	for _, key := range slices.Sorted(maps.Keys(grants)) {
		line := grants[key]
		c.passedOver(waited[key], line)
		slices.SortFunc(line, func(a, b *Op) int { return cmp.Compare(b.value, a.value) })
		var first *Op // of those with higher fences, the one that was seen in line first
		for _, o := range line {
			if first != nil && first.inLine < o.sent {
				c.fault("%v: it overtook %v, which was in line at %s", o, first, c.h.at(first.inLine))
			}
			if o.inLine != never && (first == nil || o.inLine < first.inLine) {
				first = o
			}
		}
	}
}

// inQueues checks that those who were seen in line were granted the lock in that order.
func (c *checker) inQueues() {
	for _, q := range c.h.queues {
		var first *Op
		for _, o := range q.ops {
			if !c.begins(o) {
				continue
			}
			if first != nil && o.value < first.value {
				c.fault("%v: it overtook %v, behind which it was in line at %s", o, first, c.h.at(q.seen))
			}
			if o.requeued < q.asked && (first == nil || o.value > first.value) {
				first = o
			}
		}
	}
}

// passedOver checks that nobody was granted the lock who asked when another one was in line already, before that one's
// time to wait was over.
func (c *checker) passedOver(waited, grants []*Op) {
	slices.SortFunc(grants, func(a, b *Op) int { return cmp.Compare(a.sent, b.sent) })
	for _, o := range waited {
		over := c.first(c.times[o.sent] + o.waits)
		later := sort.Search(len(grants), func(i int) bool { return grants[i].sent > o.inLine })
		for _, g := range grants[later:] {
			if g.sent >= over {
				break
			}
			if g.answered < over && g.owner != o.owner {
				c.fault("%v: it overtook %v, which was in line at %s", g, o, c.h.at(o.inLine))
				break
			}
		}
	}
}
