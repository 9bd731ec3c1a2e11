package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// benchMachine returns a machine with one node and conns open connections, and
// the number of the node's next batch.
func benchMachine(b *testing.B, conns int) (m *fsm.Machine, index, batch uint64) {
	b.Helper()
	m = fsm.New()
	m.Apply(&fsm.Entry{Index: 1, Term: 1, Time: 1, Items: []fsm.Item{{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "n1", Nonce: fsm.Nonce{1}}}}})
	ops := make([]fsm.Op, conns)
	for i := range ops {
		ops[i] = fsm.Op{Conn: fsm.Incarnation(1).Conn(uint32(i + 1)), Seq: 1, Code: fsm.OpOpen}
	}
	m.Apply(&fsm.Entry{Index: 2, Term: 1, Time: 1, Items: []fsm.Item{{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: 1, Ops: ops}}}})
	return m, 3, 2
}

// BenchmarkApply applies entries of LOCK and UNLOCK of random keys; ns/op and
// allocs/op are of one op, decoding included.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("ops=%d", size), func(b *testing.B) {
			m, index, batch := benchMachine(b, size)
			seqs := make([]uint64, size)
			held := make([]bool, size)
			keys := make([][]byte, size)
			ops := make([]fsm.Op, size)
			ptrs := make([]*fsm.Op, size)
			rng := rand.New(rand.NewPCG(1, 1))
			var item, data []byte
			var e fsm.Entry
			b.ReportAllocs()
			for b.Loop() {
				for i := range ops {
					seqs[i]++
					code := fsm.OpUnlock
					if !held[i] {
						code, keys[i] = fsm.OpLock, fmt.Appendf(keys[i][:0], "key:%d:%d", i, rng.IntN(100_000))
					}
					held[i] = !held[i]
					ops[i] = fsm.Op{Conn: fsm.Incarnation(1).Conn(uint32(i + 1)), Seq: seqs[i] + 1, Code: code, Key: keys[i]}
					ptrs[i] = &ops[i]
				}
				item = fsm.AppendBatch(item[:0], 1, batch, ptrs)
				data = fsm.AppendEntry(data[:0], int64(index), nil, item)
				if err := fsm.DecodeEntry(data, &e); err != nil {
					b.Fatal(err)
				}
				e.Index, e.Term, e.Time = index, 1, 1
				if eff := m.Apply(&e); len(eff.Replies) != size {
					b.Fatalf("%d replies to %d ops", len(eff.Replies), size)
				}
				index++
				batch++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/command")
		})
	}
}

// BenchmarkHandOff has 1,000 waiters of one lock; each entry is the UNLOCK of the
// holder, which then lines up again.
func BenchmarkHandOff(b *testing.B) {
	const waiters = 1000
	m, index, batch := benchMachine(b, waiters+1)
	seqs := make([]uint64, waiters+1)
	op := func(c int, code fsm.OpCode) fsm.Op {
		seqs[c]++
		return fsm.Op{Conn: fsm.Incarnation(1).Conn(uint32(c + 1)), Seq: seqs[c] + 1, Code: code, Key: []byte("k")}
	}
	apply := func(ops ...fsm.Op) *fsm.Effects {
		e := fsm.Entry{Index: index, Term: 1, Time: 1, Items: []fsm.Item{{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: batch, Ops: ops}}}}
		index++
		batch++
		return m.Apply(&e)
	}
	for c := range waiters + 1 {
		apply(op(c, fsm.OpLock))
	}
	holder := 0
	b.ReportAllocs()
	for b.Loop() {
		eff := apply(op(holder, fsm.OpUnlock), op(holder, fsm.OpLock))
		if len(eff.Replies) != 2 {
			b.Fatalf("%d replies: an UNLOCK and a grant were due", len(eff.Replies))
		}
		holder = (holder + 1) % (waiters + 1)
	}
}

