package cluster

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// stopwatch takes the time that the apply loop needs for an entry, from the
// machine to the delivery, and for what a snapshot wants of it.
type stopwatch struct {
	machine
	began time.Time
	used  time.Duration   // by the thread when it began
	took  []time.Duration // by the clock on the wall
	cpu   time.Duration   // the most that one has taken of a processor
	write time.Duration   // the longest state write
	flush time.Duration   // the longest encoding of late records
}

func (w *stopwatch) Apply(e *fsm.Entry) *fsm.Effects {
	w.begin()
	return w.machine.Apply(e)
}

func (w *stopwatch) Flush() *fsm.Effects {
	now := time.Now()
	if w.began.IsZero() {
		w.begin()
	}
	defer func() { w.flush = max(w.flush, time.Since(now)) }()
	return w.machine.Flush()
}

func (w *stopwatch) begin() {
	runtime.LockOSThread()
	w.began, w.used = time.Now(), threadTime()
}

func (w *stopwatch) end() {
	if w.began.IsZero() {
		return
	}
	w.took = append(w.took, time.Since(w.began))
	w.cpu = max(w.cpu, threadTime()-w.used)
	w.began = time.Time{}
	runtime.UnlockOSThread()
}

// watchedStorage ends a snapshot's time, and takes that of the state writes.
type watchedStorage struct {
	Storage
	w *stopwatch
}

func (s *watchedStorage) Apply(index, term uint64, writes []store.Write) error {
	began := time.Now()
	err := s.Storage.Apply(index, term, writes)
	s.w.write = max(s.w.write, time.Since(began))
	return err
}

func (s *watchedStorage) PersistState() raft.FSMSnapshot {
	s.w.end()
	return s.Storage.PersistState()
}

// attach makes the watch look at a node that runs.
func (w *stopwatch) attach(n *Node) {
	a := n.applier
	a.turn.Lock()
	defer a.turn.Unlock()
	a.viewMu.Lock()
	defer a.viewMu.Unlock()
	grew := a.grew
	w.machine, a.machine = a.machine, w
	a.storage = &watchedStorage{a.storage, w}
	a.grew = func(bytes int) { w.end(); grew(bytes) }
}

// hold fills the node with locks that nobody gives back.
func hold(b *testing.B, n *Node, h *benchHost, inc fsm.Incarnation, locks int) {
	b.Helper()
	const burst = 1000
	id, c := inc.Conn(1), &h.callers[0]
	c.left = 1
	n.Propose([]*fsm.Op{{Conn: id, Seq: 1, Code: fsm.OpOpen}})
	<-c.done
	for at := 0; at < locks; at += burst {
		ops := make([]*fsm.Op, burst)
		for i := range ops {
			ops[i] = &fsm.Op{
				Conn: id, Seq: uint64(at + i + 2), Code: fsm.OpTryLock, Key: fmt.Appendf(nil, "orders:%d", at+i),
				Lease: 86_400_000, Flags: fsm.FlagKeep,
			}
		}
		c.left = burst
		n.Propose(ops)
		<-c.done
	}
	var holds int64
	n.View(func(m *fsm.Machine) { holds = m.Stats().Holds })
	if holds != int64(locks) {
		b.Fatalf("%d locks are held, want %d", holds, locks)
	}
}

// BenchmarkPause is the longest time for which an entry keeps the apply loop,
// with a million locks held (REDLOCKD_BENCH_LOCKS): under load alone, while
// snapshots are taken and the log is cut, and while the state is streamed to a
// node that is far behind.
func BenchmarkPause(b *testing.B) {
	locks := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("REDLOCKD_BENCH_LOCKS")); err == nil {
		locks = n
	}
	const callers, burst = 64, 4
	n, h, inc := benchNode(b, false, callers+1, func(o *Options) {
		o.TrailingLogs, o.Settings = 128, map[string]string{fsm.SettingMaxHolds: "2000000"}
	})
	hold(b, n, h, inc, locks)
	w := &stopwatch{}
	w.attach(n)
	for i, phase := range []struct {
		name string
		work func() error
	}{
		{"load", func() error { return nil }},
		{"snapshots", func() error { return n.raft.Snapshot().Error() }},
		{"stream", func() error { return streamState(n.opts.Storage.Snapshots()) }},
	} {
		b.Run(phase.name, func(b *testing.B) {
			first := 1 + i*callers // connections of their own
			h.callers = make([]benchCaller, first+callers)
			for j := range h.callers {
				h.callers[j].done = make(chan struct{}, 1)
			}
			n.applier.turn.Lock()
			w.took, w.cpu, w.write, w.flush = w.took[:0], 0, 0, 0
			n.applier.turn.Unlock()
			end := time.Now().Add(10 * time.Second)
			var wg sync.WaitGroup
			for j := range callers {
				wg.Go(func() { h.caller(n, first+j, burst, inc, func() bool { return time.Now().Before(end) }) })
			}
			rounds := 0
			for time.Now().Before(end) {
				if err := phase.work(); err == nil {
					rounds++
				}
				time.Sleep(20 * time.Millisecond)
			}
			wg.Wait()
			n.applier.turn.Lock()
			defer n.applier.turn.Unlock()
			slices.Sort(w.took)
			over := 0
			for _, d := range w.took {
				if d > 20*time.Millisecond {
					over++
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(w.took)), "entries")
			b.ReportMetric(float64(rounds), "rounds")
			b.ReportMetric(float64(over), "over-20ms")
			b.ReportMetric(float64(w.cpu.Microseconds()), "us-cpu-max")
			b.ReportMetric(float64(w.write.Microseconds()), "us-write-max")
			b.ReportMetric(float64(w.flush.Microseconds()), "us-flush-max")
			for _, q := range []float64{0.5, 0.99, 0.999, 1} {
				b.ReportMetric(float64(w.took[int(q*float64(len(w.took)-1))].Microseconds()), fmt.Sprintf("us-p%g", q*100))
			}
		})
	}
}

// streamState reads the state as Raft does for a node that is far behind.
func streamState(snaps raft.SnapshotStore) error {
	list, err := snaps.List()
	if err != nil {
		return err
	}
	_, r, err := snaps.Open(list[0].ID)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}
