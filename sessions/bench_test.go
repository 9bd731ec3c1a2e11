package sessions

import (
	"fmt"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// instant is a cluster that answers all that was proposed when asked to.
type instant struct {
	ops []*fsm.Op
	eff fsm.Effects
}

func (f *instant) Propose(ops []*fsm.Op) { f.ops = append(f.ops, ops...) }
func (f *instant) Fresh() error          { return nil }
func (f *instant) Half() error           { return nil }

func (f *instant) apply(t *Table) {
	f.eff.Replies = f.eff.Replies[:0]
	for _, op := range f.ops {
		f.eff.Replies = append(f.eff.Replies, fsm.Reply{Conn: op.Conn, Seq: op.Seq, Int: 1})
	}
	f.ops = f.ops[:0]
	t.Deliver(&f.eff)
}

// sink is an Answerer that counts.
type sink struct{ answered, flushed int }

func (a *sink) Answer(*fsm.Op, any, *fsm.Reply) { a.answered++ }
func (a *sink) Flush()                          { a.flushed++ }
func (a *sink) Close(error)                     {}

// load is connections that send pipelines, one round at a time.
type load struct {
	table *Table
	f     *instant
	conns []*Conn
	sinks []*sink
	deep  int
	key   []byte
	tag   any
}

func newLoad(t testing.TB, conns, deep int) *load {
	l := &load{table: NewTable(Options{}), f: &instant{}, deep: deep, key: []byte("orders:42"), tag: &struct{}{}}
	l.table.SetCluster(l.f)
	l.table.Begin(1)
	for range conns {
		a := &sink{}
		c, err := l.table.Open("", "10.0.0.1:1", a)
		if err != nil {
			t.Fatal(err)
		}
		l.conns, l.sinks = append(l.conns, c), append(l.sinks, a)
	}
	l.round()
	return l
}

func (l *load) round() {
	for _, c := range l.conns {
		c.Touch()
		for range l.deep {
			c.Do(fsm.Op{Code: fsm.OpLock, Key: l.key}, l.tag)
		}
		c.Flush()
	}
	l.f.apply(l.table)
}

// BenchmarkStraightLine is Do, Flush and Deliver of one op.
func BenchmarkStraightLine(b *testing.B) {
	for _, conns := range []int{1, 64} {
		for _, deep := range []int{1, 16} {
			b.Run(fmt.Sprintf("conns=%d/pipeline=%d", conns, deep), func(b *testing.B) {
				l := newLoad(b, conns, deep)
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += conns * deep {
					l.round()
				}
			})
		}
	}
}

// TestNoAllocations: the straight line costs no memory at steady state.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	l := newLoad(t, 8, 16)
	if n := testing.AllocsPerRun(200, l.round); n > 1 {
		t.Fatalf("%.0f allocations in a round of %d ops", n, 8*16)
	}
	for i, a := range l.sinks {
		if want := 202 * 16; a.answered != want || a.flushed != 202 {
			t.Fatalf("sink %d: %d answered, %d flushed", i, a.answered, a.flushed)
		}
	}
}
