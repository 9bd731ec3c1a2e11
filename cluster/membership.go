package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// The kinds of requests between nodes. Append, never renumber.
const (
	askJoin = 1 + iota
	askPromote
	askForget
	askFailover
	askMeet
	askAdopt
	askStatus
	askBelong
	// askDismissed: the node was removed, and answers once its clients' connections are closed.
	askDismissed
	// askLeft: the node was removed and has closed its clients' connections.
	askLeft
)

// ask is what a request carries; which fields count depends on its kind.
type ask struct {
	Node    string   `json:"node,omitempty"`
	Addr    string   `json:"addr,omitempty"`
	Disk    string   `json:"disk,omitempty"`
	Cluster string   `json:"cluster,omitempty"`
	Applied uint64   `json:"applied,omitempty"`
	Members []member `json:"members,omitempty"`
	// Removed: the leader has no such member.
	Removed bool `json:"removed,omitempty"`
	// Passed: a node has passed it on to whom it took for the leader.
	Passed bool `json:"passed,omitempty"`
}

type member struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

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

// Member is one node of the configuration as this node sees it.
type Member struct {
	ID, Addr string
	Voter    bool
	Leader   bool
	Self     bool
	// Connected says that there is a link to it (true for Self).
	Connected bool
	// Role, Term, Commit, Applied and LogLast are what it said last.
	Role                           string
	Term, Commit, Applied, LogLast uint64
	// LastContact is how long ago it was heard of, -1: never.
	LastContact time.Duration
	// Announce is what it wants clients to know; empty: it has not registered.
	Announce string
	// Incarnation is its newest, Alive says that it has not ended.
	Incarnation fsm.Incarnation
	Alive       bool
	Connections int
}

