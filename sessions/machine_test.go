package sessions

import (
	"math/rand/v2"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// TestRealMachine runs clients that lock and unlock a few keys against the lock
// machine itself, with random batches: all is answered, and an UNLOCK that was
// pipelined behind its LOCK always finds the lock held.
func TestRealMachine(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		g := newRig(t, Options{})
		m := fsm.New()
		index := uint64(0)
		apply := func(items ...fsm.Item) *fsm.Effects {
			index++
			return m.Apply(&fsm.Entry{Index: index, Term: 1, Time: int64(index), Items: items})
		}
		eff := apply(fsm.Item{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "a", Nonce: fsm.Nonce{1}}})
		if inc := eff.Registered[0].Incarnation; inc != 1 {
			t.Fatal(inc)
		}
		g.table.Deliver(eff)
		var conns []*Conn
		var clients []*client
		for range 6 {
			c, a := g.open()
			if r.IntN(2) == 0 {
				if err := c.SetName("session:shared"); err != nil {
					t.Fatal(err)
				}
			}
			conns, clients = append(conns, c), append(clients, a)
		}
		sent, number := make([]int, len(conns)), uint64(0)
		for step := 0; step < 400 || g.f.queued() > 0 || g.f.inFlight() > 0; step++ {
			if i := r.IntN(len(conns)); step < 300 && r.IntN(3) == 0 {
				key := []byte{'k', byte('0' + r.IntN(3))}
				for _, code := range []fsm.OpCode{fsm.OpLock, fsm.OpUnlock} {
					g.next++
					conns[i].Do(fsm.Op{Code: code, Key: key, Target: g.next}, g.next)
					sent[i]++
				}
				conns[i].Flush()
			}
			if n := g.f.queued(); n > 0 && g.f.inFlight() < 2 && r.IntN(2) == 0 {
				g.f.cut(1 + r.IntN(n))
			}
			if g.f.inFlight() > 0 && r.IntN(2) == 0 {
				number++
				g.table.Deliver(apply(fsm.Item{
					Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: number, Ops: g.f.next()},
				}))
				if err := m.CheckInvariants(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, a := range clients {
			if len(a.codes) != sent[i] || a.isClosed() {
				t.Fatalf("seed %d: %d of %d answered, closed: %v", seed, len(a.codes), sent[i], a.closed)
			}
			for k, code := range a.codes {
				if code != fsm.CodeOK {
					t.Fatalf("seed %d: op %d of client %d: code %d", seed, k, i, code)
				}
			}
			conns[i].Closed()
		}
		for g.f.queued() > 0 {
			g.f.cut(g.f.queued())
			number++
			apply(fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: number, Ops: g.f.next()}})
		}
		if s := m.Stats(); s.Connections != 0 || s.Holds != 0 || s.Waiters != 0 {
			t.Fatalf("seed %d: left behind: %+v", seed, s)
		}
	}
}
