package sessions

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestConcurrent runs readers, the apply loop and the cluster's timer at once,
// and checks the same as TestRandom.
func TestConcurrent(t *testing.T) {
	for _, trouble := range []bool{false, true} {
		t.Run(fmt.Sprintf("trouble=%v", trouble), func(t *testing.T) {
			w := newWorld(t, 1)
			w.calm = !trouble
			for range 8 {
				w.open()
			}
			var sending sync.WaitGroup
			var busy atomic.Int64
			for i, p := range w.clients {
				busy.Add(1)
				sending.Go(func() {
					defer busy.Add(-1)
					p.play(uint64(i), 200)
				})
			}
			stop := make(chan struct{})
			var timer sync.WaitGroup
			timer.Go(func() { w.timer(stop) })
			deadline := time.Now().Add(time.Minute)
			for busy.Load() > 0 && time.Now().Before(deadline) {
				w.cut()
				w.apply()
				w.grant()
				w.table.Deliver(w.m.take())
				runtime.Gosched()
			}
			if busy.Load() > 0 {
				t.Fatal("not done within a minute")
			}
			sending.Wait()
			close(stop)
			timer.Wait()
			w.settle()
			w.check()
			if w.calm && !trouble {
				w.checkCalm()
			}
		})
	}
}

// play sends ops in bursts, at most 32 unanswered, until all are answered or the
// connection is closed.
func (p *player) play(seed uint64, ops int) {
	r := rand.New(rand.NewPCG(seed, 3))
	wait := func(below int) bool {
		for p.conn.Outstanding() >= below && !p.isClosed() {
			runtime.Gosched()
		}
		return !p.isClosed()
	}
	for len(p.sent) < ops && wait(32) {
		for range 1 + r.IntN(8) {
			n := uint64(len(p.sent) + 1)
			op := fsm.Op{Code: fsm.OpFence, Target: n, Key: fmt.Appendf(nil, "key-%d", n)}
			if r.IntN(4) == 0 {
				op.Code, op.Note = fsm.OpLock, []byte("wait")
			}
			p.sent, p.wish = append(p.sent, n), append(p.wish, "")
			p.conn.Do(op, n)
		}
		p.conn.Touch()
		p.conn.Flush()
		if seed == 0 && len(p.sent) > ops/2 {
			p.gone = true // leaves in the middle of it
			p.conn.Closed()
			return
		}
	}
	wait(1)
}

// timer does what the cluster's timer and the operators do.
func (w *world) timer(stop chan struct{}) {
	r := rand.New(rand.NewPCG(9, 9))
	for {
		select {
		case <-stop:
			return
		default:
		}
		if !w.calm && r.IntN(4) == 0 {
			after := r.IntN(20)
			w.table.Down(w.f.takeOut(func(i int) bool { return i >= after }), errNoLeader)
		}
		w.table.Contacts()
		w.table.Live()
		w.table.Each(func(c *Conn) bool { _ = c.Info(); return c.Alive() == nil })
		runtime.Gosched()
	}
}

// TestEndWhileBusy ends incarnations under the readers' feet.
func TestEndWhileBusy(t *testing.T) {
	f := &cluster{inc: 1}
	table := NewTable(Options{Logger: quiet()})
	table.SetCluster(f)
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 8 {
		readers.Go(func() {
			for !done.Load() {
				a := &client{}
				c, err := table.Open("", "x", a)
				if err != nil {
					t.Error(err)
					return
				}
				a.mu.Lock()
				a.conn = c
				a.mu.Unlock()
				for n := uint64(1); n < 50 && !a.isClosed(); n++ {
					c.Do(fsm.Op{Code: fsm.OpFence, Target: n}, n)
					c.Flush()
				}
				c.Closed()
			}
		})
	}
	for inc := fsm.Incarnation(1); inc <= 20; inc++ {
		f.mu.Lock()
		f.inc, f.queue = inc, nil
		f.mu.Unlock()
		table.Begin(inc)
		for range 100 {
			runtime.Gosched()
		}
		table.End(inc, errNoLeader)
	}
	done.Store(true)
	readers.Wait()
	if table.Live() != 0 || table.Count() != 0 {
		t.Fatalf("%d live, %d open", table.Live(), table.Count())
	}
}
