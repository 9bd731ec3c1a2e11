package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

// network connects the nodes of one world. Every write is a segment that arrives
// after a delay of its own, in order. A way between two nodes can be cut in either
// direction: what is sent over it waits, as with TCP when packets are dropped. A
// lost segment is one that TCP gave up on: nothing arrives any more, and after a
// while both sides see a reset.
type network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	listeners map[string]*peertest.Listener
	ways      map[way]*wayState
	pipes     map[*pipe]struct{}
	turning   sync.Mutex    // keeps changes of ways in order
	changed   chan struct{} // closed and made anew at each change of a way
	lost      atomic.Int64  // segments
}

// way is a direction between two addresses.
type way struct{ from, to string }

// wayState is how a way is now. It is open when all that cut it have healed it.
type wayState struct {
	cuts   int
	opened time.Time // what was held arrives from then on
	delay  time.Duration
	jitter time.Duration
	loss   float64 // of segments
}

func newNetwork(rng *rand.Rand) *network {
	return &network{
		rng: rng, listeners: map[string]*peertest.Listener{}, ways: map[way]*wayState{}, pipes: map[*pipe]struct{}{},
		changed: make(chan struct{}),
	}
}

// state returns the state of a way; mu is held.
func (n *network) state(w way) *wayState {
	s := n.ways[w]
	if s == nil {
		s = &wayState{delay: 200*time.Microsecond + time.Duration(n.rng.Int64N(int64(time.Millisecond))), jitter: 300 * time.Microsecond}
		n.ways[w] = s
	}
	return s
}

// set changes a way and tells those who use it.
func (n *network) set(w way, change func(*wayState)) {
	n.turning.Lock()
	defer n.turning.Unlock()
	n.mu.Lock()
	s := n.state(w)
	change(s)
	cut, opened := s.cuts > 0, s.opened
	var on []*pipe
	for p := range n.pipes {
		if p.way == w {
			on = append(on, p)
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	for _, p := range on {
		p.change(func(p *pipe) { p.cut, p.opened = cut, opened })
	}
}

// cut stops what goes from one address to another.
func (n *network) cut(from, to string) { n.set(way{from, to}, func(s *wayState) { s.cuts++ }) }

// heal undoes cut. What was held arrives a little later, as TCP sends it again.
func (n *network) heal(from, to string) {
	n.set(way{from, to}, func(s *wayState) {
		if s.cuts--; s.cuts == 0 {
			s.opened = time.Now().Add(time.Duration(n.rng.Int64N(int64(300 * time.Millisecond))))
		}
	})
}

// slow makes a way slow and lossy, or with zeros as it was.
func (n *network) slow(w way, delay, jitter time.Duration, loss float64) {
	n.set(w, func(s *wayState) { s.delay, s.jitter, s.loss = delay, jitter, loss })
}

// fly draws when a segment sent now arrives, or that it is lost.
func (n *network) fly(w way) (after time.Duration, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.state(w)
	if s.loss > 0 && n.rng.Float64() < s.loss {
		n.lost.Add(1)
		return 200*time.Millisecond + time.Duration(n.rng.Int64N(int64(time.Second))), true
	}
	after = s.delay
	if s.jitter > 0 {
		after += time.Duration(n.rng.Int64N(int64(s.jitter)))
	}
	return after, false
}

// kill takes everything away that an address has. Loud: the other sides see a reset,
// as when a process ends. Silent: they see nothing before the address listens again,
// as when a machine loses its power.
func (n *network) kill(addr string, loud bool) {
	n.mu.Lock()
	if l := n.listeners[addr]; l != nil {
		delete(n.listeners, addr)
		defer l.Close()
	}
	var mine []*pipe
	for p := range n.pipes {
		if p.way.from == addr || p.way.to == addr {
			mine = append(mine, p)
		}
	}
	n.mu.Unlock()
	n.mu.Lock()
	late := n.rng.IntN(2) == 0
	n.mu.Unlock()
	for _, p := range mine {
		switch {
		case p.way.to == addr:
			// What the dead one would have read is gone at once; who wrote it hears
			// of that only if the end was loud, or later, by a reset.
			p.die(loud)
		case late:
			// What it had sent arrives all the same, however late that is.
			p.lastWords(loud)
		case loud:
			p.die(true)
		default:
			p.stall()
		}
	}
}

// reset breaks all connections between two addresses.
func (n *network) reset(a, b string) {
	n.mu.Lock()
	var between []*pipe
	for p := range n.pipes {
		if p.way == (way{a, b}) || p.way == (way{b, a}) {
			between = append(between, p)
		}
	}
	n.mu.Unlock()
	for _, p := range between {
		p.die(true)
	}
}

// listen opens an address; connections of whoever was there before are reset.
func (n *network) listen(addr string) (*peertest.Listener, error) {
	n.mu.Lock()
	if n.listeners[addr] != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	var l *peertest.Listener
	l = peertest.NewListener(peertest.Addr(addr), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.listeners[addr] == l { // after kill it may be the successor's
			delete(n.listeners, addr)
		}
	})
	n.listeners[addr] = l
	var old []*pipe
	for p := range n.pipes {
		if p.way.from == addr || p.way.to == addr {
			old = append(old, p)
		}
	}
	n.mu.Unlock()
	for _, p := range old {
		if !p.speaksLast() {
			p.die(true)
		}
	}
	return l, nil
}

// dialer returns what dials from an address, for as long as alive says so.
func (n *network) dialer(from string, alive func() bool) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		fail := func(err error) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "mem", Addr: peertest.Addr(to), Err: err}
		}
		if err := n.knock(ctx, from, to); err != nil {
			return fail(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		l := n.listeners[to]
		if l == nil || !alive() {
			return fail(syscall.ECONNREFUSED)
		}
		out, back := n.pipe(way{from, to}), n.pipe(way{to, from})
		if !l.Offer(&conn{in: out, out: back, local: peertest.Addr(to), remote: peertest.Addr(from)}) {
			return fail(syscall.ECONNREFUSED)
		}
		n.pipes[out], n.pipes[back] = struct{}{}, struct{}{}
		return &conn{in: back, out: out, local: peertest.Addr(from), remote: peertest.Addr(to)}, nil
	}
}

// knock waits until both ways are open, and for the time of a handshake.
func (n *network) knock(ctx context.Context, from, to string) error {
	for {
		n.mu.Lock()
		out, back := n.state(way{from, to}), n.state(way{to, from})
		changed, open, wait := n.changed, out.cuts == 0 && back.cuts == 0, out.delay+back.delay
		n.mu.Unlock()
		if open {
			t := time.NewTimer(wait)
			defer t.Stop()
			select {
			case <-t.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
