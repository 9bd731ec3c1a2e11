package sessions

import (
	"sync"

	"github.com/redlockd/redlockd/fsm"
)

// slot is one op and the place of its reply. From fly until its reply, refusal
// or Down its op belongs to the cluster and is only read.
type slot struct {
	op  fsm.Op
	tag any
	buf []byte // what the op's byte slices point into

	flying bool // with the cluster; else held here
	silent bool // the client waits for no reply
	byName bool // an attachment that the client name asked for
	// lost: it flies behind a hole in the numbers and will come back, refused or
	// taken out.
	lost bool
	down bool // the cluster has just taken it out of its queue

	order uint64 // counts proposals of the connection: which came first
	wish  uint32 // the wish that was in force when it was numbered
	was   wishState
}

// keptBuffer is the largest buffer, in bytes, that a recycled slot keeps. It
// fits every lock op but those with the longest key and note together.
const keptBuffer = 1024

// Slots are shared by all connections, so that an idle one keeps none.
var slots = sync.Pool{New: func() any { return new(slot) }}

// newSlot returns a slot with a copy of op.
func newSlot(op *fsm.Op, tag any, silent bool) *slot {
	s := slots.Get().(*slot)
	s.set(op)
	s.tag, s.silent = tag, silent
	return s
}

// set copies op. It goes field by field so that the caller's slices do not
// escape to the heap.
func (s *slot) set(op *fsm.Op) {
	n := len(op.Key) + len(op.Owner) + len(op.ID) + len(op.Note) + len(op.Name) + len(op.Value)
	if cap(s.buf) < n {
		s.buf = make([]byte, 0, max(n, 96))
	}
	s.buf = s.buf[:0]
	s.op = fsm.Op{
		Code: op.Code, Flags: op.Flags,
		Key: s.keep(op.Key), Owner: s.keep(op.Owner), ID: s.keep(op.ID),
		Note: s.keep(op.Note), Name: s.keep(op.Name), Value: s.keep(op.Value),
		Lease: op.Lease, Timeout: op.Timeout, Fence: op.Fence, Count: op.Count, Target: op.Target,
	}
}

// keep copies b behind what the buffer holds; set has made room.
func (s *slot) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	from := len(s.buf)
	s.buf = append(s.buf, b...)
	return s.buf[from:len(s.buf):len(s.buf)]
}

// recycle gives back a slot that nobody else refers to.
func (s *slot) recycle() {
	buf := s.buf
	if cap(buf) > keptBuffer {
		buf = nil
	}
	*s = slot{buf: buf}
	slots.Put(s)
}

// ring is a queue of open slots, oldest first.
type ring struct {
	buf  []*slot // a power of two
	head int
	n    int
}

const (
	firstRing = 8
	// keptRing is the size above which an emptied ring is dropped: a connection
	// that sent one long pipeline should not pay for it for good.
	keptRing = 64
)

func (r *ring) at(i int) *slot { return r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring) set(i int, s *slot) { r.buf[(r.head+i)&(len(r.buf)-1)] = s }

func (r *ring) push(s *slot) {
	if r.n == len(r.buf) {
		buf := make([]*slot, max(firstRing, 2*len(r.buf)))
		for i := range r.n {
			buf[i] = r.at(i)
		}
		r.buf, r.head = buf, 0
	}
	r.n++
	r.set(r.n-1, s)
}

func (r *ring) pop() *slot {
	s := r.at(0)
	r.set(0, nil)
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if r.n == 0 && len(r.buf) > keptRing {
		*r = ring{}
	}
	return s
}

// cut drops the slots from position n on.
func (r *ring) cut(n int) {
	for i := n; i < r.n; i++ {
		r.set(i, nil)
	}
	r.n = n
}
