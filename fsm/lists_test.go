package fsm

import (
	"bytes"
	"fmt"
	"testing"
)

// lister is one connection of one node.
type lister struct {
	m             *Machine
	inc           Incarnation
	index, number uint64
	seq           uint64
}

func newLister() *lister {
	l := &lister{m: New()}
	l.inc = l.apply(Item{Kind: ItemRegister, Register: Register{Node: "n", Nonce: Nonce{1}}}).Registered[0].Incarnation
	l.do(Op{Code: OpOpen})
	return l
}

func (l *lister) apply(items ...Item) *Effects {
	l.index++
	return l.m.Apply(&Entry{Index: l.index, Term: 1, Time: 1, Items: items})
}

// do sends ops, numbered anew, as one batch.
func (l *lister) do(ops ...Op) *Effects {
	for i := range ops {
		l.seq++
		ops[i].Conn, ops[i].Seq = l.inc.Conn(1), l.seq
	}
	return l.batch(ops)
}

func (l *lister) batch(ops []Op) *Effects {
	l.number++
	return l.apply(Item{Kind: ItemBatch, Batch: Batch{Incarnation: l.inc, Number: l.number, Ops: ops}})
}

// TestListsShareAnEntry: lists in a pipeline are not made all in one entry, which would
// keep them all on every node at once, and again at each of its starts; what is
// postponed is answered by the next entries, in order.
func TestListsShareAnEntry(t *testing.T) {
	const waiters, lists = 2_000, 40
	l := newLister()
	l.do(Op{Code: OpSessionAttach, Name: []byte("s")}, Op{Code: OpLock, Key: []byte("k"), Owner: []byte("holder")})
	for i := range waiters {
		l.do(Op{Code: OpLock, Key: []byte("k"), Owner: fmt.Appendf(nil, "%d", i), ID: []byte("1"), Flags: FlagAsync})
	}
	kinds := []struct {
		name string
		op   Op
		rows func(data any) int
	}{
		{"LOCKWAITERS", Op{Code: OpLockWaiters, Key: []byte("k")}, func(d any) int { return len(d.([]WaiterInfo)) }},
		{"LOCKSCAN", Op{Code: OpLockScan, Count: maxScanCount}, func(d any) int { return len(d.(*ScanPage).Keys) }},
		{"SESSION LIST", Op{Code: OpSessionList}, func(d any) int { return len(d.([]SessionInfo)) }},
	}
	for i := range waiters { // as much for the others to show
		l.do(Op{Code: OpLock, Key: fmt.Appendf(nil, "held-%d", i)})
		l.do(Op{Code: OpSessionAttach, Name: fmt.Appendf(nil, "s-%d", i), Lease: 86_400_000}, Op{Code: OpSessionAttach, Name: []byte("s")})
	}
	for _, kind := range kinds {
		first := l.seq + 1
		var left []Op
		for range lists {
			left = append(left, kind.op)
		}
		left = append(left, Op{Code: OpFence, Key: []byte("k")})
		next := first
		for eff := l.do(left...); ; eff = l.batch(left) {
			rows := 0
			for _, r := range eff.Replies {
				if r.Seq != next {
					t.Fatalf("%s: op %d is answered, want %d", kind.name, r.Seq, next)
				}
				if next++; r.Data != nil {
					rows += kind.rows(r.Data)
				}
			}
			if rows > maxShown+waiters+1 {
				t.Fatalf("%s: one entry shows %d rows", kind.name, rows)
			}
			if len(eff.Replies) == 0 || len(eff.Replies)+len(eff.Refused) != len(left) {
				t.Fatalf("%s: of %d ops %d are answered and %d refused", kind.name, len(left), len(eff.Replies), len(eff.Refused))
			}
			if left = left[len(eff.Replies):]; len(left) == 0 {
				break
			}
		}
		if next != first+lists+1 {
			t.Errorf("%s: answered up to %d, want %d", kind.name, next, first+lists+1)
		}
	}
}

// TestSessionListCost: SESSION LIST has no pages, so a pattern that would keep all
// nodes from applying for seconds is refused.
func TestSessionListCost(t *testing.T) {
	const named = 500
	l := newLister()
	long := bytes.Repeat([]byte("a"), 128-3)
	for i := range named {
		l.do(Op{Code: OpSessionAttach, Name: fmt.Appendf(long, "%03d", i)})
	}
	costly := append(append([]byte("*["), bytes.Repeat([]byte("b"), 1000)...), ']')
	r := l.do(Op{Code: OpSessionList, Name: costly}).Replies[0]
	if r.Code != CodeErr || r.Detail.Why != WhyCostly || r.Detail.Number != named {
		t.Errorf("a costly pattern for %d sessions: %+v", named, r)
	}
	r = l.do(Op{Code: OpSessionList, Name: []byte("*a*[0-9]7?")}).Replies[0]
	if all, _ := r.Data.([]SessionInfo); len(all) != named/10 {
		t.Errorf("%d sessions match, want %d", len(all), named/10)
	}
}

// TestNoticesOfOneKey: unlabelled requests of a named session that leave their locks to
// the lease do not pile up notices without end: each LOCK, UNLOCK and query of the key
// looks through them.
func TestNoticesOfOneKey(t *testing.T) {
	l := newLister()
	l.do(Op{Code: OpSessionAttach, Name: []byte("s")})
	first := uint64(0)
	for range 4 * maxOwnerNotices {
		r := l.do(Op{Code: OpLock, Key: []byte("k")}, Op{Code: OpForceUnlock, Key: []byte("k")}).Replies[0]
		if first == 0 {
			first = uint64(r.Int)
		}
	}
	last := l.m.meta.fence
	if n := len(l.m.notices); n != maxOwnerNotices {
		t.Errorf("%d notices, want %d", n, maxOwnerNotices)
	}
	for fence, want := range map[uint64]Code{first: CodeNotOwner, last: CodeLockLost, last - maxOwnerNotices + 1: CodeLockLost} {
		if r := l.do(Op{Code: OpUnlock, Key: []byte("k"), Fence: fence}).Replies[0]; r.Code != want {
			t.Errorf("UNLOCK with fence %d of %d to %d: code %d, want %d", fence, first, last, r.Code, want)
		}
	}
	if err := l.m.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

// TestEndsShareAnEntry: each end of a session sets the timers of all that is remembered
// for it; a pipeline of ends does not do that all in one entry.
func TestEndsShareAnEntry(t *testing.T) {
	const notices, ends = 4_000, 100
	l := newLister()
	l.do(Op{Code: OpSessionAttach, Name: []byte("s")})
	for i := range notices {
		l.do(Op{Code: OpLock, Key: fmt.Appendf(nil, "k%d", i)})
	}
	var left []Op
	for range ends {
		left = append(left, Op{Code: OpSessionClose}, Op{Code: OpLock, Key: []byte("other")})
	}
	entries, ended := 0, 0
	for eff := l.do(left...); ; eff = l.batch(left) {
		entries++
		if n := len(eff.Sessions); n > 2+maxRearmed/notices {
			t.Fatalf("%d sessions with %d notices each end in one entry", n, notices)
		}
		ended += len(eff.Sessions)
		if left = left[len(eff.Replies):]; len(left) == 0 {
			break
		}
		if len(eff.Replies) == 0 {
			t.Fatalf("%d ops are left and none is answered", len(left))
		}
	}
	if entries < 2 || ended != ends {
		t.Errorf("%d ends in %d entries, want %d in some", ended, entries, ends)
	}
}
