package check

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// passage is all that happened to one lock, for Porcupine.
type passage struct {
	key    string
	steps  []porcupine.Operation
	ghosts []*ghost
	last   map[int]int      // by owner: the ghost that is the end of its last session
	musts  map[int][]*ghost // by owner: ends of its sessions that must have come at some time
	result porcupine.CheckResult
	// Owners of this lock, and whether one of them had two requests under way at once.
	owners    int
	pipelined bool
}

// porcupine looks at each lock and returns those for which it found no order.
func (c *checker) porcupine(timeout time.Duration, r *Report) []*passage {
	all := c.passages()
	r.Locks = len(all)
	if len(all) > 0 {
		r.Hardest = len(all[0].steps)
	}
	c.judge(all, timeout)
	var bad []*passage
	for _, p := range all {
		switch p.result {
		case porcupine.Ok:
			continue
		case porcupine.Illegal:
			c.fault("lock %s: no order of its %d requests explains the answers", p.key, len(p.steps))
		case porcupine.Unknown:
			c.fault("lock %s: Porcupine gave up on its %d requests (and %d things that may have happened) after %v", p.key, len(p.steps), len(p.ghosts), timeout/4)
		}
		bad = append(bad, p)
	}
	return bad
}

// judge asks Porcupine about all, the hardest first, as many at once as there are processors.
func (c *checker) judge(all []*passage, timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	const share = 4 // so that one lock does not use up the time of all
	work := make(chan *passage)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for p := range work {
				left := time.Until(deadline)
				if p.result = porcupine.Unknown; left > 0 {
					p.result = porcupine.CheckOperationsTimeout(p.model(), p.steps, min(left, timeout/share))
				}
			}
		})
	}
	for _, p := range all {
		work <- p
	}
	close(work)
	workers.Wait()
}

// passages sorts all that is known by locks, those with most requests first.
func (c *checker) passages() []*passage {
	keys := map[string]*passage{}
	owners := map[string]int{}
	number := func(owner string) int {
		if owners[owner] == 0 {
			owners[owner] = len(owners) + 1
		}
		return owners[owner]
	}
	at := func(key string) *passage {
		p := keys[key]
		if p == nil {
			p = &passage{key: key, last: map[int]int{}, musts: map[int][]*ghost{}}
			keys[key] = p
		}
		return p
	}
	for _, o := range c.h.ops {
		// Twice the number of the moment: the ends of sessions stand between.
		switch owner := number(o.owner); {
		case c.isStep(o):
			p, call := at(o.key), c.call(o)
			p.steps = append(p.steps, porcupine.Operation{
				Input: &step{op: o, owner: owner, call: call, answer: 2 * o.answered}, Call: call, Return: 2 * o.answered,
			})
		case c.isGhost(o):
			p := at(o.key)
			p.ghosts = append(p.ghosts, &ghost{op: o, owner: owner, call: 2 * o.sent, until: c.until(o)})
		}
	}
	for key, ends := range c.ends {
		for _, e := range ends {
			p := at(key)
			p.ghosts = append(p.ghosts, &ghost{ends: &e, owner: number(e.owner), call: before(e.from), until: before(e.until)})
		}
	}
	all := slices.Collect(maps.Values(keys))
	slices.SortFunc(all, func(a, b *passage) int {
		return cmp.Or(cmp.Compare(len(b.steps), len(a.steps)), cmp.Compare(a.key, b.key))
	})
	for _, p := range all {
		p.prepare()
		p.takeTurns()
		p.number()
	}
	return all
}

// takeTurns numbers the requests of each owner.
func (p *passage) takeTurns() {
	type last struct {
		local int
		turn  int32
		until int64
	}
	owners := map[int]*last{}
	for _, operation := range p.steps { // in the order in which they were begun
		st := operation.Input.(*step)
		l := owners[st.owner]
		if l == nil {
			l = &last{local: len(owners)}
			owners[st.owner] = l
		}
		p.pipelined = p.pipelined || l.until > st.call
		st.local, st.turn = l.local, l.turn
		l.turn++
		l.until = max(l.until, st.answer)
	}
	p.owners = len(owners)
}

// call is when a request can be carried out at the earliest. One that waited in line is refused when its time is over:
// it is then that another one holds the lock.
func (c *checker) call(o *Op) int64 {
	if o.outcome == refused && o.waits > 0 && o.waits != Never {
		return min(max(2*o.sent, before(c.first(c.times[o.sent]+o.waits))), 2*o.answered-1)
	}
	return 2 * o.sent
}

// before is just before a moment: requests have even numbers, the ends of sessions odd ones.
func before(moment int64) int64 {
	if moment == never {
		return never
	}
	return 2*moment - 1
}

// isStep reports whether a request's answer tells something of its lock.
func (c *checker) isStep(o *Op) bool {
	switch o.outcome {
	case waiting, unknown, nothing:
		return false
	case lost:
		return !c.undone[o]
	default:
		return true
	}
}

// isGhost reports whether a request may have changed its lock without an answer that says so.
func (c *checker) isGhost(o *Op) bool {
	switch o.kind {
	case Renew, Count, Owns, Fence:
		return false
	default:
		return o.outcome <= unknown && !c.idle[o] || c.undone[o]
	}
}

// until is when a request can surely be carried out no more.
func (c *checker) until(o *Op) int64 {
	if c.undone[o] {
		return 2 * o.answered
	}
	if s := c.h.final(o.owner); s != nil && o.ownersOwn() {
		return before(c.after(s.until)) // a session that has ended does nothing more
	}
	return never
}

// number puts the steps into as few rows as a drawing needs; a row has one thing at a time.
func (p *passage) number() {
	slices.SortStableFunc(p.steps, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var until []int64
	for i := range p.steps {
		row := slices.IndexFunc(until, func(u int64) bool { return u < p.steps[i].Call })
		if row < 0 {
			row = len(until)
			until = append(until, 0)
		}
		p.steps[i].ClientId, until[row] = row, p.steps[i].Return
	}
}

// draw returns a drawing's data: the longest orders that Porcupine found, and the ghosts beside them.
func (p *passage) draw() porcupine.LinearizationInfo {
	const drawTime = 20 * time.Second
	_, info := porcupine.CheckOperationsVerbose(p.model(), p.steps, drawTime)
	end := int64(0)
	for _, st := range p.steps {
		end = max(end, st.Return)
	}
	var notes []porcupine.Annotation
	for _, g := range p.ghosts {
		notes = append(notes, porcupine.Annotation{
			Tag: "perhaps", Start: max(0, g.call), End: max(0, g.call, min(end, g.until)), Description: g.String(),
		})
	}
	info.AddAnnotations(notes)
	return info
}

// fileName is a lock's name as a file's.
func (p *passage) fileName(n int) string {
	safe := []byte(p.key)
	for i, b := range safe {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			safe[i] = '_'
		}
	}
	return fmt.Sprintf("lock-%d-%s.html", n, safe[:min(len(safe), 60)])
}
