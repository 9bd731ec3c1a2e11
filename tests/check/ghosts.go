package check

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/anishathalye/porcupine"
)

// ghost is something that may have happened to a lock, or not: a request without answer, the end of a session or lease.
//
// Porcupine would try each ghost at each place in the order, and as many subsets of them as there are. So it is given
// the answered requests alone, and the ghosts are in its states: a state is all that the lock may be after some answered
// requests, each with the ghosts that it took ([frontier]). Of two ways to the same lock the one that took fewer is kept.
type ghost struct {
	op          *Op     // a request
	ends        *ending // or the end of a session or lease
	owner       int
	call, until int64 // by Porcupine's numbers
	// takes is what else can happen no more when this has: a connection's requests are carried out in their order.
	takes string
	again bool // it may happen more than once: leases of holds that nobody was told of
}

// haunt lets a ghost happen, and reports whether that changes anything.
func (s lockState) haunt(g *ghost) (lockState, bool) {
	mine := s.owner == g.owner
	if g.ends != nil {
		return s.free(), mine && (g.ends.fence == 0 || s.fence == 0 || s.fence == g.ends.fence)
	}
	named := g.op.fence == 0 || s.fence == 0 || s.fence == g.op.fence
	switch g.op.kind {
	case Acquire:
		if s.destroyed || s.owner != 0 && !mine {
			return s, false
		}
		if s.owner == 0 {
			s.known = never
		}
		s.owner = g.owner
		s.count++
		return s, true
	case Release:
		if !mine || !named {
			return s, false
		}
		if s.count--; s.count == 0 {
			s = s.free()
		}
		return s, true
	case Force:
		return s.free(), s.owner != 0 && named
	case Destroy:
		was := s.destroyed
		s = s.free()
		s.destroyed = true
		return s, !was
	case Undestroy:
		was := s.destroyed
		s.destroyed = false
		return s, was
	default:
		return s, false // it changes nothing that is modelled
	}
}

// shape is one thing that a lock may be, and which ghosts that took: a bit each.
type shape struct {
	lock lockState
	took string
}

// frontier is all that a lock may be after some answered requests, in a fixed order. It is never changed.
type frontier struct {
	shapes []shape
	called int64   // the latest call among these requests: what was over before it can happen no more
	turns  []int32 // how many requests of each owner are among them; nil where no owner had two under way
}

