package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
)

// newsEvery is how often a node tells the others where it stands, at least, and
// newsSoonest how often while that moves.
const (
	newsEvery   = time.Second
	newsSoonest = 100 * time.Millisecond
)

// port is the node's side of the peer network: who may connect, what frames
// mean, and what is known of the other members.
type port struct {
	n    *Node
	net  *peer.Network
	mesh *mesh
	fwd  *forwarder
	// trans is Raft's.
	trans *transport
	quit  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	servers []raft.Server // the newest committed configuration
	outside bool          // this node is not in it
	told    bool          // Raft has told of one
	news    map[string]heard
	refusal error // the newest refusal by another node
	// leaving are members that are being removed, and told of it.
	leaving map[string]int
	// elsewhere are the addresses that members gave and that were warned of.
	elsewhere map[string]string
}

// news is where a node stands, as it tells the others.
type news struct {
	Role    string `json:"role"`
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Last    uint64 `json:"last"`
}

type heard struct {
	news
	at time.Time
}

var _ peer.Handler = (*port)(nil)

// newPort opens the node's way to its peers; nobody is accepted before serve.
func newPort(n *Node) (*port, error) {
	p := &port{n: n, quit: make(chan struct{}), done: make(chan struct{}), news: map[string]heard{}, elsewhere: map[string]string{}, leaving: map[string]int{}}
	o := *n.opts.Peer
	o.NodeID, o.Advertise = n.opts.NodeID, n.opts.PeerAddr
	o.Hello, o.Check, o.Refused = p.hello, p.check, p.refused
	setDefault(&o.MaxFrame, maxFrame)
	if o.Logger == nil {
		o.Logger = n.log
	}
	var err error
	if p.net, err = peer.New(o); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	p.mesh = newMesh(p.net, n.log, func(string) { p.fwd.look() })
	p.fwd = newForwarder(n.agent, n.log, n.opts.EntryBytes, p.way)
	p.trans = &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: p.net.StreamLayer(), MaxPool: 3, Timeout: rpcTimeout,
			Logger: newRaftLog(n.log, n.raftQuiet.Load),
		}),
		up: p.mesh.up, leads: n.leadsIn, running: n.running.Load, quit: n.held,
	}
	return p, nil
}

// maxFrame is how big a frame between nodes may be: two full batches that are sent again,
// and a keepalive that speaks for a million HEARTBEAT sessions (max-clients' limit). One
// that did not fit would never arrive, and the node's incarnation would end by silence.
const maxFrame = 12 << 20

// rpcTimeout is how long one of Raft's calls may take, snapshots excepted.
const rpcTimeout = 2 * time.Second

// start starts the goroutines; close ends them.
func (p *port) start() {
	go p.fwd.run()
	go p.run()
}

