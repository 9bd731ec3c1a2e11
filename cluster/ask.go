package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redlockd/redlockd/cluster/peer"
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
			err := n.answer(n.raft.Barrier(membershipLimit))
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
		if said := (*peer.Refusal)(nil); !errors.As(err, &said) {
			err = fmt.Errorf("UNCERTAIN the leader did not answer, and may have done it; CLUSTER NODES tells: %w", err)
		}
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
