package check

import (
	"cmp"
	"maps"
	"slices"
)

// oneKey checks that no fence was told for two keys, by whatever command.
func (c *checker) oneKey() {
	keys := map[int64]*Op{}
	for _, o := range c.h.ops {
		if !o.tellsFence() {
			continue
		}
		if other := keys[o.value]; other == nil {
			keys[o.value] = o
		} else if other.key != o.key {
			c.fault("%v: this is the fence of %s, too: %v", o, other.key, other)
		}
	}
}

// tellsFence reports whether the answer has the fence of a hold.
func (o *Op) tellsFence() bool {
	return o.outcome == done && o.value > 0 && (o.kind == Acquire || o.kind == Renew || o.kind == Fence)
}

// told is a fence, and when somebody had been told it.
type told struct {
	fence, at int64
	owner     string
}

// rising checks that a grant has a higher fence than all that had been told before it was given.
func (c *checker) rising() {
	holds := slices.Collect(maps.Values(c.holds))
	from := c.earliest(holds)
	slices.SortFunc(holds, func(a, b *hold) int { return cmp.Compare(from[a], from[b]) })
	known := make([]told, 0, len(holds))
	for _, h := range holds {
		known = append(known, told{h.fence, h.known, h.owner})
	}
	for _, o := range c.h.ops {
		if o.kind == Fence && o.tellsFence() {
			known = append(known, told{o.value, o.answered, o.owner})
		}
	}
	slices.SortFunc(known, func(a, b told) int { return cmp.Compare(a.at, b.at) })
	var top told
	for _, h := range holds {
		for len(known) > 0 && known[0].at < from[h] {
			if known[0].fence > top.fence {
				top = known[0]
			}
			known = known[1:]
		}
		if h.fence <= top.fence {
			c.fault("fence %d of %s, asked for by %s at %s and not given before %s, is not above fence %d, which %s was told at %s",
				h.fence, h.key, h.owner, c.h.at(h.asked), c.h.at(from[h]), top.fence, top.owner, c.h.at(top.at))
		}
	}
}

// earliest finds for each hold when it can have begun at the earliest: not before it was asked for, and not before the
// last sign of life of the one before it.
func (c *checker) earliest(holds []*hold) map[*hold]int64 {
	from := make(map[*hold]int64, len(holds))
	last := map[string]*hold{}
	slices.SortFunc(holds, func(a, b *hold) int { return cmp.Compare(a.fence, b.fence) })
	for _, h := range holds {
		from[h] = h.asked
		if before := last[h.key]; before != nil {
			from[h] = min(max(h.asked, before.last.sent), h.known)
		}
		last[h.key] = h
	}
	return from
}