// serve accepts peers.
func (p *port) serve() error {
	if err := p.net.Serve(p); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// run tells the others where this node stands.
func (p *port) run() {
	defer close(p.done)
	ticker := time.NewTicker(newsSoonest)
	defer ticker.Stop()
	var told news
	var at time.Time
	for {
		select {
		case <-ticker.C:
		case <-p.quit:
			return
		}
		s := p.n.Status()
		is := news{Role: s.Role, Term: s.Term, Commit: s.Commit, Applied: s.Applied, Last: s.LogLast}
		if is == told && time.Since(at) < newsEvery {
			continue
		}
		told, at = is, time.Now()
		b, err := json.Marshal(is)
		if err != nil {
			continue // a struct of numbers and a word can be encoded
		}
		p.mesh.each(func(_ string, l *peer.Link) { _ = l.Send(frameNews, b) })
	}
}

// hangUp breaks Raft's connections.
func (p *port) hangUp() {
	if err := p.trans.Close(); err != nil {
		p.n.log.Debug("closing Raft's connections", "error", err)
	}
}

// close ends everything but the forwarder, after Raft was shut down.
func (p *port) close() error {
	close(p.quit)
	<-p.done
	p.mesh.close()
	terr := p.trans.Close()
	return errors.Join(terr, p.net.Close())
}

// discard ends a port that never served.
func (p *port) discard() error { return errors.Join(p.trans.Close(), p.net.Close()) }

// way returns the link to the leader, if that is another node.
func (p *port) way() *peer.Link {
	_, id := p.n.raft.LeaderWithID()
	if id == "" || string(id) == p.n.opts.NodeID {
		return nil
	}
	return p.mesh.link(string(id))
}

// configure takes in a committed configuration.
func (p *port) configure(servers []raft.Server) { p.reach(servers, false) }

// reach makes these the members that are known, and reached. Those that a start begins
// with count only until Raft has told of others, which it may do at any time.
func (p *port) reach(servers []raft.Server, first bool) {
	members := map[string]string{}
	self := false
	for _, s := range servers {
		if string(s.ID) == p.n.opts.NodeID {
			self = true
			continue
		}
		members[string(s.ID)] = string(s.Address)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first && p.told {
		return
	}
	p.told = !first
	p.outside = !self && len(servers) > 0
	p.servers = slices.Clone(servers)
	p.mesh.want(members)
}

// doubtful reports whether this node may have been removed: it sees no leader, or
// a configuration without itself. That may be an old one (a node that was removed
// and joins anew gets the log with both); the leader knows.
func (p *port) doubtful() bool {
	addr, _ := p.n.raft.LeaderWithID()
	p.mu.Lock()
	defer p.mu.Unlock()
	return addr == "" || p.outside
}

// isMember reports whether a node is in the newest configuration that Raft knows.
func (p *port) isMember(id string) bool {
	f := p.n.raft.GetConfiguration()
	if f.Error() != nil {
		return true // not known: the link is not the place to judge
	}
	return slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool { return string(s.ID) == id })
}

// Opened makes a link that came to us a source for the proposer.
func (p *port) Opened(l *peer.Link, from peer.Hello) {
	if from.Dialed != "" {
		return
	}
	p.mesh.near(from.Node)
	r := &remote{node: from.Node, link: l, clock: p.n.opts.Clock, log: p.n.log}
	l.Attach(r)
	p.n.applier.remotes.add(r)
	p.n.proposer.add(r)
}

// Closed takes it away.
func (p *port) Closed(l *peer.Link, _ error) {
	if r, ok := l.Attached().(*remote); ok {
		p.n.proposer.remove(r)
		p.n.applier.remotes.remove(r)
	}
	p.fwd.look()
}

// Frame takes a frame from a link.
func (p *port) Frame(l *peer.Link, typ byte, payload []byte) {
	switch typ {
	case frameForward:
		p.forwarded(l, payload)
	case frameFast:
		p.fast(l, payload)
	case frameFailed:
		if len(payload) > 0 {
			p.n.agent.failed(&ProposeError{Outcome: Outcome(payload[0]), Sentence: "the leader: " + string(payload[1:]), Err: errNotLeader})
		}
	case frameRemoved:
		go p.n.removed(fmt.Errorf("%w (said by %q: %s)", ErrRemoved, l.Peer().Node, payload))
	case frameDiverged:
		go p.n.diverged(fmt.Errorf("%w (said by %q)", ErrDiverged, l.Peer().Node))
	case frameNews:
		h := heard{at: p.n.opts.Clock.Now()}
		if json.Unmarshal(payload, &h.news) == nil {
			p.mu.Lock()
			p.news[l.Peer().Node] = h
			p.mu.Unlock()
		}
	default:
		p.n.log.Warn("a frame of an unknown type; is another node newer than this one?", "type", typ, "node", l.Peer().Node)
	}
}

// forwarded takes what another node wants in the log.
func (p *port) forwarded(l *peer.Link, payload []byte) {
	r, ok := l.Attached().(*remote)
	if !ok {
		l.Close() // nobody forwards on a link that we dialed
		return
	}
	if !p.n.proposer.leads.Load() && p.n.raft.State() != raft.Leader {
		r.failed(&ProposeError{Outcome: NotProposed, Sentence: "not the leader", Err: errNotLeader})
		return
	}
	if !p.knows(r.node) {
		_ = l.Send(frameRemoved, []byte("it is not in the configuration"))
		return
	}
	if err := r.take(payload); err != nil {
		p.n.log.Error("what another node forwarded is refused; please report this", "node", r.node, "error", err)
		l.Close()
		return
	}
	p.n.proposer.wake()
}

// knows reports whether a node is a member, from the committed configuration
// if that has it; a node that has just been added is looked up at Raft.
func (p *port) knows(id string) bool {
	p.mu.Lock()
	known := slices.ContainsFunc(p.servers, func(s raft.Server) bool { return string(s.ID) == id })
	p.mu.Unlock()
	return known || p.isMember(id)
}

// fast takes the leader's fast answers.
func (p *port) fast(l *peer.Link, payload []byte) {
	timeout, n := binary.Uvarint(payload)
	left, k := binary.Uvarint(payload[max(n, 0):])
	if n <= 0 || k <= 0 {
		p.n.log.Error("a fast answer has no session-timeout; please report this", "node", l.Peer().Node)
		return
	}
	var replies []fsm.Reply
	for payload = payload[n+k:]; len(payload) > 0; {
		r, rest, err := fsm.DecodeReply(payload)
		if err != nil {
			p.n.log.Error("a fast answer can not be read; please report this", "node", l.Peer().Node, "error", err)
			return
		}
		replies, payload = append(replies, r), rest
	}
	p.n.agent.shorten(time.Duration(timeout) * time.Millisecond)
	p.n.agent.fast(replies, time.Duration(left)*time.Millisecond)
}

// Request answers what another node asks.
func (p *port) Request(ctx context.Context, l *peer.Link, kind byte, payload []byte) ([]byte, error) {
	return p.n.asked(ctx, l.Peer(), kind, payload)
}
