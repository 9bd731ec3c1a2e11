package cluster

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// identity says who this data directory belongs to. It is drawn at the first
// start and lives in the stable store: a node cluster has one id, a disk another,
// so that a wiped or foreign disk is told from the one that voted.
type identity struct {
	cluster, disk, node string
}

// The stable keys of the identity.
var (
	keyCluster = []byte("redlockd-cluster-id")
	keyDisk    = []byte("redlockd-disk-id")
	keyNode    = []byte("redlockd-node-id")
)

// identify reads the identity, or draws one on an empty store.
func identify(stable raft.StableStore, node string, rand io.Reader) (identity, error) {
	id := identity{}
	for _, f := range []struct {
		key   []byte
		value *string
	}{{keyCluster, &id.cluster}, {keyDisk, &id.disk}, {keyNode, &id.node}} {
		b, err := stable.Get(f.key)
		if err != nil {
			return id, fmt.Errorf("cluster: reading %s: %w", f.key, err)
		}
		if len(b) == 0 {
			if b, err = draw(node, f.key, rand); err != nil {
				return id, err
			}
			if err := stable.Set(f.key, b); err != nil {
				return id, fmt.Errorf("cluster: writing %s: %w", f.key, err)
			}
		}
		*f.value = string(b)
	}
	if id.node != node {
		return id, fmt.Errorf("cluster: the data directory belongs to node %q, not to %q: start with the node id %q, or with another data directory", id.node, node, id.node)
	}
	return id, nil
}

func draw(node string, key []byte, rand io.Reader) ([]byte, error) {
	if string(key) == string(keyNode) {
		return []byte(node), nil
	}
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("cluster: drawing %s: %w", key, err)
	}
	return []byte(hex.EncodeToString(b[:])), nil
}

// raftConfig are Raft's settings. The timeouts are those of three nodes on one
// network; a cluster of one does not wait for them (see stand).
func (n *Node) raftConfig() *raft.Config {
	o := &n.opts
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = o.ElectionTimeout, o.ElectionTimeout
	c.LeaderLeaseTimeout = o.ElectionTimeout / 2
	// A follower learns of a commit with the next append or after this time: what
	// a hand-off to a client of a follower may have to wait for.
	c.CommitTimeout = 20 * time.Millisecond
	c.BatchApplyCh = false // with it ErrEnqueueTimeout would not mean "not proposed"
	c.SnapshotInterval = 30 * time.Second
	c.SnapshotThreshold, c.TrailingLogs = o.SnapshotEntries, o.TrailingLogs
	c.NoSnapshotRestoreOnStart = true // the state on disk is the newest snapshot
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLog(n.log)
	return c
}

// startRaft founds a cluster of one on an empty store and starts Raft.
func (n *Node) startRaft() error {
	o := &n.opts
	trans := o.Transport
	if trans == nil {
		_, trans = raft.NewInmemTransport(raft.ServerAddress(o.PeerAddr))
	}
	c := n.raftConfig()
	n.raftLog = &closableLog{LogStore: o.Storage.Log()}
	log, stable, snaps := n.raftLog, o.Storage.Stable(), o.Storage.Snapshots()
	exists, err := raft.HasExistingState(log, stable, snaps)
	if err != nil {
		return fmt.Errorf("cluster: looking for an existing log: %w", err)
	}
	if !exists {
		one := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: c.LocalID, Address: raft.ServerAddress(o.PeerAddr)}}}
		if err = raft.BootstrapCluster(c, log, stable, snaps, trans, one); err != nil {
			return fmt.Errorf("cluster: founding a cluster of one: %w", err)
		}
		n.log.Info("founded a new cluster", "cluster", n.identity.cluster, "node", o.NodeID)
	}
	if n.raft, err = raft.NewRaft(c, n.applier, log, stable, snaps, trans); err != nil {
		return fmt.Errorf("cluster: starting Raft: %w", err)
	}
	if err := n.checkMember(); err != nil {
		err = errors.Join(err, n.raft.Shutdown().Error())
		n.raftLog.close()
		return err
	}
	return nil
}

// checkMember looks for this node in the stored configuration, and stands for
// election at once if nobody else could.
func (n *Node) checkMember() error {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("cluster: reading the stored configuration: %w", err)
	}
	servers := f.Configuration().Servers
	voters, member := 0, false
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
			member = member || s.ID == raft.ServerID(n.opts.NodeID)
		}
	}
	n.applier.countVoters(servers)
	if !member && len(servers) > 0 {
		return fmt.Errorf("cluster: node %q is not a voter in the stored configuration %v: start with the node id that this data directory was made with", n.opts.NodeID, servers)
	}
	if voters == 1 {
		return n.stand()
	}
	return nil
}

// stand ends the wait for a leader that can not exist: a shorter heartbeat
// timeout makes Raft look at once. Nothing else changes.
func (n *Node) stand() error {
	rc := n.raft.ReloadableConfig()
	rc.HeartbeatTimeout -= time.Millisecond
	if err := n.raft.ReloadConfig(rc); err != nil {
		return fmt.Errorf("cluster: standing for election: %w", err)
	}
	return nil
}
