package fsm

// timer is one deadline inside the object that it belongs to. The zero timer is
// stopped.
type timer[T any] struct {
	at  int64  // cluster time in ms
	ord uint64 // breaks ties, so that every node agrees on the order
	pos int    // index in the heap plus one; 0: stopped
	it  T
}

// timers is a binary heap of running timers, the earliest first.
type timers[T any] struct{ h []*timer[T] }

func before[T any](a, b *timer[T]) bool {
	return a.at < b.at || a.at == b.at && a.ord < b.ord
}

// set starts t, or moves it.
func (q *timers[T]) set(t *timer[T], at int64) {
	if t.pos == 0 {
		t.at = at
		q.h = append(q.h, t)
		t.pos = len(q.h)
		q.up(t.pos - 1)
		return
	}
	if t.at == at {
		return
	}
	t.at = at
	q.fix(t.pos - 1)
}

func (q *timers[T]) fix(i int) {
	t := q.h[i]
	q.up(i)
	q.down(t.pos - 1)
}

// stop takes t out of the heap.
func (q *timers[T]) stop(t *timer[T]) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos-1, len(q.h)-1
	moved := q.h[last]
	q.h[last] = nil
	q.h = q.h[:last]
	t.pos = 0
	if moved != t {
		q.h[i] = moved
		moved.pos = i + 1
		q.fix(i)
	}
}

// due returns the earliest timer if its time has come.
func (q *timers[T]) due(now int64) *timer[T] {
	if len(q.h) == 0 || q.h[0].at > now {
		return nil
	}
	return q.h[0]
}

// first returns the time of the earliest timer, or at if that is earlier; -1 is never.
func (q *timers[T]) first(at int64) int64 {
	if len(q.h) > 0 && (at < 0 || q.h[0].at < at) {
		return q.h[0].at
	}
	return at
}

// shift moves every running timer later by ms; their order stays.
func (q *timers[T]) shift(ms int64) {
	for _, t := range q.h {
		t.at += ms
	}
}

func (q *timers[T]) up(i int) {
	t := q.h[i]
	for i > 0 {
		p := (i - 1) / 2
		if !before(t, q.h[p]) {
			break
		}
		q.h[i] = q.h[p]
		q.h[i].pos = i + 1
		i = p
	}
	q.h[i] = t
	t.pos = i + 1
}

func (q *timers[T]) down(i int) {
	t := q.h[i]
	for {
		c := 2*i + 1
		if c >= len(q.h) {
			break
		}
		if c+1 < len(q.h) && before(q.h[c+1], q.h[c]) {
			c++
		}
		if !before(q.h[c], t) {
			break
		}
		q.h[i] = q.h[c]
		q.h[i].pos = i + 1
		i = c
	}
	q.h[i] = t
	t.pos = i + 1
}
