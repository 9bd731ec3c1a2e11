package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// slowDisk makes each write of Raft's log and votes on one node take its time.
func (w *world) slowDisk(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	w.release(p.n) // other faults may come meanwhile
	rng := rand.New(rand.NewPCG(e.seed, 5))
	p.slow.Store(rng.Int64N(int64(pick(rng, 20*time.Millisecond, 100*time.Millisecond, w.conf.electionTimeout))) + 1)
	time.Sleep(e.lasts)
	p.slow.Store(0)
	return true
}

// newLeader returns who leads in a later term.
func (w *world) newLeader(after uint64) *process {
	for _, p := range w.running() {
		if c := p.cluster.Load(); c != nil && !p.dead.Load() {
			if s := c.Status(); s.Role == "leader" && s.Term > after {
				return p
			}
		}
	}
	return nil
}

// atElection takes the leader down, and does something to its successor while that
// takes office.
func (w *world) atElection(e event) bool {
	l := w.leader()
	if l == nil {
		return false
	}
	rng := rand.New(rand.NewPCG(e.seed, 6))
	term := l.cluster.Load().Status().Term
	first := e
	first.what, first.node = pick(rng, "crash", "exit", "freeze", "isolate", "mute", "hand over", "hand over"), slices.Index(w.nodes, l.n)
	first.lasts += 3 * w.conf.electionTimeout
	var both sync.WaitGroup
	both.Go(func() { w.do(first) })
	defer both.Wait()
	var next *process
	for limit := time.Now().Add(6 * w.conf.electionTimeout); next == nil; time.Sleep(4 * time.Millisecond) {
		if next = w.newLeader(term); time.Now().After(limit) {
			return false
		}
	}
	time.Sleep(time.Duration(rng.Int64N(int64(pick(rng, time.Microsecond, 4*time.Millisecond, 40*time.Millisecond)))))
	second := e
	second.what = pick(rng, "crash", "crash", "exit", "freeze", "isolate", "deaf", "mute", "disk stalls", "slow disk", "hand over")
	second.node, second.seed = slices.Index(w.nodes, next.n), rng.Uint64()
	w.do(second)
	return true
}

// several lets faults come together.
func (w *world) several(e event) bool {
	rng := rand.New(rand.NewPCG(e.seed, 7))
	var all sync.WaitGroup
	for range 2 + rng.IntN(3) {
		x := e
		x.what = pick(rng, "crash", "exit", "freeze", "disk stalls", "slow disk", "isolate", "one-way cut", "deaf", "mute", "reset", "slow", "hand over", "disk full")
		x.node, x.other = max(rng.IntN(2*w.conf.nodes)-w.conf.nodes, -1), rng.IntN(w.conf.nodes)
		x.percent, x.loud, x.flip, x.seed = pick(rng, 0, 30, 100), rng.IntN(2) == 0, rng.IntN(3) == 0, rng.Uint64()
		after := time.Duration(rng.Int64N(int64(100 * time.Millisecond)))
		all.Go(func() {
			time.Sleep(after)
			w.do(x)
		})
	}
	all.Wait()
	return true
}

// handOverAndDie asks a leader for a hand-over while its disk stalls, so that Raft's
// main loop does not take it up, and ends the process.
func (w *world) handOverAndDie(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	defer w.release(p.n)
	p.log.shut()
	time.Sleep(w.conf.electionTimeout / 4) // something is to be written
	w.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.cluster.Load().Failover(ctx, "") // the process dies of it
	})
	time.Sleep(w.conf.electionTimeout / 4)
	if p.kill(e.percent, e.loud) {
		w.stats.add("crash restarts", 1)
		time.Sleep(e.lasts)
		p.n.start(nil)
	}
	return true
}
