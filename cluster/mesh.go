package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
)

// How long a link that could not be had is waited for before the next attempt,
// and how long one attempt may take.
// A link that does not last steadyAfter counts as one that could not be had.
const (
	dialSoonest = 20 * time.Millisecond
	dialLatest  = time.Second
	dialLimit   = 3 * time.Second
	steadyAfter = 2 * time.Second
)

// mesh keeps one link of ours to each other member, so that the way to a new
// leader is open before it is needed.
type mesh struct {
	net *peer.Network
	log *slog.Logger
	// changed is told whenever a link to a member is up.
	changed func(id string)

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	lines map[string]*line // by member
	// moved is closed, and made anew, when a link is up or down, or a member comes or goes.
	moved chan struct{}
}

// line is the way to one member.
type line struct {
	addr   string
	cancel context.CancelFunc
	link   *peer.Link    // nil: none now
	hurry  chan struct{} // capacity 1: it is there, try at once
}

// linkState says whether a node can be reached.
type linkState uint8

const (
	linkUnknown linkState = iota // it is no member
	linkDown
	linkUp
)

func newMesh(net *peer.Network, log *slog.Logger, changed func(id string)) *mesh {
	m := &mesh{net: net, log: log, changed: changed, lines: map[string]*line{}, moved: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// want makes the mesh reach these members, id to address, and no others.
func (m *mesh) want(members map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	for id, l := range m.lines {
		if members[id] != l.addr {
			l.cancel()
			delete(m.lines, id)
			m.tell()
		}
	}
	for id, addr := range members {
		if m.lines[id] != nil {
			continue
		}
		l := &line{addr: addr, hurry: make(chan struct{}, 1)}
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(m.ctx)
		m.lines[id] = l
		m.wg.Go(func() { m.keep(ctx, id, l) })
		m.tell()
	}
}

// tell wakes all who wait for a change. The caller holds mu.
func (m *mesh) tell() {
	close(m.moved)
	m.moved = make(chan struct{})
}

// up tells whether there is a link to a node, and what is closed at the next change.
func (m *mesh) up(id string) (linkState, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch l := m.lines[id]; {
	case l == nil:
		return linkUnknown, m.moved
	case l.link == nil:
		return linkDown, m.moved
	}
	return linkUp, m.moved
}

// near tells that a node has been heard of: who waits to try it again, tries now.
func (m *mesh) near(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lines[id]; l != nil && l.link == nil {
		select {
		case l.hurry <- struct{}{}:
		default:
		}
	}
}

// link returns the link to a member, nil if there is none now.
func (m *mesh) link(id string) *peer.Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lines[id]; l != nil {
		return l.link
	}
	return nil
}

// each shows all links that are up.
func (m *mesh) each(see func(id string, l *peer.Link)) {
	m.mu.Lock()
	links := make(map[string]*peer.Link, len(m.lines))
	for id, l := range m.lines {
		if l.link != nil {
			links[id] = l.link
		}
	}
	m.mu.Unlock()
	for id, l := range links {
		see(id, l)
	}
}

// keep opens the link to a member, again and again. One that ends each link at
// once is tried as rarely as one that can not be reached.
func (m *mesh) keep(ctx context.Context, id string, l *line) {
	wait := dialSoonest
	lost, told := time.Now(), false
	for ctx.Err() == nil {
		link, err := m.open(ctx, id, l.addr)
		if err != nil {
			if !told && time.Since(lost) >= dialLatest && ctx.Err() == nil {
				told = true
				m.log.Warn("a member can not be reached; trying again and again", "member", id, "address", l.addr, "error", err)
			}
			pause(ctx, jittered(wait), l.hurry)
			wait = min(2*wait, dialLatest)
			continue
		}
		if told {
			m.log.Info("a member can be reached again", "member", id, "after", time.Since(lost).Round(time.Millisecond))
		}
		began := time.Now()
		m.set(l, link)
		m.changed(id)
		select {
		case <-link.Closed():
			m.log.Info("the link to a member has ended", "member", id, "why", link.Err())
		case <-ctx.Done():
			link.Close()
		}
		m.set(l, nil)
		lost = time.Now()
		if told = false; lost.Sub(began) >= steadyAfter {
			wait = dialSoonest
		}
		pause(ctx, jittered(wait), nil)
		wait = min(2*wait, dialLatest)
	}
}

// jittered spreads the attempts of nodes that began together.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/4+1)
}

// pause waits before the next attempt, unless the member is heard of.
func pause(ctx context.Context, d time.Duration, hurry <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry:
	case <-ctx.Done():
	}
}

func (m *mesh) set(l *line, link *peer.Link) {
	m.mu.Lock()
	l.link = link
	m.tell()
	m.mu.Unlock()
}

// open opens a link and makes sure of who answers.
func (m *mesh) open(ctx context.Context, id, addr string) (*peer.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	link, err := m.net.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	if is := link.Peer().Node; id != "" && is != id {
		link.Close()
		return nil, fmt.Errorf("cluster: the node at %s is %q, not %q", addr, is, id)
	}
	return link, nil
}

// close ends all links and waits for their goroutines.
func (m *mesh) close() {
	m.stop()
	m.wg.Wait()
}
