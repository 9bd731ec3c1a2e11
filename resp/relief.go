package resp

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// relief keeps what all clients leave unread within Limits.OutputTotal. Only the output of connections whose client
// does not take it at once counts, those that a drain goroutine writes to: what a flush takes whole costs nothing here.
type relief struct {
	again atomic.Bool // somebody has to look, since there was more than the limit
	mu    sync.Mutex  // held by who looks
	log   logGate
}

// over reports whether there is too much.
func (s *Server) over() bool { return s.stats.Unread.Load() > s.limits.OutputTotal.Load() }

// relieve closes the clients that leave most unread until the rest is within the limit. It never waits for another one
// that does so: that one looks again.
func (s *Server) relieve() {
	r := &s.relief
	r.again.Store(true)
	for r.again.Load() && r.mu.TryLock() {
		for r.again.Swap(false) {
			s.evict()
		}
		r.mu.Unlock()
	}
}

// evict is relieve's one look. The caller holds relief.mu.
func (s *Server) evict() {
	type debtor struct {
		c     *Conn
		bytes int64
	}
	var all []debtor
	sum, limit := int64(0), s.limits.OutputTotal.Load()
	for _, c := range s.all() {
		// Who has been evicted gives back soon what it has.
		if n := c.pending.Load(); n > 0 && c.draining.Load() && !c.evicted {
			all = append(all, debtor{c, n})
			sum += n
		}
	}
	slices.SortFunc(all, func(a, b debtor) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, d := range all {
		if sum <= limit {
			return
		}
		d.c.evicted = true
		s.stats.Evicted.Add(1)
		if n, ok := s.relief.log.open(s.now()); ok {
			s.log.Warn("closed the client that leaves most replies unread: all clients together left more than max-total-output-size",
				"client", d.c.remote, "unread", d.bytes, "unread_by_all", sum, "limit", limit, "suppressed", n)
		}
		sum -= d.bytes
		d.c.kill(ErrTotalOutput)
	}
}
