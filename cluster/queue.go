package cluster

import (
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// markGrain is how finely the age of queued ops is kept.
const markGrain = 10 * time.Millisecond

// mark says that the ops before position end came at that time (those before
// the previous mark came earlier).
type mark struct {
	end int
	at  time.Time
}

// opQueue holds the ops that are in no batch yet, oldest first.
type opQueue struct {
	ops   []*fsm.Op
	marks []mark
}

// push appends ops that came now.
func (q *opQueue) push(ops []*fsm.Op, now time.Time) {
	if len(ops) == 0 {
		return
	}
	q.ops = append(q.ops, ops...)
	if n := len(q.marks); n > 0 && now.Sub(q.marks[n-1].at) < markGrain {
		q.marks[n-1].end = len(q.ops)
		return
	}
	q.marks = append(q.marks, mark{end: len(q.ops), at: now})
}

// opOverhead is more than what an op's numbers take in the encoding.
const opOverhead = 48

func opSize(o *fsm.Op) int {
	return opOverhead + len(o.Key) + len(o.Owner) + len(o.ID) + len(o.Note) + len(o.Name) + len(o.Value)
}

// fit returns how many ops from the front make a batch of at most size bytes; at least one.
func (q *opQueue) fit(size int) int {
	for i, o := range q.ops {
		if size -= opSize(o); size < 0 {
			return max(i, 1)
		}
	}
	return len(q.ops)
}

// drop removes n ops from the front and appends their marks to dst.
func (q *opQueue) drop(n int, dst []mark) []mark {
	i := 0
	for ; i < len(q.marks) && q.marks[i].end <= n; i++ {
		dst = append(dst, q.marks[i])
	}
	if i < len(q.marks) && (len(dst) == 0 || dst[len(dst)-1].end < n) {
		dst = append(dst, mark{end: n, at: q.marks[i].at})
	}
	q.marks = q.marks[:copy(q.marks, q.marks[i:])]
	for j := range q.marks {
		q.marks[j].end -= n
	}
	rest := copy(q.ops, q.ops[n:])
	clear(q.ops[rest:])
	q.ops = q.ops[:rest]
	return dst
}

// reset forgets all ops.
func (q *opQueue) reset() {
	clear(q.ops)
	q.ops, q.marks = q.ops[:0], q.marks[:0]
}

// oldest returns when the op at the front came.
func (q *opQueue) oldest() (at time.Time, ok bool) {
	if len(q.marks) == 0 {
		return time.Time{}, false
	}
	return q.marks[0].at, true
}

// nobodys reports whether no client waits for the op: the end of a connection,
// and what the node itself asks.
func nobodys(o *fsm.Op) bool {
	return o.Code == fsm.OpEnd || o.Conn.Number() == fsm.MaxConnNumber
}

// expire takes out the ops that came at or before cutoff, each with every later
// op of its connection. What is nobody's request goes to the back of the queue
// instead, which no op minds; but not the end of a connection that was never sent, as
// opened tells: while there is no leader, clients that come and go would fill the queue.
func (q *opQueue) expire(cutoff, now time.Time, opened func(fsm.ConnID) bool) []*fsm.Op {
	if at, ok := q.oldest(); !ok || at.After(cutoff) {
		return nil
	}
	gone := map[fsm.ConnID]struct{}{}
	var down, stay, ends []*fsm.Op
	var marks []mark
	i := 0
	for _, m := range q.marks {
		old := !m.at.After(cutoff)
		for ; i < m.end; i++ {
			o := q.ops[i]
			_, cut := gone[o.Conn]
			switch {
			case nobodys(o) && old:
				// Its opening came before it, and was taken out at the latest just now.
				if o.Conn.Number() == fsm.MaxConnNumber || opened(o.Conn) {
					ends = append(ends, o)
				}
			case !nobodys(o) && (old || cut):
				gone[o.Conn] = struct{}{}
				down = append(down, o)
				if canary.DownKept { // what got CLUSTERDOWN is done all the same
					stay = append(stay, o)
				}
			default:
				stay = append(stay, o)
			}
		}
		if n := len(marks); len(stay) > 0 && (n == 0 || marks[n-1].end < len(stay)) {
			marks = append(marks, mark{end: len(stay), at: m.at})
		}
	}
	clear(q.ops)
	q.ops, q.marks = append(q.ops[:0], stay...), marks
	q.push(ends, now)
	return down
}

// batch is one numbered batch of this node that its own loop has not applied yet.
type batch struct {
	number uint64
	item   []byte // encoded once; never changed while the batch lives
	ops    int
	marks  []mark // when its ops came
	told   int    // how many of its ops were answered UNCERTAIN
	moves  []move // the connections that it opens and ends
	due    bool   // to be sent (again)
	lent   *round // the link that may still be reading item; nil: none
	// first is when it was first sent, by Clock.Boot; sent when it was last sent.
	first time.Duration
	sent  time.Time
}

// move says that a batch brings a connection into the state, or takes it out.
type move struct {
	conn uint32
	in   bool
}

// seal makes b the batch with that number from the first n ops of q.
func (b *batch) seal(inc fsm.Incarnation, number uint64, q *opQueue, n int) {
	b.number, b.ops, b.told, b.due = number, n, 0, true
	b.item = fsm.AppendBatch(b.item[:0], inc, number, q.ops[:n])
	b.moves = b.moves[:0]
	for _, o := range q.ops[:n] {
		if o.Code == fsm.OpOpen || o.Code == fsm.OpEnd {
			b.moves = append(b.moves, move{o.Conn.Number(), o.Code == fsm.OpOpen})
		}
	}
	b.marks = q.drop(n, b.marks[:0])
}

// overdue returns the addresses of the ops that came at or before cutoff and
// were not told before. Ends of connections have no address.
func (b *batch) overdue(cutoff time.Time) ([]fsm.Address, error) {
	upto := b.told
	for _, m := range b.marks {
		if !m.at.After(cutoff) {
			upto = max(upto, m.end)
		}
	}
	if upto == b.told {
		return nil, nil
	}
	item, err := fsm.DecodeItem(b.item)
	if err != nil {
		return nil, err
	}
	var late []fsm.Address
	for i := b.told; i < upto; i++ {
		if o := &item.Batch.Ops[i]; !nobodys(o) {
			late = append(late, fsm.Address{Conn: o.Conn, Seq: o.Seq})
		}
	}
	b.told = upto
	return late, nil
}

// give adds the batch to a link's round.
func (b *batch) give(r *round) {
	if !r.copies {
		b.lent = r
	}
	r.add(b.item)
}

// oldest returns when the first op came that was not told yet.
func (b *batch) oldest() (at time.Time, ok bool) {
	for _, m := range b.marks {
		if m.end > b.told {
			return m.at, true
		}
	}
	return time.Time{}, false
}