// within reports whether a has no bit that b has not.
func within(a, b string) bool {
	for i := range len(a) {
		if a[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}

func taken(took string, g int) bool { return took[g/8]&(1<<(g%8)) != 0 }

func both(a, b string) string {
	sum := []byte(a)
	for i := range len(b) {
		sum[i] |= b[i]
	}
	return string(sum)
}

// shapes collects shapes, of those with the same lock only the ones that no other outdoes.
type shapes []shape

// add reports whether the shape was new.
func (all *shapes) add(s shape) bool {
	for _, o := range *all {
		if o.lock == s.lock && within(o.took, s.took) {
			return false
		}
	}
	*all = slices.DeleteFunc(*all, func(o shape) bool { return o.lock == s.lock && within(s.took, o.took) })
	*all = append(*all, s)
	return true
}

// haunted returns all that the lock may be when a request is carried out, before it is.
func (p *passage) haunted(f frontier, st *step) shapes {
	if len(p.ghosts) == 0 {
		return f.shapes
	}
	all := shapes(slices.Clone(f.shapes))
	queue := slices.Clone(f.shapes)
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for i, g := range p.ghosts {
			if g.call >= st.answer || g.until <= f.called || taken(s.took, i) {
				continue
			}
			if last, ok := p.last[g.owner]; ok && g.op != nil && taken(s.took, last) {
				continue // its session has ended
			}
			if lock, ok := s.lock.haunt(g); ok {
				next := shape{lock, both(s.took, g.takes)}
				if all.add(next) {
					queue = append(queue, next)
				}
			}
		}
	}
	return all
}

// prepare drops the ghosts that nobody can have met and numbers the others.
func (p *passage) prepare() {
	first, last := never, int64(0)
	for _, st := range p.steps {
		first, last = min(first, st.Call), max(last, st.Return)
	}
	over := map[int]bool{} // owners whose requests came by one connection
	for _, g := range p.ghosts {
		over[g.owner] = over[g.owner] || g.ends != nil && g.ends.last
	}
	leases := map[int]*ghost{}
	p.ghosts = slices.DeleteFunc(p.ghosts, func(g *ghost) bool {
		if g.until < first || g.call > last {
			return true
		}
		if g.op != nil || !g.ends.lease || g.ends.fence != 0 {
			return false
		}
		if one := leases[g.owner]; one != nil {
			one.call = min(one.call, g.call)
			return true
		}
		leases[g.owner], g.again = g, true
		return false
	})
	type former struct {
		op    *Op
		takes []byte
	}
	formers := map[int]*former{}
	for i, g := range p.ghosts {
		takes := make([]byte, (len(p.ghosts)+7)/8)
		if g.op != nil {
			if f := formers[g.owner]; f != nil && (over[g.owner] || g.op.sent < f.op.given) {
				takes = f.takes
			}
			formers[g.owner] = &former{g.op, takes}
		}
		if !g.again {
			takes[i/8] |= 1 << (i % 8)
		}
		g.takes = string(takes)
		if g.ends != nil && g.ends.last {
			p.last[g.owner] = i
		}
		if g.ends != nil && g.until != never {
			p.musts[g.owner] = append(p.musts[g.owner], g)
		}
	}
}

// overdue reports whether a hold must have ended before a moment, with the session that it belongs to.
func (p *passage) overdue(s lockState, at int64) bool {
	for _, g := range p.musts[s.owner] {
		if g.until < at && (g.ends.last || s.known < g.call) {
			return true
		}
	}
	return false
}

// step carries out an answered request.
func (p *passage) step(f frontier, st *step) (bool, frontier) {
	next := frontier{called: max(f.called, st.call)}
	if p.pipelined { // an owner's requests are carried out in their order
		turns := make([]int32, p.owners)
		copy(turns, f.turns)
		if turns[st.local] != st.turn {
			return false, next
		}
		turns[st.local]++
		next.turns = turns
	}
	all := make(shapes, 0, len(f.shapes))
	for _, s := range p.haunted(f, st) {
		if p.overdue(s.lock, next.called) {
			continue
		}
		if lock, ok := s.lock.take(st); ok {
			all.add(shape{lock, s.took})
		}
	}
	if len(all) > 1 {
		slices.SortFunc(all, compareShapes)
	}
	next.shapes = all
	return len(all) > 0, next
}

func compareShapes(a, b shape) int {
	return cmp.Or(
		cmp.Compare(a.lock.owner, b.lock.owner), cmp.Compare(a.lock.count, b.lock.count), cmp.Compare(a.lock.fence, b.lock.fence),
		cmp.Compare(a.lock.top, b.lock.top), cmp.Compare(a.lock.known, b.lock.known), cmp.Compare(a.took, b.took),
	)
}

var hashSeed = maphash.MakeSeed()

// model is a lock as Porcupine wants it.
func (p *passage) model() porcupine.Model {
	empty := string(make([]byte, (len(p.ghosts)+7)/8))
	return porcupine.Model{
		Init: func() any { return frontier{shapes: []shape{{took: empty}}} },
		Step: func(state, input, _ any) (bool, any) { return p.step(state.(frontier), input.(*step)) },
		Equal: func(a, b any) bool {
			return slices.Equal(a.(frontier).shapes, b.(frontier).shapes)
		},
		Hash: func(state any) uint64 {
			sum := uint64(0)
			for _, s := range state.(frontier).shapes {
				sum = sum*31 + maphash.Comparable(hashSeed, s)
			}
			return sum
		},
		DescribeOperation: func(input, _ any) string { return input.(*step).String() },
		DescribeState: func(state any) string {
			text := ""
			for i, s := range state.(frontier).shapes {
				if i > 0 {
					text += ", or "
				}
				text += s.lock.String()
			}
			return text
		},
	}
}

func (s lockState) String() string {
	switch {
	case s.destroyed:
		return "destroyed"
	case s.owner == 0:
		return fmt.Sprintf("free, fences up to %d", s.top)
	}
	return fmt.Sprintf("held %d times by owner %d, fence %d", s.count, s.owner, s.fence)
}

func (st *step) String() string {
	text := fmt.Sprintf("%s by %s (%d): %v", st.op.kind, st.op.owner, st.owner, st.op.outcome)
	if st.op.outcome == done {
		text += fmt.Sprintf(" %d", st.op.value)
	}
	return text
}

func (g *ghost) String() string {
	switch {
	case g.ends == nil:
		return fmt.Sprintf("%s by %s (%d): perhaps", g.op.kind, g.op.owner, g.owner)
	case g.ends.fence != 0:
		return fmt.Sprintf("the lease of %s (%d), fence %d, may end", g.ends.owner, g.owner, g.ends.fence)
	}
	return fmt.Sprintf("the session, or a lease, of %s (%d) may end", g.ends.owner, g.owner)
}
