package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
)

// seek joins by way of the nodes given, until one has taken this node in; and
// while this node does not vote, it asks for its vote.
func (n *Node) seek(ctx context.Context) {
	defer close(n.sought)
	ticker := time.NewTicker(promoteEvery)
	defer ticker.Stop()
	for {
		n.seekOnce(ctx)
		select {
		case <-ticker.C:
		case <-n.quit:
			return
		}
	}
}

func (n *Node) seekOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, membershipLimit)
	defer cancel()
	if n.ClusterID() == "" {
		for _, addr := range n.opts.Join {
			err := n.joinBy(ctx, addr)
			if err == nil {
				return
			}
			n.log.Warn("joining has not succeeded yet", "by", addr, "error", err)
		}
		return
	}
	if n.port.doubtful() {
		n.belong(ctx)
		return
	}
	servers, err := n.servers()
	if err != nil {
		return
	}
	if n.moved(servers) && n.raft.State() == raft.Leader {
		n.moveTo(raft.ServerAddress(n.port.net.Addr()))
		return
	}
	for _, s := range servers {
		if string(s.ID) == n.opts.NodeID && s.Suffrage != raft.Voter {
			if _, err := n.lead(ctx, askPromote, ask{Node: n.opts.NodeID, Applied: n.applier.index.Load()}); err != nil {
				n.log.Debug("this node could not ask for its vote; trying again", "error", err)
			}
		}
	}
}

// moved reports whether the cluster is this node alone and knows it at another address:
// it was founded without a port for peers, or restored with another one.
func (n *Node) moved(servers []raft.Server) bool {
	return len(servers) == 1 && string(servers[0].ID) == n.opts.NodeID && string(servers[0].Address) != n.port.net.Addr()
}

// moveTo has those who join a cluster of one told where it is now. Were they not, only
// this node could ever lead: the others would not find it.
func (n *Node) moveTo(addr raft.ServerAddress) {
	err := n.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
		if !n.moved(servers) {
			return nil, nil
		}
		return n.raft.AddVoter(servers[0].ID, addr, index, membershipLimit), nil
	})
	if err != nil {
		n.log.Warn("the address at which others reach this node could not be changed; trying again", "to", addr, "error", err)
		return
	}
	n.log.Info("others reach this node at another address from now on", "address", addr)
}

// belong asks the others whether this node is a member still: the leader does not
// talk to one that it has removed. A node that has not had an entry yet knows of no
// member, but of those that it joined by.
func (n *Node) belong(ctx context.Context) {
	asked := false
	n.port.mesh.each(func(id string, l *peer.Link) {
		asked = true
		n.belongBy(ctx, id, l)
	})
	if asked {
		return
	}
	for _, addr := range n.opts.Join {
		l, err := n.port.mesh.open(ctx, "", addr)
		if err != nil {
			continue
		}
		n.belongBy(ctx, l.Peer().Node, l)
		l.Close()
	}
}

func (n *Node) belongBy(ctx context.Context, id string, l *peer.Link) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	b, err := l.Request(ctx, askBelong, []byte("{}"))
	var a ask
	if err == nil && json.Unmarshal(b, &a) == nil && a.Removed {
		n.removed(fmt.Errorf("%w (said by %q)", ErrRemoved, id))
	}
}

func (n *Node) joinBy(ctx context.Context, addr string) error {
	l, err := n.port.mesh.open(ctx, "", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	b, err := json.Marshal(ask{Node: n.opts.NodeID, Addr: n.port.net.Addr(), Disk: n.identity.disk})
	if err != nil {
		return err
	}
	if b, err = l.Request(ctx, askJoin, b); err != nil {
		return err
	}
	var a ask
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("the answer of the node at %s can not be read: %w", addr, err)
	}
	return n.adopt(a)
}
