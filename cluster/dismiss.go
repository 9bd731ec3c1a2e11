package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
)

// dismissLimit is how long a removed node may take to say that it has closed its
// clients' connections.
const dismissLimit = time.Second

// dismiss tells a node that it was removed. It reports whether the node has
// closed its clients' connections: only then nobody thinks any more to hold what
// others are given. A node that does not say so may be alive and cut off; its
// sessions end when nobody has vouched for it for session-timeout, as those of
// any node (tidy).
func (n *Node) dismiss(ctx context.Context, id string) (gone bool) {
	ctx, cancel := context.WithTimeout(ctx, dismissLimit)
	defer cancel()
	// By the link that the node forwards on: our own to it ends with its membership.
	for _, r := range n.applier.remotes.all() {
		if r.node != id {
			continue
		}
		if _, err := r.link.Request(ctx, askDismissed, []byte("{}")); err == nil {
			gone = true
		}
		_ = r.link.Send(frameRemoved, []byte("CLUSTER FORGET")) // it asks, else (belong)
	}
	return gone
}

// dismissed closes the clients' connections of this node, which was removed.
func (n *Node) dismissed(reason error) {
	n.agent.mu.Lock()
	inc := n.agent.inc
	n.agent.mu.Unlock()
	n.agent.end(inc, reason)
}

// farewell tells the leader that this node, which was removed, has closed its
// clients' connections. The node may have learned of its removal before the leader
// could tell it (dismiss), and its links end with that: without a word its locks
// would wait for session-timeout.
func (n *Node) farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), dismissLimit)
	defer cancel()
	told := false
	n.port.mesh.each(func(id string, l *peer.Link) {
		if told {
			return
		}
		_, err := l.Request(ctx, askLeft, []byte("{}"))
		if told = err == nil; !told {
			n.log.Debug("a member does not take the word that this node has closed its connections", "member", id, "error", err)
		}
	})
}

// departed ends what a removed node has left in the state; its connections are closed.
func (n *Node) departed(id string) error {
	if n.port.knows(id) {
		return fmt.Errorf("ERR node %q is a member of the cluster", id)
	}
	n.errands.add(fsm.AppendRemove(nil, id))
	n.proposer.look()
	return nil
}

// occupied reports whether a node has connections in the state that live.
func occupied(x *fsm.NodeInfo) bool { return x.Alive && x.Connections > 0 }

// dismissing keeps a node from being cleared away while it is told of its removal,
// until the returned function is called.
func (p *port) dismissing(id string) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving[id]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.leaving[id]--; p.leaving[id] == 0 {
			delete(p.leaving, id)
		}
	}
}

// dismissed reports whether a node is being told of its removal.
func (p *port) dismissed(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaving[id] > 0
}
