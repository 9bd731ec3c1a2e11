package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// watch takes in at once what Raft tells of leaders and states, and tells the log
// and who waits for it.
func (n *Node) watch() {
	defer close(n.watched)
	var last seenLeader
	for {
		last = n.tellLeader(last)
		select {
		case <-n.observed:
		case <-n.quit:
			return
		}
		select {
		case n.leadership.kick <- struct{}{}:
		default:
		}
		if n.port != nil {
			n.port.fwd.look()
		}
	}
}

// seenLeader is who leads, as the log was told.
type seenLeader struct {
	id   raft.ServerID
	term uint64
	gone time.Time // since when nobody is known to lead
}

// tellLeader logs a change of leader, and wakes who waits for one.
func (n *Node) tellLeader(last seenLeader) seenLeader {
	_, id := n.raft.LeaderWithID()
	now := seenLeader{id: id, term: n.raft.CurrentTerm(), gone: last.gone}
	if now.id == last.id && (now.term == last.term || id == "") {
		return last
	}
	n.leaderMu.Lock()
	close(n.leaderMoved)
	n.leaderMoved = make(chan struct{})
	n.leaderMu.Unlock()
	switch {
	case id == "":
		now.gone = n.opts.Clock.Now()
		n.log.Warn("no leader is known", "before", last.id, "term", now.term, "why", n.whyNone(last))
	case string(id) == n.opts.NodeID: // it says so when it has taken office
		now.gone = time.Time{}
	case last.gone.IsZero():
		n.log.Info("a node leads the cluster", "leader", id, "term", now.term)
	default:
		n.log.Info("a node leads the cluster", "leader", id, "term", now.term, "without", n.opts.Clock.Now().Sub(last.gone).Round(time.Millisecond))
		now.gone = time.Time{}
	}
	return now
}

// whyNone says why this node knows of no leader any more.
func (n *Node) whyNone(last seenLeader) string {
	switch state := n.raft.State(); {
	case state == raft.Shutdown:
		return "this node stops"
	case string(last.id) == n.opts.NodeID:
		return "this node leads no more"
	case n.raft.CurrentTerm() > last.term:
		return "another election has begun"
	}
	return "it has not been heard of for " + n.opts.ElectionTimeout.String()
}

// Leader returns the node that leads, as far as this one knows; false: none. It is
// cheap. What the leader itself says of where it stands is in Members.
func (n *Node) Leader() (Member, bool) {
	addr, id := n.raft.LeaderWithID()
	if id == "" {
		return Member{}, false
	}
	m := Member{ID: string(id), Addr: string(addr), Voter: true, Leader: true, Self: string(id) == n.opts.NodeID, LastContact: -1}
	m.Connected = m.Self || n.port != nil && n.port.mesh.link(m.ID) != nil
	n.applier.view(func() { n.known(&m) })
	return m, true
}

// LeaderChanged returns a channel that is closed when another node leads, or none
// does any more, than at the time of the call.
func (n *Node) LeaderChanged() <-chan struct{} {
	n.leaderMu.Lock()
	defer n.leaderMu.Unlock()
	return n.leaderMoved
}

// known fills in what the state says of a member. The machine stands still.
func (n *Node) known(m *Member) {
	if x, ok := n.applier.machine.Node(m.ID); ok {
		m.Announce, m.Incarnation, m.Alive, m.Connections = x.Announce, x.Incarnation, x.Alive, x.Connections
	}
}
