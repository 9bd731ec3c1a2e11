package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// identity says who this data directory belongs to. It is drawn at the first
// start and lives in the stable store: a cluster has one id, a disk another,
// so that a wiped or foreign disk is told from the one that voted. The nodes of an
// initial cluster all draw the same cluster id, from its list; a node that joins
// has none until it was taken in.
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
func identify(stable raft.StableStore, o *Options) (identity, error) {
	node := o.NodeID
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
			if b, err = o.draw(f.key); err != nil {
				return id, err
			}
			if len(b) == 0 {
				continue
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

// draw returns what a key of the identity is on an empty store.
func (o *Options) draw(key []byte) ([]byte, error) {
	switch {
	case bytes.Equal(key, keyNode):
		return []byte(o.NodeID), nil
	case bytes.Equal(key, keyCluster) && o.joins():
		return nil, nil
	case bytes.Equal(key, keyCluster) && len(o.InitialCluster) > 1:
		return []byte(hex.EncodeToString(o.foundersHash())), nil
	}
	var b [16]byte
	if _, err := io.ReadFull(o.Rand, b[:]); err != nil {
		return nil, fmt.Errorf("cluster: drawing %s: %w", key, err)
	}
	return []byte(hex.EncodeToString(b[:])), nil
}

// foundersHash is the cluster id that the nodes of an initial cluster all draw.
func (o *Options) foundersHash() []byte {
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(o.InitialCluster)) {
		fmt.Fprintf(h, "%q=%q\n", id, o.InitialCluster[id])
	}
	return h.Sum(nil)[:16]
}

// aloneCommitTimeout is how often Raft looks whether a follower must be told of a
// commit where there is none.
const aloneCommitTimeout = 20 * time.Millisecond

// raftConfig are Raft's settings. The timeouts are those of three nodes on one
// network; a cluster of one does not wait for them (see stand).
func (n *Node) raftConfig() *raft.Config {
	o := &n.opts
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = o.ElectionTimeout, o.ElectionTimeout
	c.LeaderLeaseTimeout = o.ElectionTimeout / 2
	c.CommitTimeout = o.CommitTimeout
	c.BatchApplyCh = false // with it ErrEnqueueTimeout would not mean "not proposed"
	c.SnapshotInterval = 30 * time.Second
	c.SnapshotThreshold, c.TrailingLogs = o.SnapshotEntries, o.TrailingLogs
	c.NoSnapshotRestoreOnStart = true // the state on disk is the newest snapshot
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLog(n.log, n.raftQuiet.Load)
	return c
}

// joins reports whether an empty store awaits a cluster that is there.
func (o *Options) joins() bool { return len(o.Join) > 0 || o.Await }

// checkPeers refuses what can not be meant.
func (o *Options) checkPeers() error {
	addr, listed := o.InitialCluster[o.NodeID]
	switch {
	case len(o.InitialCluster) > 0 && !listed:
		return fmt.Errorf("cluster: node %q is not in the initial cluster %s: each node must be listed, under its own node id", o.NodeID, o.initial())
	case len(o.InitialCluster) > 0 && o.joins():
		return errors.New("cluster: a node is either part of the initial cluster or joins one, not both")
	case o.Peer == nil && (len(o.InitialCluster) > 1 || o.joins()):
		return errors.New("cluster: other nodes need a peer port: give an address for peers to listen on")
	case listed && o.PeerAddr == "":
		o.PeerAddr = addr
	case listed && o.PeerAddr != addr:
		return fmt.Errorf("cluster: the initial cluster has node %q at %s, but it tells the others %s: make the two the same", o.NodeID, addr, o.PeerAddr)
	}
	return nil
}

// initial writes the initial cluster as its option does.
func (o *Options) initial() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(o.InitialCluster)) {
		all = append(all, id+"="+o.InitialCluster[id])
	}
	return strings.Join(all, ",")
}

// founders are the voters that an empty store starts with.
func (o *Options) founders() raft.Configuration {
	if len(o.InitialCluster) == 0 {
		return raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(o.NodeID), Address: raft.ServerAddress(o.PeerAddr)}}}
	}
	var c raft.Configuration
	for _, id := range slices.Sorted(maps.Keys(o.InitialCluster)) {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(o.InitialCluster[id])})
	}
	return c
}

