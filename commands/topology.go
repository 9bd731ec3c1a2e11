package commands

import (
	"fmt"
	"strings"

	"github.com/redlockd/redlockd/resp"
)

// This file has CLUSTER SLOTS, SHARDS, NODES, INFO and what is asked of one key:
// Redis's formats, in which the leader is the master of all slots and the other
// nodes are its replicas.

// noLeader is answered where a client asks for the leader and none is known: it
// keeps what it knows, or asks another node.
const noLeader problem = "CLUSTERDOWN no leader is known here, or not its address for clients; try again"

func runKeySlot(c *client, args [][]byte) { c.integer(int64(KeySlot(args[2]))) }

func runClusterMyID(c *client, _ [][]byte) {
	me := c.h.o.Cluster.MyID()
	if m, ok := c.h.findMember(me); ok {
		c.bulk([]byte(m.NodeID))
		return
	}
	c.bulk([]byte(NodeHex(c.h.o.Status().ClusterID, me)))
}

// served are the members that CLUSTER SLOTS names, the leader first: those that
// vote (a joining one is not up to date), can be reached, and whose address is known.
func (v *view) served() []Member {
	var found []Member
	for i, m := range v.members {
		_, _, ok := m.endpoint()
		if i == 0 && (!v.led || !ok) {
			return nil
		}
		if ok && (m.Leader || m.Voter() && m.Connected) {
			found = append(found, m)
		}
	}
	return found
}

func runClusterSlots(c *client, _ [][]byte) {
	v := c.h.view()
	members := v.served()
	if len(members) == 0 {
		c.failed(noLeader)
		return
	}
	w := c.rc.Begin()
	w.Array(1)
	w.Array(2 + len(members))
	w.Int(0)
	w.Int(slots - 1)
	for _, m := range members {
		host, port, _ := m.endpoint()
		w.Array(4)
		w.BulkString(host)
		w.Int(int64(port))
		w.BulkString(m.NodeID)
		w.Map(0)
	}
	c.rc.End(0)
}

func runClusterShards(c *client, _ [][]byte) {
	v := c.h.view()
	var members []Member
	for _, m := range v.members {
		if _, _, ok := m.endpoint(); ok {
			members = append(members, m)
		}
	}
	w := c.rc.Begin()
	w.Array(1)
	w.Map(2)
	w.BulkString("slots")
	if v.led {
		w.Array(2)
		w.Int(0)
		w.Int(slots - 1)
	} else {
		w.Array(0)
	}
	w.BulkString("nodes")
	w.Array(len(members))
	for i := range members {
		writeShardNode(w, &members[i])
	}
	c.rc.End(0)
}

func writeShardNode(w *resp.Writer, m *Member) {
	host, port, _ := m.endpoint()
	role, health := "replica", "online"
	if m.Leader {
		role = "master"
	}
	switch {
	case !m.Connected:
		health = "failed"
	case !m.Voter():
		health = "loading"
	}
	w.Map(7)
	text(w, "id", m.NodeID)
	number(w, "port", int64(port))
	text(w, "ip", host)
	text(w, "endpoint", host)
	text(w, "role", role)
	number(w, "replication-offset", int64(m.MatchIndex))
	text(w, "health", health)
}

func runClusterNodes(c *client, _ [][]byte) { c.prose(c.h.nodesText()) }

// nodesText has a line for each node: id, address, flags, its master, when a
// ping was sent and a pong came (ms since 1970), epoch, link, slots.
func (h *Handler) nodesText() string {
	v, term, now := h.view(), h.o.Status().Term, h.o.Now().UnixMilli()
	master := "-"
	if v.led {
		master = v.members[0].NodeID
	}
	var b strings.Builder
	for _, m := range v.members {
		host, port, _ := m.endpoint()
		_, peerPort, _ := splitAddr(m.PeerAddr)
		var flags []string
		if m.ID == v.me {
			flags = append(flags, "myself")
		}
		of, slotRange, link, pong := master, "", "connected", int64(0)
		if m.Leader {
			flags, of, slotRange = append(flags, "master"), "-", fmt.Sprintf(" 0-%d", slots-1)
		} else {
			flags = append(flags, "slave")
		}
		if !m.Connected {
			flags, link = append(flags, "fail?"), "disconnected"
		}
		if host == "" {
			flags = append(flags, "noaddr")
		}
		if !m.Voter() {
			flags = append(flags, "nofailover") // Redis's word for who never takes over
		}
		if m.ID != v.me && m.LastContactMS >= 0 {
			pong = now - m.LastContactMS
		}
		fmt.Fprintf(&b, "%s %s:%d@%d %s %s 0 %d %d %s%s\n",
			m.NodeID, host, port, peerPort, strings.Join(flags, ","), of, pong, term, link, slotRange)
	}
	return b.String()
}

func runClusterInfo(c *client, _ [][]byte) {
	v, s := c.h.view(), c.h.o.Status()
	state, served, ok, size := "fail", 0, 0, 0
	if v.led {
		state, served, ok, size = "ok", slots, slots, 1
	}
	b := &infoWriter{}
	b.line("cluster_state", state)
	b.line("cluster_slots_assigned", served)
	b.line("cluster_slots_ok", ok)
	b.line("cluster_slots_pfail", 0)
	b.line("cluster_slots_fail", 0)
	b.line("cluster_known_nodes", len(v.members))
	b.line("cluster_size", size)
	b.line("cluster_current_epoch", s.Term)
	b.line("cluster_my_epoch", s.Term)
	b.line("cluster_stats_messages_sent", 0)
	b.line("cluster_stats_messages_received", 0)
	b.line("total_cluster_links_buffer_limit_exceeded", 0)
	c.prose(b.String())
}
