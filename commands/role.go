package commands

import (
	"fmt"
	"strconv"
	"strings"
)

// This file says what part this node has: ROLE, INFO replication, INFO raft.
// Where clients see a cluster, or are redirected, that is the truth: the leader
// is the master, the others are its replicas. Where each node looks like a
// server of its own it is master everywhere, because clients that know one
// address turn away from a replica, and here nothing is refused by one.

func runRole(c *client, _ [][]byte) {
	h := c.h
	if h.sentinel != nil {
		h.sentinel.role(c)
		return
	}
	applied := h.o.Status().Applied
	if h.leads() {
		replicas := h.replicas()
		w := c.rc.Begin()
		w.Array(3)
		w.BulkString("master")
		w.Uint(applied)
		w.Array(len(replicas))
		for i := range replicas {
			host, port, _ := replicas[i].endpoint()
			w.Array(3)
			w.BulkString(host)
			bulkUint(w, uint64(port))
			bulkUint(w, replicas[i].MatchIndex)
		}
		c.rc.End(0)
		return
	}
	host, port, state := "", 0, "connect"
	if leader, ok := h.o.Cluster.Leader(); ok {
		host, port, _ = leader.endpoint()
		state = "connected"
	}
	w := c.rc.Begin()
	w.Array(5)
	w.BulkString("slave")
	w.BulkString(host)
	w.Int(int64(port))
	w.BulkString(state)
	w.Uint(applied)
	c.rc.End(0)
}

// replicas are the members that a client of this leader may see as its replicas.
func (h *Handler) replicas() []Member {
	if h.complete() {
		return nil
	}
	v := h.view()
	var found []Member
	for _, m := range v.followers() {
		if _, _, ok := m.endpoint(); ok && m.Connected && m.ID != v.me {
			found = append(found, m)
		}
	}
	return found
}

func infoReplication(h *Handler, b *infoWriter) {
	s := h.o.Status()
	replicas := []Member(nil)
	if h.leads() {
		replicas = h.replicas()
		b.line("role", "master")
		b.line("connected_slaves", len(replicas))
		for i := range replicas {
			host, port, _ := replicas[i].endpoint()
			b.line("slave"+strconv.Itoa(i), fmt.Sprintf("ip=%s,port=%d,state=online,offset=%d,lag=%d",
				host, port, replicas[i].MatchIndex, max(replicas[i].LastContactMS, 0)/1000))
		}
	} else {
		host, port, link, contact := "", 0, "down", int64(-1)
		if leader, ok := h.o.Cluster.Leader(); ok {
			host, port, _ = leader.endpoint()
			link, contact = "up", max(s.LastContact.Milliseconds(), 0)/1000
		}
		b.line("role", "slave")
		b.line("master_host", host)
		b.line("master_port", port)
		b.line("master_link_status", link)
		b.line("master_last_io_seconds_ago", contact)
		b.line("master_sync_in_progress", 0)
		b.line("slave_read_repl_offset", s.Applied)
		b.line("slave_repl_offset", s.Applied)
		b.line("slave_priority", 100)
		b.line("slave_read_only", boolInt(h.o.Redirect))
		b.line("replica_announced", 1)
		b.line("connected_slaves", 0)
	}
	b.line("master_failover_state", "no-failover")
	b.line("master_replid", NodeHex(s.ClusterID, ""))
	b.line("master_replid2", strings.Repeat("0", 40))
	b.line("master_repl_offset", s.Applied)
	b.line("second_repl_offset", -1)
}

func infoRaft(h *Handler, b *infoWriter) {
	s := h.o.Status()
	b.line("node_id", s.NodeID)
	b.line("cluster_id", s.ClusterID)
	b.line("incarnation", uint64(s.Incarnation))
	b.line("raft_role", s.Role)
	b.line("leader", s.Leader)
	b.line("nodes", s.Nodes)
	b.line("term", s.Term)
	b.line("commit_index", s.Commit)
	b.line("applied_index", s.Applied)
	b.line("log_first_index", s.LogFirst)
	b.line("log_last_index", s.LogLast)
	b.line("snapshot_index", s.Snapshot)
	contact := s.LastContact.Milliseconds()
	if s.LastContact < 0 {
		contact = -1
	}
	b.line("leader_last_contact_ms", contact)
	b.line("cluster_time_ms", h.o.State.Now())
	b.line("state_hash_index", s.HashIndex)
	b.line("state_hash", strconv.FormatUint(s.Hash, 16))
	members := h.o.Cluster.Members()
	b.line("members", len(members))
	for i := range members {
		b.line("member"+strconv.Itoa(i), memberLine(&members[i], s.Commit))
	}
}

// memberLine is one member as name=value pairs. No value has a comma in it:
// names are checked (see --node-id) and addresses have none.
func memberLine(m *Member, commit uint64) string {
	lag := "-1"
	if m.MatchIndex > 0 {
		lag = strconv.FormatUint(commit-min(m.MatchIndex, commit), 10)
	}
	return fmt.Sprintf("id=%s,node=%s,addr=%s,peer=%s,role=%s,suffrage=%s,connected=%d,match_index=%d,lag=%s,last_contact_ms=%d",
		m.ID, m.NodeID, m.Addr, m.PeerAddr, m.Role, m.Suffrage, boolInt(m.Connected), m.MatchIndex, lag, m.LastContactMS)
}
