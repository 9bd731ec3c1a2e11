package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// BenchmarkTrio is BenchmarkPropose with three nodes in one process, on disk with
// sync and over TCP on loopback: callers at the leader, at one follower, and
// spread over all.
func BenchmarkTrio(b *testing.B) {
	for _, at := range []string{"leader", "follower", "all"} {
		for _, c := range []struct{ callers, burst int }{{1, 1}, {64, 1}, {64, 16}} {
			b.Run(fmt.Sprintf("%s/callers=%d/burst=%d", at, c.callers, c.burst), func(b *testing.B) {
				trioRun(b, at, c.callers, c.burst)
			})
		}
	}
}

// trioHost takes each reply once, whichever way it comes, and only its own.
type trioHost struct {
	*benchHost
	mu   sync.Mutex
	mine fsm.Incarnation
	seq  []uint64 // of each connection, the last one answered
}

func (h *trioHost) Begin(inc fsm.Incarnation) {
	h.mu.Lock()
	h.mine = inc
	h.mu.Unlock()
	h.benchHost.Begin(inc)
}

func (h *trioHost) Deliver(eff *fsm.Effects) { h.Fast(eff.Replies) }

func (h *trioHost) Fast(replies []fsm.Reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range replies {
		r := &replies[i]
		n := int(r.Conn.Number()) - 1
		if r.Conn.Incarnation() != h.mine || n >= len(h.seq) || r.Seq != h.seq[n]+1 {
			continue
		}
		h.seq[n]++
		if c := &h.callers[n]; c.left > 0 {
			if c.left--; c.left == 0 {
				c.done <- struct{}{}
			}
		}
	}
}

type benchMember struct {
	n   *Node
	h   *benchHost
	inc fsm.Incarnation
}

func trioRun(b *testing.B, at string, callers, burst int) {
	all := benchTrio(b, callers)
	var leader *benchMember
	eventually(b, "a node leads", func() bool {
		for _, m := range all {
			if m.n.proposer.leads.Load() {
				leader = m
			}
		}
		return leader != nil
	})
	var on []*benchMember
	for _, m := range all {
		if at == "all" || at == "leader" && m == leader || at == "follower" && m != leader && len(on) == 0 {
			on = append(on, m)
		}
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		m := on[i%len(on)]
		left := b.N / burst / callers
		wg.Go(func() { m.h.caller(m.n, i, burst, m.inc, func() bool { left--; return left >= 0 }) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func benchTrio(b *testing.B, callers int) []*benchMember {
	b.Helper()
	initial := map[string]string{}
	listeners := map[string]net.Listener{}
	for _, name := range []string{"n1", "n2", "n3"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		listeners[name], initial[name] = l, l.Addr().String()
	}
	var all []*benchMember
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, l := range listeners {
		wg.Go(func() {
			s, err := store.Open(store.Options{Dir: b.TempDir() + "/data", Logger: quiet()})
			if err != nil {
				b.Error(err)
				return
			}
			h := &benchHost{inc: make(chan fsm.Incarnation, 10), callers: make([]benchCaller, callers)}
			for i := range h.callers {
				h.callers[i].done = make(chan struct{}, 1)
			}
			n, err := Open(Options{
				NodeID: name, Storage: s, Host: &trioHost{benchHost: h, seq: make([]uint64, callers)}, Logger: quiet(), InitialCluster: initial, Peer: &peer.Options{Listener: l},
			})
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, &benchMember{n, h, <-h.inc})
			b.Cleanup(func() {
				if err := n.Close(context.Background()); err != nil {
					b.Error(err)
				}
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			})
		})
	}
	wg.Wait()
	return all
}