// startRaft founds a cluster on an empty store, unless it is to join one, and starts Raft.
func (n *Node) startRaft() error {
	o := &n.opts
	var trans raft.Transport
	if n.port != nil {
		trans = n.port.trans
	} else {
		_, trans = raft.NewInmemTransport(raft.ServerAddress(o.PeerAddr))
	}
	c := n.raftConfig()
	n.raftLog = &closableLog{LogStore: o.Storage.Log(), committed: n.committed, applied: o.Storage.Applied, follows: n.follows, fatal: n.fatal}
	stable, err := newTerms(o.Storage.Stable())
	if err != nil {
		return err
	}
	if n.port != nil {
		n.port.trans.terms = stable
	}
	log, snaps := n.raftLog, o.Storage.Snapshots()
	exists, err := raft.HasExistingState(log, stable, snaps)
	if err != nil {
		return fmt.Errorf("cluster: looking for an existing log: %w", err)
	}
	if !exists && !o.joins() {
		if err = raft.BootstrapCluster(c, log, stable, snaps, trans, o.founders()); err != nil {
			return fmt.Errorf("cluster: founding a cluster: %w", err)
		}
		n.log.Info("founded a new cluster", "cluster", n.identity.cluster, "node", o.NodeID)
	}
	if n.raft, err = raft.NewRaft(c, n.applier, log, stable, snaps, trans); err != nil {
		return fmt.Errorf("cluster: starting Raft: %w", err)
	}
	n.running.Store(n.raft)
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
	voters, member, votes, own := 0, false, false, raft.ServerAddress("")
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
		if s.ID == raft.ServerID(n.opts.NodeID) {
			member, votes, own = true, s.Suffrage == raft.Voter, s.Address
			if n.port != nil && len(servers) > 1 && string(s.Address) != n.opts.PeerAddr {
				n.log.Warn("the cluster knows this node at another address; the others can not reach it until they are told", "there", s.Address, "here", n.opts.PeerAddr)
			}
		}
	}
	n.applier.countVoters(servers)
	// Where only the change that nobody has committed yet removes this node, the leader
	// knows whether it came to pass: a node that was removed is told so (belong).
	member = member || slices.ContainsFunc(n.withCommitted(nil), func(s raft.Server) bool { return string(s.ID) == n.opts.NodeID })
	// One that joins has got the log of before it was taken in: the leader knows more.
	if !member && len(servers) > 0 && !n.opts.joins() {
		return fmt.Errorf("cluster: node %q is not in the stored configuration %v: start with the node id that this data directory was made with; if it was removed from the cluster, delete the data directory and start it with --join", n.opts.NodeID, servers)
	}
	if n.port == nil && len(servers) > 1 {
		return fmt.Errorf("cluster: the data directory of node %q belongs to a cluster of %d nodes, and this node was started without a port for them: give --peer-listen (it was %s)", n.opts.NodeID, len(servers), own)
	}
	if err := n.opts.contradicts(n.ClusterID(), servers); err != nil {
		return err
	}
	if voters == 1 && votes {
		return n.stand()
	}
	return nil
}

// withCommitted adds to the newest configuration of the log those who are missing in
// it and are in the one that is committed. The newest may be taken back, when its
// leader got no further, and nobody tells of that: without the others the node could
// not even reach the leader.
func (n *Node) withCommitted(newest []raft.Server) []raft.Server {
	all := slices.Clone(newest)
	conf, _ := n.opts.Storage.Configuration()
	for _, s := range conf.Servers {
		if !slices.ContainsFunc(all, func(x raft.Server) bool { return x.ID == s.ID }) {
			all = append(all, s)
		}
	}
	return all
}

// contradicts refuses options that speak of another cluster than the one that the
// data directory belongs to. The list of the founders may stay as it was when the
// cluster was founded, or follow its members.
func (o *Options) contradicts(cluster string, servers []raft.Server) error {
	alone := len(servers) == 1 && string(servers[0].ID) == o.NodeID
	switch {
	case alone && o.joins():
		return fmt.Errorf("cluster: the data directory of node %q is a cluster of its own (founded alone, or restored from a backup), and is told to join another: start it without --join and --await-meet, or with an empty data directory", o.NodeID)
	case len(o.InitialCluster) < 2 || len(servers) == 0:
		return nil
	case alone:
		return fmt.Errorf("cluster: the data directory of node %q is a cluster of its own (founded alone, or restored from a backup), but --initial-cluster lists %d nodes: start it without --initial-cluster and with --peer-listen, and let the others join it on empty data directories (--join)", o.NodeID, len(o.InitialCluster))
	case hex.EncodeToString(o.foundersHash()) == cluster || len(servers) == len(o.InitialCluster) && !slices.ContainsFunc(servers, func(s raft.Server) bool { return o.InitialCluster[string(s.ID)] != string(s.Address) }):
		return nil
	}
	var are []string
	for _, s := range servers {
		are = append(are, fmt.Sprintf("%s=%s", s.ID, s.Address))
	}
	slices.Sort(are)
	return fmt.Errorf("cluster: the data directory of node %q belongs to the cluster %s, but --initial-cluster says %s: give the list that it was founded with, or that of its members now, or none; for a new cluster give an empty data directory", o.NodeID, strings.Join(are, ","), o.initial())
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
