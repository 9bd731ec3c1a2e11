package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

const (
	// membershipLimit is how long Raft may take to accept a change.
	membershipLimit = 10 * time.Second
	// promoteEvery is how often a node that does not vote yet asks to.
	promoteEvery = 500 * time.Millisecond
	// promoteLag is how many entries it may be behind then.
	promoteLag = 256
	// aliveWithin is how recently a member must have been heard of to count as alive.
	aliveWithin = 3 * time.Second
)

var errNoMember = errors.New("it is not a member")

func (n *Node) servers() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("cluster: reading the configuration: %w", err)
	}
	return slices.Clone(f.Configuration().Servers), nil // Raft gives all who ask the same slice
}

func votersOf(servers []raft.Server) int {
	voters := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters
}

// answer waits for what Raft says, until this node stops: from then on Raft may never
// say it, and the link whose request waits here would hold the stop up for ever.
func (n *Node) answer(f raft.Future) error {
	said := make(chan error, 1)
	go func() { said <- f.Error() }()
	select {
	case err := <-said:
		return err
	case <-n.quit:
		return raft.ErrRaftShutdown
	}
}

// reconfigure has one change made of the members, as decide asks for it: by what the
// members were at index, and for these alone. Raft takes one change after the other,
// and what was decided while another one waited may be wrong behind it: a node that
// asks for its vote and is removed meanwhile would come back, with it. So where the
// members have changed, it is decided anew.
func (n *Node) reconfigure(decide func(servers []raft.Server, index uint64) (raft.IndexFuture, error)) error {
	for {
		conf, index := n.opts.Storage.Configuration()
		f, err := decide(conf.Servers, index)
		if err != nil || f == nil {
			return err
		}
		if err = n.answer(f); err == nil {
			return nil
		}
		// Raft knows of the newest members before our own loop does.
		if berr := n.answer(n.raft.Barrier(membershipLimit)); berr != nil {
			return err //nolint:wrapcheck // the caller says what it was about
		}
		if _, now := n.opts.Storage.Configuration(); now == index {
			return err //nolint:wrapcheck // the caller says what it was about
		}
	}
}

// notMade says that a change of the members failed, or that this is not known: its entry
// may be committed yet.
func notMade(what, node string, err error) error {
	if errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrRaftShutdown) {
		return fmt.Errorf("UNCERTAIN node %q %s, unless that is still to come (CLUSTER NODES tells): %w", node, what, err)
	}
	return fmt.Errorf("ERR node %q %s: %w", node, what, err)
}

// join takes a node in, without a vote at first.
func (n *Node) join(a ask) (ask, error) {
	var answer ask
	var refusal error
	there := false
	err := n.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
		if answer, there, refusal = n.admit(a, servers); refusal != nil || there {
			return nil, nil
		}
		return n.raft.AddNonvoter(raft.ServerID(a.Node), raft.ServerAddress(a.Addr), index, membershipLimit), nil
	})
	switch {
	case refusal != nil:
		return ask{}, refusal
	case err != nil:
		return ask{}, notMade("could not be taken in", a.Node, err)
	case !there:
		n.log.Info("a node joins; it votes once it has caught up", "node", a.Node, "address", a.Addr)
	}
	return answer, nil
}

// admit says what a node is told that joins, and whether it is a member already.
func (n *Node) admit(a ask, servers []raft.Server) (answer ask, there bool, err error) {
	var known fsm.NodeInfo
	n.applier.view(func() { known, _ = n.applier.machine.Node(a.Node) })
	answer = ask{Cluster: n.ClusterID(), Members: []member{{a.Node, a.Addr}}}
	for _, s := range servers {
		switch {
		case string(s.ID) == a.Node && known.Disk != "" && known.Disk != a.Disk:
			return ask{}, false, fmt.Errorf("ERR the name %q is taken by a member with another data directory; CLUSTER FORGET it first, or join under another --node-id", a.Node)
		case string(s.ID) == a.Node && string(s.Address) != a.Addr:
			return ask{}, false, fmt.Errorf("ERR the name %q is taken by the member at %s; join under another --node-id", a.Node, s.Address)
		case string(s.ID) == a.Node:
			there = true
			continue
		case string(s.Address) == a.Addr:
			return ask{}, false, fmt.Errorf("ERR the address %s belongs to member %q", a.Addr, s.ID)
		}
		answer.Members = append(answer.Members, member{string(s.ID), string(s.Address)})
	}
	return answer, there, nil
}

// promote gives a node that has caught up its vote.
func (n *Node) promote(a ask) error {
	voters := 0
	err := n.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
		voters = 0
		i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == a.Node })
		switch {
		case i < 0:
			return nil, errNoMember
		case servers[i].Suffrage == raft.Voter:
			return nil, nil
		case a.Applied+promoteLag < n.raft.CommitIndex():
			return nil, nil // it asks again
		}
		voters = 1 + votersOf(servers)
		return n.raft.AddVoter(servers[i].ID, servers[i].Address, index, membershipLimit), nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("ERR node %q could not be given a vote: %w", a.Node, err)
	case voters == 0:
		return nil
	}
	n.log.Info("a node has caught up and votes", "node", a.Node, "voters", voters)
	if voters%2 == 0 {
		n.log.Warn("an even number of nodes vote: that survives no more failures than one less would; add another node", "voters", voters)
	}
	return nil
}

