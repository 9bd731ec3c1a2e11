package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// benchHost counts replies per connection and wakes a caller when its burst is answered.
type benchHost struct {
	inc     chan fsm.Incarnation
	callers []benchCaller
}

type benchCaller struct {
	left int
	done chan struct{}
	_    [40]byte // keeps callers off each other's cache lines
}

func (h *benchHost) Begin(inc fsm.Incarnation)               { h.inc <- inc }
func (h *benchHost) End(fsm.Incarnation, error)              {}
func (h *benchHost) Down([]*fsm.Op, error)                   {}
func (h *benchHost) Fast([]fsm.Reply)                        {}
func (h *benchHost) Installed(func(fsm.ConnID) fsm.Standing) {}
func (h *benchHost) Uncertain([]fsm.Address, error)          {}
func (h *benchHost) Contacts() []fsm.SessionID               { return nil }

func (h *benchHost) Deliver(eff *fsm.Effects) {
	for i := range eff.Replies {
		r := &eff.Replies[i]
		n := r.Conn.Number() - 1
		if int(n) >= len(h.callers) {
			continue
		}
		c := &h.callers[n]
		if c.left--; c.left == 0 {
			c.done <- struct{}{}
		}
	}
}

// caller runs one connection: bursts of ops, LOCK and UNLOCK of a key of its own in turns.
func (h *benchHost) caller(n *Node, i, burst int, inc fsm.Incarnation, next func() bool) {
	id := inc.Conn(uint32(i) + 1)
	c := &h.callers[i]
	key := []byte("bench:" + strconv.Itoa(i))
	ops := make([]*fsm.Op, burst)
	for j := range ops {
		ops[j] = &fsm.Op{}
	}
	c.left = 1
	n.Propose([]*fsm.Op{{Conn: id, Seq: 1, Code: fsm.OpOpen}})
	<-c.done
	seq := uint64(1)
	for next() {
		for _, o := range ops {
			seq++
			*o = fsm.Op{Conn: id, Seq: seq, Code: fsm.OpLock, Key: key}
			if seq%2 == 1 {
				o.Code = fsm.OpUnlock
			}
		}
		c.left = burst
		n.Propose(ops)
		<-c.done
	}
}

func benchNode(b *testing.B, mem bool, callers int, change func(*Options)) (*Node, *benchHost, fsm.Incarnation) {
	b.Helper()
	so := store.Options{Dir: "data", FS: vfs.NewMem(), Logger: quiet()}
	if !mem {
		dir, err := os.MkdirTemp("", "cluster-bench")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		so.Dir, so.FS = dir+"/data", nil
	}
	s, err := store.Open(so)
	if err != nil {
		b.Fatal(err)
	}
	h := &benchHost{inc: make(chan fsm.Incarnation, 10), callers: make([]benchCaller, callers)}
	for i := range h.callers {
		h.callers[i].done = make(chan struct{}, 1)
	}
	o := Options{NodeID: "n1", Storage: s, Host: h, Logger: quiet()}
	if change != nil {
		change(&o)
	}
	n, err := Open(o)
	if err == nil {
		err = n.Serving(context.Background())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return n, h, <-h.inc
}

// BenchmarkPropose is from Propose to Deliver, closed loop: callers, and ops each
// has under way; on disk with sync, and in memory. One operation is one op.
func BenchmarkPropose(b *testing.B) {
	for _, disk := range []string{"disk", "mem"} {
		for _, c := range []struct{ callers, burst int }{{1, 1}, {16, 1}, {64, 1}, {256, 1}, {64, 16}} {
			for _, flight := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/callers=%d/burst=%d/flight=%d", disk, c.callers, c.burst, flight), func(b *testing.B) {
					n, h, inc := benchNode(b, disk == "mem", c.callers, func(o *Options) { o.InFlight = flight })
					run(b, n, h, inc, c.callers, c.burst)
				})
			}
		}
	}
}

func run(b *testing.B, n *Node, h *benchHost, inc fsm.Incarnation, callers, burst int) {
	var left atomic.Int64
	left.Store(int64(b.N / burst))
	before, cpu := n.Status().Counters, cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { h.caller(n, i, burst, inc, func() bool { return left.Add(-1) >= 0 }) })
	}
	wg.Wait()
	b.StopTimer()
	after := n.Status().Counters
	// What the process used of both cores: it says more than the rate on a busy machine.
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(after.Ops-before.Ops)/float64(max(1, after.Entries-before.Entries)), "ops/entry")
}

// timedStorage notes how long the state write of an entry takes.
type timedStorage struct {
	Storage
	took []time.Duration
}

func (s *timedStorage) Apply(index, term uint64, writes []store.Write) error {
	began := time.Now()
	err := s.Storage.Apply(index, term, writes)
	s.took = append(s.took, time.Since(began))
	return err
}

// BenchmarkSnapshot takes a snapshot each 20 ms under load and reports how long
// the apply loop stood in the state write, with and without them.
func BenchmarkSnapshot(b *testing.B) {
	for _, snapshots := range []bool{false, true} {
		b.Run(fmt.Sprintf("snapshots=%v", snapshots), func(b *testing.B) {
			var timed *timedStorage
			n, h, inc := benchNode(b, false, 64, func(o *Options) {
				timed = &timedStorage{Storage: o.Storage}
				o.Storage, o.TrailingLogs = timed, 128
			})
			stop, done := make(chan struct{}), make(chan int)
			go func() {
				taken := 0
				for {
					select {
					case <-stop:
						done <- taken
						return
					case <-time.After(20 * time.Millisecond):
						if snapshots && n.raft.Snapshot().Error() == nil {
							taken++
						}
					}
				}
			}()
			run(b, n, h, inc, 64, 4)
			close(stop)
			b.ReportMetric(float64(<-done), "snapshots")
			slices.Sort(timed.took)
			for _, q := range []float64{0.5, 0.99, 1} {
				b.ReportMetric(float64(timed.took[int(q*float64(len(timed.took)-1))].Microseconds()), fmt.Sprintf("us-p%g", q*100))
			}
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen is from an empty directory to serving, store included. The nodes
// opened before stay open until the end.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		benchNode(b, false, 1, nil)
	}
}
