package commands

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Cluster is what commands know of the nodes of the cluster, and what they may
// ask of them. All methods are called by any goroutine. MyID, Members and
// Leader must not block, and tell what this node knows; the others may take
// until ctx ends, and their errors are sentences for people (with a code in
// capitals in front where it is not ERR).
type Cluster interface {
	// MyID is this node's own name: the ID of one of the members, once it is one.
	MyID() string
	// Members are the nodes of the configuration, in an order that does not
	// change. The slice is the caller's.
	Members() []Member
	// Leader is the member that leads as far as this node knows; false: none is known.
	// It is asked for every lock command where followers redirect.
	Leader() (Member, bool)
	// Meet takes the node that peers reach at address into the cluster.
	Meet(ctx context.Context, address string) error
	// Forget removes a member by its ID.
	Forget(ctx context.Context, id string) error
	// Failover hands the leadership to the member with that ID; empty: to
	// whichever is best.
	Failover(ctx context.Context, id string) error
}

// Member is one node of the cluster as this node sees it.
type Member struct {
	// ID is the node's name (--node-id), NodeID what Redis's clients call it by: NodeHex.
	ID, NodeID string
	// Addr is where clients reach it, host:port; empty: not known here.
	Addr string
	// Sentinel is where it answers as a Sentinel, host:port; empty: it does not, or that is not known.
	Sentinel string
	// PeerAddr is where the other nodes reach it.
	PeerAddr string
	// Role is leader, follower, candidate or shutdown; of another node as far as it is known.
	Role string
	// Suffrage is SuffrageVoter, or anything else for a node that does not vote (yet).
	Suffrage string
	// Leader is set for the one that leads.
	Leader bool
	// Connected is false for a member that cannot be reached, as far as this node
	// knows; where it does not know (a follower of other followers), it is true.
	Connected bool
	// MatchIndex is the newest index of the log that it is known to have; 0: not known.
	MatchIndex uint64
	// LastContactMS is how long ago it was heard of, -1: never, or not known.
	LastContactMS int64
}

// SuffrageVoter is the Suffrage of a member that votes.
const SuffrageVoter = "voter"

// Voter reports whether the member votes.
func (m *Member) Voter() bool { return m.Suffrage == SuffrageVoter }

// endpoint is where clients reach the member, in the two parts that Redis's
// formats want; false: not known.
func (m *Member) endpoint() (host string, port int, ok bool) { return splitAddr(m.Addr) }

func splitAddr(addr string) (host string, port int, ok bool) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(p)
	return host, port, err == nil && port > 0
}

// NodeHex is a node's name as Redis has them: 40 hexadecimal digits, the same
// on every node and after every restart, and another one in another cluster.
func NodeHex(clusterID, nodeID string) string {
	sum := sha1.Sum([]byte("redlockd node\x00" + clusterID + "\x00" + nodeID))
	return hex.EncodeToString(sum[:])
}

// ClusterMode says when clients see a Redis Cluster.
type ClusterMode uint8

// The modes.
const (
	// ClusterAuto: while the cluster has more than one member.
	ClusterAuto ClusterMode = iota
	// ClusterOn: always.
	ClusterOn
	// ClusterOff: never; each node looks like a server of its own.
	ClusterOff
)

// alone is the Cluster of a handler that was given none: this node, by its status.
type alone struct{ h *Handler }

var errAlone = errors.New("this node was started without a cluster")

func (a alone) MyID() string { return a.h.o.Status().NodeID }

func (a alone) Members() []Member {
	s := a.h.o.Status()
	return []Member{{
		ID: s.NodeID, NodeID: NodeHex(s.ClusterID, s.NodeID), Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(a.h.o.Port())),
		Role: s.Role, Suffrage: SuffrageVoter, Leader: s.Leader == s.NodeID, Connected: true, MatchIndex: s.LogLast,
	}}
}

func (a alone) Leader() (Member, bool) {
	m := a.Members()[0]
	return m, m.Leader
}

func (alone) Meet(context.Context, string) error     { return errAlone }
func (alone) Forget(context.Context, string) error   { return errAlone }
func (alone) Failover(context.Context, string) error { return errAlone }

// clustered reports whether clients see a Redis Cluster.
func (h *Handler) clustered() bool {
	switch h.o.ClusterMode {
	case ClusterOn:
		return true
	case ClusterOff:
		return false
	case ClusterAuto:
	}
	return len(h.o.Cluster.Members()) > 1
}

// mode is what HELLO and INFO call this server's mode.
func (h *Handler) mode() string {
	switch {
	case h.sentinel != nil:
		return "sentinel"
	case h.clustered():
		return "cluster"
	}
	return "standalone"
}

// complete reports whether this node looks like a whole server of its own: a
// client that knows nothing of clusters, and that would turn away from a
// replica, can do here what it can do anywhere.
func (h *Handler) complete() bool { return !h.o.Redirect && !h.clustered() }

// leads reports whether this node is the leader, or looks like one.
func (h *Handler) leads() bool {
	if h.complete() {
		return true
	}
	leader, ok := h.o.Cluster.Leader()
	return ok && leader.ID == h.o.Cluster.MyID()
}

// view is the members of one moment, the leader first.
type view struct {
	members []Member
	me      string
	led     bool // members[0] leads
}

func (h *Handler) view() view {
	v := view{members: h.o.Cluster.Members(), me: h.o.Cluster.MyID()}
	slices.SortStableFunc(v.members, func(a, b Member) int { return boolInt(b.Leader) - boolInt(a.Leader) })
	v.led = len(v.members) > 0 && v.members[0].Leader
	return v
}

// followers are the members but for the leader.
func (v *view) followers() []Member {
	if v.led {
		return v.members[1:]
	}
	return v.members
}

// findMember finds a member by any of its names.
func (h *Handler) findMember(name string) (Member, bool) {
	for _, m := range h.o.Cluster.Members() {
		if name == m.ID || strings.EqualFold(name, m.NodeID) || m.Addr != "" && name == m.Addr {
			return m, true
		}
	}
	return Member{}, false
}