// forget removes a node, unless those that remain could not decide anything.
func (n *Node) forget(ctx context.Context, id string) error {
	var refusal error
	done := n.port.dismissing(id)
	defer done()
	answering := n.answering(ctx, id)
	err := n.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
		if refusal = n.spare(id, servers, answering); refusal != nil {
			return nil, nil
		}
		return n.raft.RemoveServer(raft.ServerID(id), index, membershipLimit), nil
	})
	switch {
	case refusal != nil:
		return refusal
	case err != nil:
		return notMade("could not be removed", id, err)
	}
	n.log.Info("a node was removed", "node", id)
	gone := canary.ForgetsBlind || n.dismiss(ctx, id) // canary: its clients still think that they hold their locks
	if !gone {
		n.applier.view(func() {
			x, _ := n.applier.machine.Node(id)
			gone = !occupied(&x)
		})
	}
	if !gone {
		n.log.Warn("the removed node does not answer, and its clients may think that they hold their locks: their sessions end when session-timeout has passed", "node", id)
		return nil // tidy does the rest
	}
	n.errands.add(fsm.AppendRemove(nil, id))
	n.proposer.look()
	return nil
}

// spare says why a node can not be spared; nil: it can. answering are those that do.
func (n *Node) spare(id string, servers []raft.Server, answering map[string]bool) error {
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	switch {
	case i < 0:
		return fmt.Errorf("ERR there is no node %q in this cluster", id)
	case id == n.opts.NodeID && votersOf(servers) == 1:
		return fmt.Errorf("ERR node %q is the only one that votes: without it there is no cluster", id)
	case id == n.opts.NodeID:
		return fmt.Errorf("ERR node %q leads the cluster; hand over first (CLUSTER FAILOVER), then remove it", id)
	}
	if servers[i].Suffrage == raft.Voter {
		voters, alive := 0, 0
		for _, m := range n.Members() {
			if m.ID == id || !m.Voter {
				continue
			}
			voters++
			if m.Self || answering[m.ID] && m.Connected && m.LastContact < aliveWithin {
				alive++
			}
		}
		if alive*2 <= voters {
			return fmt.Errorf("ERR without node %q the cluster would lose its quorum: of the %d voters that remain only %d can be reached", id, voters, alive)
		}
		if voters%2 == 0 {
			n.log.Warn("an even number of nodes vote from now on: that survives no more failures than one less would", "voters", voters)
		}
	}
	return nil
}

// meet asks a waiting node to become a member.
func (n *Node) meet(ctx context.Context, addr string) error {
	l, err := n.port.mesh.open(ctx, "", addr)
	if err != nil {
		return fmt.Errorf("ERR the node at %s can not be reached: %v", addr, err) //nolint:errorlint // a timeout of its own: nothing was done
	}
	defer l.Close()
	h := l.Peer()
	answer, err := n.join(ask{Node: h.Node, Addr: h.Addr, Disk: h.Disk})
	if err != nil {
		return err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	if _, err := l.Request(ctx, askAdopt, b); err != nil {
		return fmt.Errorf("ERR node %q was taken in and does not answer; CLUSTER MEET it again: %w", h.Node, err)
	}
	return nil
}

// adopt makes this node one of a cluster that has taken it in.
func (n *Node) adopt(a ask) error {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	switch {
	case n.identity.cluster == a.Cluster:
	case n.identity.cluster != "":
		return fmt.Errorf("ERR node %q belongs to another cluster already", n.opts.NodeID)
	default:
		if err := n.opts.Storage.Stable().Set(keyCluster, []byte(a.Cluster)); err != nil {
			return fmt.Errorf("ERR the cluster's id could not be written: %w", err)
		}
		n.identity.cluster = a.Cluster
		n.log.Info("this node has joined a cluster", "cluster", a.Cluster)
	}
	return nil
}

// tidy makes the leader remove from the state what is not a member any more: the
// leader that removed it may have fallen before it could.
func (n *Node) tidy() {
	if n.port == nil || !n.proposer.leads.Load() {
		return
	}
	var gone []string
	n.applier.view(func() {
		for _, x := range n.applier.machine.Nodes() {
			if !occupied(&x) && (x.Alive || x.Disk != "") {
				gone = append(gone, x.Name)
			}
		}
	})
	gone = slices.DeleteFunc(gone, func(id string) bool { return n.port.knows(id) || n.port.dismissed(id) })
	for _, id := range gone {
		n.errands.add(fsm.AppendRemove(nil, id))
	}
	if len(gone) > 0 {
		n.proposer.look()
	}
}
