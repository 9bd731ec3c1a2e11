package fsm

import (
	"cmp"
	"math"
	"slices"
)

// order lists objects by a number that only rises: what LOCKSCAN walks. It is
// cut into pieces, so that no change of it takes long, however many there are:
// one slice of a million would now and then be copied or swept as a whole.
type order[T any] struct {
	pieces []*piece[T] // none of them empty
	n      int
}

// orderPiece is how many entries a piece has at most.
const orderPiece = 512

type piece[T any] struct {
	a    []ordered[T] // ascending; those taken out are marked until they are many
	dead int
}

type ordered[T any] struct {
	n    uint64
	dead bool
	o    T
}

// add puts o behind all others.
func (q *order[T]) add(n uint64, o T) {
	q.n++
	if len(q.pieces) == 0 || len(q.pieces[len(q.pieces)-1].a) == orderPiece {
		q.pieces = append(q.pieces, &piece[T]{})
	}
	p := q.pieces[len(q.pieces)-1]
	p.a = append(p.a, ordered[T]{n: n, o: o})
}

// find returns the piece that has n, or would have it, and where: the first
// entry whose number is n or above; past the last piece where there is none.
func (q *order[T]) find(n uint64) (at, i int) {
	at, _ = slices.BinarySearchFunc(q.pieces, n, func(p *piece[T], n uint64) int { return cmp.Compare(p.a[len(p.a)-1].n, n) })
	if at < len(q.pieces) {
		i, _ = slices.BinarySearchFunc(q.pieces[at].a, n, func(x ordered[T], n uint64) int { return cmp.Compare(x.n, n) })
	}
	return at, i
}

// remove takes out the entry of a number.
func (q *order[T]) remove(n uint64) {
	at, i := q.find(n)
	if at == len(q.pieces) || q.pieces[at].a[i].n != n || q.pieces[at].a[i].dead {
		return
	}
	q.n--
	p := q.pieces[at]
	p.a[i] = ordered[T]{n: n, dead: true}
	if p.dead++; p.dead*2 < len(p.a) {
		return
	}
	p.a = slices.DeleteFunc(p.a, func(x ordered[T]) bool { return x.dead })
	p.dead = 0
	q.join(at)
}

// join puts what is left of a piece, if that is little, into the one before.
func (q *order[T]) join(at int) {
	p := q.pieces[at]
	if len(p.a) > 0 {
		if at == 0 || len(p.a)+len(q.pieces[at-1].a) > orderPiece/2 {
			return
		}
		before := q.pieces[at-1]
		before.a = append(before.a, p.a...)
	}
	q.pieces = slices.Delete(q.pieces, at, at+1)
}

// after yields the entries whose number is above n, in order.
func (q *order[T]) after(n uint64) func(yield func(uint64, T) bool) {
	return func(yield func(uint64, T) bool) {
		if n == math.MaxUint64 {
			return
		}
		at, i := q.find(n + 1)
		for ; at < len(q.pieces); at, i = at+1, 0 {
			for _, x := range q.pieces[at].a[i:] {
				if !x.dead && !yield(x.n, x.o) {
					return
				}
			}
		}
	}
}
