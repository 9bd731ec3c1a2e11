package fsm

import (
	"cmp"
	"slices"
)

// NodeInfo describes a node that has registered and was not removed.
type NodeInfo struct {
	Name           string
	Incarnation    Incarnation // its newest
	Alive          bool        // the incarnation has not ended
	Nonce          Nonce
	Disk, Announce string
	Connections    int
	// Batch and Keepalive are the last ones applied of its incarnation.
	Batch, Keepalive uint64
	// Left is how much longer the incarnation lives, in ms of cluster time, if
	// nothing more is heard of the node.
	Left int64
}

// Node returns what is known of a node; false: it never registered.
func (m *Machine) Node(name string) (NodeInfo, bool) {
	n := m.nodes[name]
	if n == nil {
		return NodeInfo{}, false
	}
	return m.info(n), true
}

func (m *Machine) info(n *node) NodeInfo {
	return NodeInfo{
		Name: n.name, Incarnation: n.inc, Alive: n.alive, Nonce: n.nonce, Disk: n.disk, Announce: n.announce,
		Connections: len(n.conns), Batch: n.batch, Keepalive: n.ka, Left: max(0, n.at-m.meta.now),
	}
}

// Standing is where one connection stands in a state that its node has taken
// over from another one.
type Standing struct {
	ConnInfo
	// Expected: an entry applied by this node, or skipped with the snapshot, has
	// brought the connection into the state. There: it is in it.
	Expected, There bool
	// Sent is its highest op in the batches that were skipped.
	Sent uint64
}

// Nodes returns all nodes that have registered, by name.
func (m *Machine) Nodes() []NodeInfo {
	all := make([]NodeInfo, 0, len(m.nodes))
	for _, n := range m.nodes {
		all = append(all, m.info(n))
	}
	slices.SortFunc(all, func(a, b NodeInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// ConnInfo is where a connection stands in the state.
type ConnInfo struct {
	// Seq is the last op applied; Waits the one that is applied and not answered
	// yet, 0: none.
	Seq, Waits uint64
	// Session is the named session that it is attached to, 0: none.
	Session   SessionID
	Heartbeat bool
}

// Conn returns where a connection stands; false: it is not in the state.
func (m *Machine) Conn(id ConnID) (ConnInfo, bool) {
	c := m.conns[id]
	if c == nil {
		return ConnInfo{}, false
	}
	i := ConnInfo{Seq: c.seq}
	if c.blocked != nil {
		i.Waits = c.blocked.seq
	}
	if s := c.attached(); s != nil && s.name != "" {
		i.Session, i.Heartbeat = s.id, s.heartbeat
	}
	return i, true
}
