package main

import (
	"context"
	"time"

	"github.com/redlockd/redlockd/commands"
	"github.com/redlockd/redlockd/fsm"
)

// status gathers from cluster and store what INFO and ROLE show.
func (n *node) status() commands.Status {
	c := n.cluster.Status()
	s := commands.Status{
		NodeID: c.NodeID, ClusterID: c.ClusterID, Incarnation: c.Incarnation, Role: c.Role, Leader: c.LeaderID,
		Term: c.Term, Commit: c.Commit, Applied: c.Applied, LogFirst: c.LogFirst, LogLast: c.LogLast,
		Nodes: c.Voters, LastContact: c.LastContact, StoreBytes: n.store.Metrics().DiskBytes,
	}
	n.cluster.View(func(m *fsm.Machine) { s.HashIndex, s.Hash = m.HashMark() })
	// An answer that is not to be had is shown as 0: INFO never fails.
	if list, err := n.store.Snapshots().List(); err == nil && len(list) > 0 {
		s.Snapshot = list[0].Index
	}
	s.DiskFree, s.DiskTotal = n.space.ask(spacePatience)
	return s
}

// backup takes a backup for a client.
func (n *node) backup(ctx context.Context) (*commands.Backup, error) {
	b, err := n.cluster.Backup(ctx, time.Now(), version)
	if err != nil {
		return nil, err
	}
	i := b.Info()
	return &commands.Backup{Cluster: i.Cluster, Node: i.Node, Index: i.Index, Term: i.Term, File: b}, nil
}
