package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
)

// How long a link that could not be had is waited for before the next attempt,
// and how long one attempt may take.
const (
	dialSoonest = 20 * time.Millisecond
	dialLatest  = time.Second
	dialLimit   = 3 * time.Second
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
}

// line is the way to one member.
type line struct {
	addr   string
	cancel context.CancelFunc
	link   *peer.Link // nil: none now
}

func newMesh(net *peer.Network, log *slog.Logger, changed func(id string)) *mesh {
	m := &mesh{net: net, log: log, changed: changed, lines: map[string]*line{}}
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
		}
	}
	for id, addr := range members {
		if m.lines[id] != nil {
			continue
		}
		l := &line{addr: addr}
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(m.ctx)
		m.lines[id] = l
		m.wg.Go(func() { m.keep(ctx, id, l) })
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

// keep opens the link to a member, again and again.
func (m *mesh) keep(ctx context.Context, id string, l *line) {
	wait := dialSoonest
	for ctx.Err() == nil {
		link, err := m.open(ctx, id, l.addr)
		if err != nil {
			m.log.Debug("a member can not be reached; trying again", "member", id, "address", l.addr, "error", err)
			pause(ctx, wait)
			wait = min(2*wait, dialLatest)
			continue
		}
		wait = dialSoonest
		m.set(l, link)
		m.changed(id)
		select {
		case <-link.Closed():
			m.log.Debug("the link to a member has ended", "member", id, "error", link.Err())
		case <-ctx.Done():
			link.Close()
		}
		m.set(l, nil)
		pause(ctx, wait) // one that ends each link at once must not keep us busy
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (m *mesh) set(l *line, link *peer.Link) {
	m.mu.Lock()
	l.link = link
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
