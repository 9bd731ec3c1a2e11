// Package peertest has a network in memory for tests of what is built on package
// peer, in a testing/synctest bubble or out of one. Connections have buffers as TCP has; ways
// between two nodes can be cut, each direction by itself, and slowed down. A cut way loses
// nothing: bytes, dials and closes wait until it is healed, as they do with TCP
// when packets are dropped.
package peertest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Net is a network. Nodes are named by the address at which they listen.
type Net struct {
	mu        sync.Mutex
	listeners map[string]*Listener
	ways      map[way]*state
	halves    map[*half]struct{}
	changed   chan struct{} // closed and made anew at each change
}

type way struct{ from, to string }

type state struct {
	cut   bool
	delay time.Duration
}

// New returns a network on which all reach all.
func New() *Net {
	return &Net{listeners: map[string]*Listener{}, ways: map[way]*state{}, halves: map[*half]struct{}{}, changed: make(chan struct{})}
}

// Listen opens the address.
func (n *Net) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := NewListener(Addr(addr), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, addr)
	})
	n.listeners[addr] = l
	return l, nil
}

// Dialer returns what peer.Options.Dial wants, for the node that listens on from.
func (n *Net) Dialer(from string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, from, addr) }
}

// Cut stops what goes from one node to another; the way back stays open.
func (n *Net) Cut(from, to string) { n.set(from, to, func(s *state) { s.cut = true }) }

// Heal undoes Cut: what was held arrives now.
func (n *Net) Heal(from, to string) { n.set(from, to, func(s *state) { s.cut = false }) }

// Delay makes what one node sends to another arrive d later; it does not touch what is under way.
func (n *Net) Delay(from, to string, d time.Duration) {
	n.set(from, to, func(s *state) { s.delay = d })
}

// Isolate cuts a node off from the others, in both directions; Rejoin heals that.
func (n *Net) Isolate(node string, others ...string) {
	for _, o := range others {
		n.Cut(node, o)
		n.Cut(o, node)
	}
}

// Rejoin undoes Isolate.
func (n *Net) Rejoin(node string, others ...string) {
	for _, o := range others {
		n.Heal(node, o)
		n.Heal(o, node)
	}
}

// Break closes all connections between two nodes, as a reset in the middle does.
func (n *Net) Break(a, b string) {
	n.mu.Lock()
	var broken []*half
	for h := range n.halves {
		if h.way == (way{a, b}) || h.way == (way{b, a}) {
			broken = append(broken, h)
		}
	}
	n.mu.Unlock()
	for _, h := range broken {
		h.reset()
	}
}

func (n *Net) set(from, to string, f func(*state)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.state(way{from, to}))
	for h := range n.halves {
		if h.way == (way{from, to}) {
			h.change(*n.state(h.way))
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Net) state(w way) *state {
	s := n.ways[w]
	if s == nil {
		s = &state{}
		n.ways[w] = s
	}
	return s
}

func (n *Net) dial(ctx context.Context, from, to string) (net.Conn, error) {
	var wait time.Duration
	for {
		n.mu.Lock()
		out, back := n.state(way{from, to}), n.state(way{to, from})
		changed := n.changed
		cut := out.cut || back.cut
		wait = out.delay + back.delay
		n.mu.Unlock()
		if !cut {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(to), Err: ctx.Err()}
		}
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(to), Err: ctx.Err()}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[to]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(to), Err: syscall.ECONNREFUSED}
	}
	out, back := newHalf(n, way{from, to}), newHalf(n, way{to, from})
	n.halves[out], n.halves[back] = struct{}{}, struct{}{}
	if !l.Offer(&conn{in: out, out: back, local: Addr(to), remote: Addr(from)}) {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(to), Err: syscall.ECONNREFUSED}
	}
	return &conn{in: back, out: out, local: Addr(from), remote: Addr(to)}, nil
}

// Listening lists the addresses that are open.
func (n *Net) Listening() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for a := range n.listeners {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}
