package cluster

import (
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
)

// hello is what this node says of itself.
func (p *port) hello() peer.Hello {
	id := p.n.ClusterID()
	return peer.Hello{Cluster: id, Disk: p.n.identity.disk}
}

// check says who may connect: a node is known by its disk, for on another one it
// has lost its votes.
func (p *port) check(h peer.Hello) error {
	if id := p.n.ClusterID(); h.Stream == peer.StreamRaft && h.Dialed == "" && (id == "" || id != h.Cluster) {
		// Two clusters may have taken it in, by two MEETs: their logs would become one here.
		return &peer.Refusal{Code: peer.CodeBusy, Text: fmt.Sprintf("node %q does not know yet which cluster has taken it in", p.n.opts.NodeID)}
	}
	var known fsm.NodeInfo
	p.n.applier.view(func() { known, _ = p.n.applier.machine.Node(h.Node) })
	if known.Disk != "" && h.Disk != known.Disk {
		return &peer.Refusal{Code: "DISK", Text: fmt.Sprintf("node %q is known with another data directory; a node that lost its data is removed (CLUSTER FORGET %s) and joins anew", h.Node, h.Node)}
	}
	if err := p.expected(h); err != nil {
		return err
	}
	p.compare(h)
	return nil
}

// expected refuses Raft's connection to a member where another node answers, for one
// that has got its address. Raft does not ask who answers: it would count that node's
// votes, and its copies of an entry, twice.
func (p *port) expected(h peer.Hello) error {
	r := p.n.running.Load()
	if h.Stream != peer.StreamRaft || h.Dialed == "" || r == nil {
		return nil
	}
	f := r.GetConfiguration()
	if err := f.Error(); err != nil {
		return err //nolint:wrapcheck // it has none
	}
	for _, s := range f.Configuration().Servers {
		if string(s.Address) == h.Dialed && string(s.ID) != h.Node {
			return &peer.Refusal{Code: "NODE", Text: fmt.Sprintf("the member at %s is %q, but node %q answers there: start each node with the address that the cluster has for it, or remove it and let it join anew", h.Dialed, s.ID, h.Node)}
		}
	}
	return nil
}

// compare warns of a node that calls itself by another address than the one at
// which the members look for it. It may be reached all the same, by way of a proxy
// or under another name, so that is no reason to refuse it.
func (p *port) compare(h peer.Hello) {
	p.mu.Lock()
	i := slices.IndexFunc(p.servers, func(s raft.Server) bool { return string(s.ID) == h.Node })
	if i < 0 || h.Addr == "" || string(p.servers[i].Address) == h.Addr || p.elsewhere[h.Node] == h.Addr {
		p.mu.Unlock()
		return
	}
	known := p.servers[i].Address
	p.elsewhere[h.Node] = h.Addr
	p.mu.Unlock()
	p.n.log.Warn("a member says that it is reached at another address than the cluster has for it; if others can not reach it, start it with that address (--peer-advertise), or remove it and let it join anew",
		"member", h.Node, "known", known, "says", h.Addr)
}

// refused notes what another node has against us.
func (p *port) refused(addr string, r *peer.Refusal) {
	if r.Code == peer.CodeBusy {
		return
	}
	p.mu.Lock()
	p.refusal = fmt.Errorf("the node at %s refused this one: %w", addr, r)
	p.mu.Unlock()
}

// lastRefusal returns the newest refusal, nil if there was none.
func (p *port) lastRefusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}
