package check

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// server is a lock server in a few lines, in virtual time, with clients that work, wait, die and go silent. It fills
// a history that must be accepted; with a bug, one that must not be.
type server struct {
	r     *rand.Rand
	h     *History
	now   time.Duration
	due   queue
	locks map[string]*fakeLock
	fence int64
	bug   string
	left  int // requests to come
	rate  int // one of so many times the bug shows
}

type fakeLock struct {
	key   string
	owner string
	count int64
	fence int64
	lease int64 // the number of the present lease, changed by each change of it
	ends  bool  // it has one
	line  []*ask
	lost  map[string]bool // owners that are to be told
}

// nobodyWaits is a bug, and clients that only try.
const nobodyWaits = "a session whose end frees nothing, and nobody waits"

// ask is a request on its way.
type ask struct {
	o      *Op
	client *fakeClient
	life   int
}

// fakeClient is a client, and its sessions one after the other.
type fakeClient struct {
	s     *server
	id    int
	life  int
	ended int // lives below it have ended on the server
	todo  []func()
	fence int64
	visit *Visit
}

type event struct {
	at time.Duration
	n  int
	do func()
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// simulate runs some clients until so many requests were sent and all is settled.
func simulate(seed uint64, clients, requests int, bug string) *History {
	s := &server{
		r: rand.New(rand.NewPCG(seed, 1)), h: New(), locks: map[string]*fakeLock{}, bug: bug, left: requests, rate: 20,
	}
	s.h.clock = func() time.Duration { return s.now }
	for id := range clients {
		c := &fakeClient{s: s, id: id}
		s.later(0, c.next)
	}
	for len(s.due) > 0 {
		e := heap.Pop(&s.due).(event)
		s.now = e.at
		e.do()
	}
	return s.h
}

func (s *server) later(in time.Duration, do func()) {
	heap.Push(&s.due, event{s.now + in, len(s.h.times)*1000 + len(s.due), do})
}

// travel is how long a message takes.
func (s *server) travel() time.Duration { return time.Duration(s.r.IntN(1000)) * time.Microsecond }

func (s *server) has(bug string) bool { return s.bug == bug && s.r.IntN(s.rate) == 0 }

func (c *fakeClient) owner() string { return fmt.Sprintf("c%d.%d", c.id, c.life) }

// next does the next thing that this client has to do.
func (c *fakeClient) next() {
	s := c.s
	if s.left > 0 && s.r.IntN(60) == 0 {
		c.die()
		return
	}
	if len(c.todo) == 0 {
		if s.left <= 0 {
			return
		}
		c.plan()
	}
	do := c.todo[0]
	c.todo = c.todo[1:]
	do()
}

// plan makes a cycle: take a lock some times, visit the resource, look, give it back.
func (c *fakeClient) plan() {
	s := c.s
	key := fmt.Sprintf("k%d-%d", s.r.IntN(4), s.left/500) // names change, so that what may still happen does not pile up
	times := 1 + s.r.IntN(2)
	var lease time.Duration
	if s.r.IntN(5) == 0 {
		lease = 3 * time.Millisecond
	}
	if s.r.IntN(200) == 0 {
		c.todo = append(c.todo, func() { c.send(Force, key, 0) })
		return
	}
	for range times {
		c.todo = append(c.todo, func() { c.send(Acquire, key, lease) })
	}
	c.todo = append(c.todo,
		func() {
			c.visit, _ = s.h.Enter(c.owner(), key, c.fence)
			c.next()
		},
		func() { c.send(Count, key, 0) },
		func() {
			if c.visit != nil {
				c.visit.Leave()
			}
			c.next()
		})
	for range times {
		c.todo = append(c.todo, func() { c.send(Release, key, 0) })
	}
}

// send sends a request. It arrives later, and so does its answer.
func (c *fakeClient) send(kind Kind, key string, lease time.Duration) {
	s := c.s
	s.left--
	a := &ask{s.h.Begin(c.owner(), kind, key).Lease(lease), c, c.life}
	s.later(s.travel(), func() { s.serve(a) })
	if s.r.IntN(100) == 0 {
		s.later(s.travel(), func() {
			if c.life == a.life && a.o.outcome == waiting {
				c.die()
			}
		})
	}
}

// die breaks the client's connection. Its session ends some time after, and it begins a new one.
func (c *fakeClient) die() {
	s := c.s
	const ends = 5 * time.Millisecond
	owner, life := c.owner(), c.life
	s.h.MayEnd(owner, s.now)
	s.h.MustEnd(owner, s.now+ends)
	for _, o := range s.h.ops[max(0, len(s.h.ops)-2000):] {
		if o.owner == owner && o.outcome == waiting {
			o.Unknown()
		}
	}
	s.later(time.Duration(s.r.Int64N(int64(ends))), func() { c.end(owner, life) })
	c.life++
	c.todo, c.visit = nil, nil
	s.later(s.travel(), c.next)
}

// end ends a session on the server.
func (c *fakeClient) end(owner string, life int) {
	s := c.s
	c.ended = max(c.ended, life+1)
	for _, l := range s.locks {
		if s.bug != "a waiter of an ended session" {
			live := l.line[:0]
			for _, a := range l.line {
				if a.o.owner != owner {
					live = append(live, a)
				}
			}
			l.line = live
		}
		if l.owner == owner && !s.has("a session whose end frees nothing") && !s.has(nobodyWaits) {
			s.free(l)
		}
	}
}

// serve carries out a request.
func (s *server) serve(a *ask) {
	if a.life < a.client.ended {
		return
	}
	o := a.o
	l := s.locks[o.key]
	if l == nil {
		l = &fakeLock{key: o.key, lost: map[string]bool{}}
		s.locks[o.key] = l
	}
	switch o.kind {
	case Acquire:
		switch {
		case l.owner == "" || l.owner == o.owner || s.has("a lock given twice"):
			s.grant(l, a)
			return
		case s.bug == nobodyWaits || s.r.IntN(3) == 0:
			s.reply(a, func() {
				o.Refused()
				a.client.todo = nil
			})
			return
		}
		s.wait(l, a)
	case Release:
		s.release(l, a)
	case Count:
		count := l.count
		if s.has("a stale count") {
			count = 0
		}
		s.reply(a, func() { o.Done(count) })
	case Force:
		if l.owner == "" {
			s.reply(a, func() { o.Done(0) })
			return
		}
		l.lost[l.owner] = s.bug != "LOCKLOST not told"
		s.free(l)
		s.reply(a, func() { o.Done(1) })
	default:
	}
}

func (s *server) wait(l *fakeLock, a *ask) {
	a.o.InLine()
	switch {
	case s.has("a waiter overtakes"):
		l.line = append([]*ask{a}, l.line...)
	case s.has("a waiter is lost"):
	default:
		l.line = append(l.line, a)
	}
}

func (s *server) release(l *fakeLock, a *ask) {
	o := a.o
	if l.owner != o.owner {
		if l.lost[o.owner] {
			delete(l.lost, o.owner)
			s.reply(a, o.Lost)
		} else {
			s.reply(a, o.NotHeld)
		}
		return
	}
	if s.has("a release answered and not done") {
		left := l.count - 1
		s.reply(a, func() { o.Done(left) })
		return
	}
	if l.count--; l.count == 0 {
		s.free(l)
		s.reply(a, func() { o.Done(0) })
		return
	}
	left := l.count
	s.reply(a, func() { o.Done(left) })
}

// grant gives the lock to a request.
func (s *server) grant(l *fakeLock, a *ask) {
	o := a.o
	again := l.owner == o.owner
	if !again {
		s.fence++
		l.owner, l.count, l.fence = o.owner, 0, s.fence
		delete(l.lost, o.owner)
		switch {
		case s.has("a fence given twice"):
			l.fence--
		case s.has("a fence that falls"):
			l.fence = max(1, s.fence-40)
		}
	}
	l.count++
	if s.has("an acquire done twice") {
		l.count++
	}
	if !again || o.lease == 0 || l.ends { // the later of two ends; none is the latest
		l.lease++
		l.ends = o.lease > 0
	}
	if l.ends {
		number, left := l.lease, o.lease
		if s.has("a lease cut short") {
			left /= 3
		}
		s.later(left, func() {
			if l.owner == o.owner && l.lease == number {
				l.lost[l.owner] = true
				s.free(l)
			}
		})
	}
	fence := l.fence
	s.reply(a, func() { a.client.fence = fence; o.Done(fence) })
}

// free frees the lock and gives it to the next in line.
func (s *server) free(l *fakeLock) {
	l.owner, l.count, l.fence = "", 0, 0
	l.lease++
	if len(l.line) > 0 {
		a := l.line[0]
		l.line = l.line[1:]
		s.grant(l, a)
	} else if len(l.lost) == 0 {
		delete(s.locks, l.key)
	}
}

// reply brings an answer to a client that is still there.
func (s *server) reply(a *ask, settle func()) {
	s.later(s.travel(), func() {
		if a.life != a.client.life {
			return
		}
		settle()
		a.client.next()
	})
}
