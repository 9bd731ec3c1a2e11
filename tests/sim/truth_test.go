package sim

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/redlockd/redlockd/fsm"
)

// truth is what the log says: what each entry brought about, which must be the same
// on every node and in every replay, and which reply each op got, once.
type truth struct {
	w       *world
	mu      sync.Mutex
	seed    maphash.Seed
	entries map[uint64]seen
	replies map[fsm.Address]told
	// told are the replies that clients got from the machine.
	told map[fsm.Address]told
	top  uint64
}

// seen is what one node made of an entry.
type seen struct {
	node   string
	digest uint64
}

// told is a reply, in short.
type told struct {
	index uint64
	code  fsm.Code
	value int64
}

func newTruth(w *world) *truth {
	return &truth{w: w, seed: maphash.MakeSeed(), entries: map[uint64]seen{}, replies: map[fsm.Address]told{}, told: map[fsm.Address]told{}}
}

// note compares what an entry did on one node with what it did on the others.
func (t *truth) note(node string, eff *fsm.Effects) {
	var h maphash.Hash
	h.SetSeed(t.seed)
	maphash.WriteComparable(&h, eff.Time)
	for i := range eff.Replies {
		r := &eff.Replies[i]
		maphash.WriteComparable(&h, fsm.Address{Conn: r.Conn, Seq: r.Seq})
		maphash.WriteComparable(&h, told{0, r.Code, r.Int})
	}
	for _, a := range eff.Refused {
		maphash.WriteComparable(&h, a)
	}
	for _, b := range eff.Batches {
		maphash.WriteComparable(&h, b)
	}
	for _, k := range eff.Keepalives {
		maphash.WriteComparable(&h, k)
	}
	for _, e := range eff.Events {
		maphash.WriteComparable(&h, e)
	}
	for _, e := range eff.Ended {
		maphash.WriteComparable(&h, e)
	}
	digest := h.Sum64()
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, ok := t.entries[eff.Index]; ok {
		if was.digest != digest {
			t.w.fault("entry %d had other effects on %s than on %s", eff.Index, node, was.node)
		}
		return
	}
	t.entries[eff.Index] = seen{node, digest}
	t.top = max(t.top, eff.Index)
	for i := range eff.Replies {
		r := &eff.Replies[i]
		a := fsm.Address{Conn: r.Conn, Seq: r.Seq}
		if was, ok := t.replies[a]; ok && was.index != eff.Index {
			t.w.fault("op %d of connection %d was done by entry %d and again by entry %d", r.Seq, r.Conn, was.index, eff.Index)
		}
		t.replies[a] = told{eff.Index, r.Code, r.Int}
	}
}

// newest returns the index of the newest entry that a node has applied.
func (t *truth) newest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.top
}

// answered notes what a client was told.
func (t *truth) answered(op *fsm.Op, r *fsm.Reply) {
	if r.Code == fsm.CodeClusterDown || r.Code == fsm.CodeUncertain || r.Code == fsm.CodeNoSession {
		return // said by the node
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := fsm.Address{Conn: op.Conn, Seq: op.Seq}
	if _, ok := t.told[a]; ok {
		t.w.fault("op %d of connection %d was answered twice", op.Seq, op.Conn)
	}
	t.told[a] = told{0, r.Code, r.Int}
}

// compare looks, at the end, for an answer that is not what the log says.
func (t *truth) compare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, got := range t.told {
		is, ok := t.replies[a]
		if is.index = 0; !ok || is != got {
			t.w.fault("op %d of connection %d was answered %s, the log says %s (%v)", a.Seq, a.Conn, got, is, ok)
		}
	}
}

func (t told) String() string { return fmt.Sprintf("%d (code %d)", t.value, t.code) }