// Members returns the nodes of the configuration, by id.
func (n *Node) Members() []Member {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	_, leader := n.raft.LeaderWithID()
	now := n.opts.Clock.Now()
	var all []Member
	for _, s := range f.Configuration().Servers {
		m := Member{ID: string(s.ID), Addr: string(s.Address), Voter: s.Suffrage == raft.Voter, Leader: s.ID == leader, LastContact: -1}
		if m.ID == n.opts.NodeID {
			st := n.Status()
			m.Self, m.Connected, m.LastContact = true, true, 0
			m.Role, m.Term, m.Commit, m.Applied, m.LogLast = st.Role, st.Term, st.Commit, st.Applied, st.LogLast
		} else if n.port != nil {
			n.port.tell(&m, now)
		}
		all = append(all, m)
	}
	n.applier.view(func() {
		for i := range all {
			n.known(&all[i])
		}
	})
	slices.SortFunc(all, func(a, b Member) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return all
}

// tell fills in what a member said last.
func (p *port) tell(m *Member, now time.Time) {
	m.Connected = p.mesh.link(m.ID) != nil
	p.mu.Lock()
	h, ok := p.news[m.ID]
	p.mu.Unlock()
	if ok {
		m.Role, m.Term, m.Commit, m.Applied, m.LogLast = h.Role, h.Term, h.Commit, h.Applied, h.Last
		m.LastContact = now.Sub(h.at)
	}
}

var errNoMember = errors.New("it is not a member")

var errAlone = errors.New("ERR this node has no peer port: start it with --peer-listen")

// Meet takes the node that peers reach at address into the cluster; it must have
// been started on an empty data directory, waiting for a cluster.
func (n *Node) Meet(ctx context.Context, address string) error {
	return n.toLeader(ctx, askMeet, ask{Addr: address})
}

// Forget removes a member. Its incarnation and the sessions of its connections end.
func (n *Node) Forget(ctx context.Context, id string) error {
	return n.toLeader(ctx, askForget, ask{Node: id})
}

// Failover hands the leadership to a voter; empty: to whichever is best.
func (n *Node) Failover(ctx context.Context, id string) error {
	return n.toLeader(ctx, askFailover, ask{Node: id})
}

// MemberStatus asks a member for its Status, in JSON.
func (n *Node) MemberStatus(ctx context.Context, id string) ([]byte, error) {
	if id == n.opts.NodeID {
		return json.Marshal(n.Status())
	}
	if n.port == nil {
		return nil, errAlone
	}
	l := n.port.mesh.link(id)
	if l == nil {
		return nil, fmt.Errorf("there is no connection to node %q", id)
	}
	return l.Request(ctx, askStatus, []byte("{}"))
}

// toLeader has something done by the leader.
func (n *Node) toLeader(ctx context.Context, kind byte, a ask) error {
	if n.port == nil {
		return errAlone
	}
	_, err := n.lead(ctx, kind, a)
	return err
}

// lead does what only the leader can, or passes it on once.
func (n *Node) lead(ctx context.Context, kind byte, a ask) (ask, error) {
	if n.proposer.leads.Load() {
		switch kind {
		case askJoin:
			return n.join(a)
		case askPromote:
			return ask{}, n.promote(a)
		case askForget:
			return ask{}, n.forget(ctx, a.Node)
		case askFailover:
			return ask{}, n.failover(ctx, a.Node)
		case askMeet:
			return ask{}, n.meet(ctx, a.Addr)
		case askLeft:
			return ask{}, n.departed(a.Node)
		case askBelong:
			// A leader that was deposed without knowing it may not know the newest members,
			// and Raft's VerifyLeader can pass there (DESIGN.md, section 7): only an entry of
			// its own, committed, tells. A node would end for good on a wrong word.
			if n.port.knows(a.Node) {
				return ask{}, nil
			}
			err := n.raft.Barrier(membershipLimit).Error()
			return ask{Removed: err == nil && !n.port.knows(a.Node)}, nil
		}
	}
	l := n.port.way()
	if a.Passed || l == nil {
		return ask{}, ErrNoLeader
	}
	a.Passed = true
	b, err := json.Marshal(a)
	if err != nil {
		return ask{}, err
	}
	if b, err = l.Request(ctx, kind, b); err != nil {
		return ask{}, err
	}
	var answer ask
	err = json.Unmarshal(b, &answer)
	return answer, err
}

// asked answers another node's request.
func (n *Node) asked(ctx context.Context, from peer.Hello, kind byte, payload []byte) ([]byte, error) {
	var a ask
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, fmt.Errorf("the request of node %q can not be read: %w", from.Node, err)
	}
	switch kind {
	case askStatus:
		return json.Marshal(n.Status())
	case askDismissed:
		n.dismissed(ErrRemoved)
		return []byte("{}"), nil
	case askLeft:
		a.Node = cmp.Or(a.Node, from.Node)
		_, err := n.lead(ctx, kind, a)
		return []byte("{}"), err
	case askBelong:
		a.Node = cmp.Or(a.Node, from.Node)
		answer, err := n.lead(ctx, kind, a)
		if err != nil {
			answer = ask{} // nobody knows: it asks again
		}
		return json.Marshal(answer)
	case askAdopt:
		return []byte("{}"), n.adopt(a)
	case askJoin, askPromote, askForget, askFailover, askMeet:
		answer, err := n.lead(ctx, kind, a)
		if err != nil {
			return nil, err
		}
		return json.Marshal(answer)
	}
	return nil, fmt.Errorf("a request of kind %d is not known here: is node %q newer?", kind, from.Node)
}

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
		if err = f.Error(); err == nil {
			return nil
		}
		// Raft knows of the newest members before our own loop does.
		if berr := n.raft.Barrier(membershipLimit).Error(); berr != nil {
			return err //nolint:wrapcheck // the caller says what it was about
		}
		if _, now := n.opts.Storage.Configuration(); now == index {
			return err //nolint:wrapcheck // the caller says what it was about
		}
	}
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
		return ask{}, fmt.Errorf("ERR node %q could not be taken in: %w", a.Node, err)
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
	err := n.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
		if refusal = n.spare(id, servers); refusal != nil {
			return nil, nil
		}
		return n.raft.RemoveServer(raft.ServerID(id), index, membershipLimit), nil
	})
	switch {
	case refusal != nil:
		return refusal
	case err != nil:
		return fmt.Errorf("ERR node %q could not be removed: %w", id, err)
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

// spare says why a node can not be spared; nil: it can.
func (n *Node) spare(id string, servers []raft.Server) error {
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
			if m.Self || m.Connected && m.LastContact < aliveWithin {
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
		return fmt.Errorf("ERR the node at %s can not be reached: %w", addr, err)
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
		return fmt.Errorf("ERR node %q was taken in and does not answer: %w", h.Node, err)
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
