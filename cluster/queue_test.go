package cluster

import (
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

func op(conn uint32, seq uint64, code fsm.OpCode) *fsm.Op {
	return &fsm.Op{Conn: fsm.Incarnation(1).Conn(conn), Seq: seq, Code: code}
}

func seqs(ops []*fsm.Op) (s []uint64) {
	for _, o := range ops {
		s = append(s, uint64(o.Conn.Number())*100+o.Seq)
	}
	return s
}

func equal(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

// What is too old goes, with all that came later on its connection; ends of
// connections and the node's own ops stay.
func TestQueueExpire(t *testing.T) {
	var q opQueue
	at := time.Now()
	opened := func(fsm.ConnID) bool { return true }
	q.push([]*fsm.Op{op(1, 1, fsm.OpLock), op(2, 0, fsm.OpEnd), op(fsm.MaxConnNumber, 1, fsm.OpOpen)}, at)
	q.push([]*fsm.Op{op(3, 1, fsm.OpLock), op(1, 2, fsm.OpLock), op(1, 0, fsm.OpEnd)}, at.Add(time.Second))
	if got := q.expire(at.Add(-1), at, opened); got != nil {
		t.Fatal("too early")
	}
	down := q.expire(at, at.Add(5*time.Second), opened)
	equal(t, "down", seqs(down), 101, 102)
	equal(t, "stay", seqs(q.ops), 301, 100, 200, uint64(fsm.MaxConnNumber)*100+1)
	if o, _ := q.oldest(); !o.Equal(at.Add(time.Second)) {
		t.Fatal("oldest", o.Sub(at))
	}
	equal(t, "down", seqs(q.expire(at.Add(time.Second), at.Add(6*time.Second), opened)), 301)
	equal(t, "stay", seqs(q.ops), 200, uint64(fsm.MaxConnNumber)*100+1, 100)
}

func TestQueueDropKeepsAges(t *testing.T) {
	var q opQueue
	at := time.Now()
	for i := range 3 {
		q.push([]*fsm.Op{op(1, uint64(2*i+1), fsm.OpLock), op(1, uint64(2*i+2), fsm.OpLock)}, at.Add(time.Duration(i)*time.Second))
	}
	q.push([]*fsm.Op{op(1, 7, fsm.OpLock)}, at.Add(2*time.Second+markGrain/2)) // joins the mark before
	b := &batch{}
	b.seal(1, 1, &q, 3)
	equal(t, "rest", seqs(q.ops), 104, 105, 106, 107)
	if len(b.marks) != 2 || b.marks[0].end != 2 || b.marks[1].end != 3 || len(q.marks) != 2 || q.marks[0].end != 1 || q.marks[1].end != 4 {
		t.Fatalf("marks %v, left %v", b.marks, q.marks)
	}
	late, err := b.overdue(at)
	if err != nil || len(late) != 2 || late[1].Seq != 2 {
		t.Fatal(late, err)
	}
	if o, ok := b.oldest(); !ok || !o.Equal(at.Add(time.Second)) {
		t.Fatal("oldest", o.Sub(at), ok)
	}
	if late, _ = b.overdue(at.Add(time.Minute)); len(late) != 1 || late[0].Seq != 3 {
		t.Fatal(late)
	}
	if late, _ = b.overdue(at.Add(time.Hour)); late != nil {
		t.Fatal("told twice", late)
	}
	if _, ok := b.oldest(); ok {
		t.Fatal("something is left to tell")
	}
}