// BenchmarkLoad loads 100,000 holds of 1,000 sessions.
func BenchmarkLoad(b *testing.B) {
	const conns, holds = 1000, 100_000
	m, index, batch := benchMachine(b, conns)
	for i := range holds / conns {
		ops := make([]fsm.Op, conns)
		for c := range ops {
			ops[c] = fsm.Op{Conn: fsm.Incarnation(1).Conn(uint32(c + 1)), Seq: uint64(i + 2), Code: fsm.OpLock, Key: fmt.Appendf(nil, "orders:%d:%d", c, i)}
		}
		m.Apply(&fsm.Entry{Index: index, Term: 1, Time: 1, Items: []fsm.Item{{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: batch, Ops: ops}}}})
		index++
		batch++
	}
	records := make([]fsm.Record, 0, holds+conns)
	m.Records(func(r fsm.Record) bool {
		records = append(records, fsm.Record{Key: append([]byte(nil), r.Key...), Value: append([]byte(nil), r.Value...)})
		return true
	})
	if m.Stats().Holds != holds {
		b.Fatalf("%d holds", m.Stats().Holds)
	}
	b.ReportAllocs()
	for b.Loop() {
		fresh := fsm.New()
		err := fresh.Load(func(yield func(fsm.Record) bool) {
			for _, r := range records {
				if !yield(r) {
					return
				}
			}
		})
		if err != nil || fresh.Hash() != m.Hash() {
			b.Fatalf("%v, hash %x and %x", err, fresh.Hash(), m.Hash())
		}
	}
}

// BenchmarkLongestApply is the most of a processor that one entry of 64 ops takes while a
// million locks become held, and then two million others come and go.
func BenchmarkLongestApply(b *testing.B) {
	const conns, holds = 64, 1_000_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		m, index, batch := benchMachine(b, conns)
		m.Defer()
		set := fsm.Op{Conn: fsm.Incarnation(1).Conn(1), Seq: 2, Code: fsm.OpConfigSet, Name: []byte(fsm.SettingMaxHolds), Value: []byte("2000000")}
		ops := []fsm.Op{set}
		seqs := make([]uint64, conns)
		seqs[0]++
		longest := func() time.Duration {
			e := fsm.Entry{Index: index, Term: 1, Time: 1, Items: []fsm.Item{{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: batch, Ops: ops}}}}
			index++
			batch++
			began := threadTime()
			m.Apply(&e)
			took := threadTime() - began
			if m.Unflushed() > 8192 {
				m.Flush()
			}
			return took
		}
		longest()
		one := func(c int, code fsm.OpCode, key []byte) fsm.Op {
			seqs[c]++
			op := fsm.Op{Conn: fsm.Incarnation(1).Conn(uint32(c + 1)), Seq: seqs[c] + 1, Code: code, Key: key}
			if code == fsm.OpTryLock {
				op.Lease, op.Flags = 86_400_000, fsm.FlagKeep
			}
			return op
		}
		var filling, cycling time.Duration
		for i := 0; i < holds; i += conns {
			ops = ops[:0]
			for c := range conns {
				ops = append(ops, one(c, fsm.OpTryLock, fmt.Appendf(nil, "orders:%d", i+c)))
			}
			filling = max(filling, longest())
		}
		for i := 0; i < 2*holds; i += conns / 2 {
			ops = ops[:0]
			for c := range conns / 2 {
				key := fmt.Appendf(nil, "key:%d", (i+c)%5000)
				ops = append(ops, one(c, fsm.OpLock, key), one(c, fsm.OpUnlock, key))
			}
			cycling = max(cycling, longest())
		}
		if h := m.Stats().Holds; h < holds || h > holds+conns {
			b.Fatalf("%d locks are held", h)
		}
		b.ReportMetric(float64(filling.Microseconds()), "us-longest-filling")
		b.ReportMetric(float64(cycling.Microseconds()), "us-longest-cycling")
	}
}
