package fsm

import "testing"

// TestSessionNumbersComeRound: a node that has drawn all its session ids, as one
// does whose clients say RESET often enough, goes on with those that are free. The
// ids must stay the node's own, nobody else's, and fit to be loaded.
func TestSessionNumbersComeRound(t *testing.T) {
	m, index := New(), uint64(0)
	apply := func(items ...Item) *Effects {
		index++
		return m.Apply(&Entry{Index: index, Term: 1, Time: 1, Items: items})
	}
	inc := apply(Item{Kind: ItemRegister, Register: Register{Node: "n", Nonce: Nonce{1}}}).Registered[0].Incarnation
	stays, resets := inc.Conn(1), inc.Conn(2)
	ops := []Op{
		{Conn: stays, Seq: 1, Code: OpOpen},
		{Conn: stays, Seq: 2, Code: OpSessionAttach, Name: []byte("s")},
		{Conn: stays, Seq: 3, Code: OpLock, Key: []byte("k")},
		{Conn: resets, Seq: 1, Code: OpOpen},
	}
	apply(Item{Kind: ItemBatch, Batch: Batch{Incarnation: inc, Number: 1, Ops: ops}})
	m.live[inc].drawn = drawnSessions - 2
	for i := range uint64(4) {
		op := Op{Conn: resets, Seq: 2 + i, Code: OpReset}
		apply(Item{Kind: ItemBatch, Batch: Batch{Incarnation: inc, Number: 2 + i, Ops: []Op{op}}})
		s := m.conns[resets].session
		if ConnID(s.id).Incarnation() != inc || s.id&drawnSessions == 0 || s.id&(drawnSessions-1) == 0 || m.sessions[s.id] != s {
			t.Fatalf("RESET %d made session %x", i, uint64(s.id))
		}
		if err := m.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		fresh := New()
		if err := fresh.Load(func(yield func(Record) bool) { m.Records(yield) }); err != nil {
			t.Fatal(err)
		}
	}
	if s := m.named["s"]; m.sessions[s.id] != s || m.conns[stays].attached() != s {
		t.Error("the session that was there all the time is not found any more")
	}
}
