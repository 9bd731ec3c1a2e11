package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// Backup takes a backup of the state: all that this node has applied. On the
// leader that is all that was acknowledged anywhere before the call. A node that
// knows no leader is refused, for what it has may be old. now is the wall clock's
// time and version the program's, for the file to say. The backup is the
// caller's to close, before the store.
func (n *Node) Backup(ctx context.Context, now time.Time, version string) (*store.Backup, error) {
	if _, id := n.raft.LeaderWithID(); id == "" {
		return nil, ErrNoLeader
	}
	if n.raft.State() == raft.Leader {
		limit := n.opts.RequestTimeout
		if deadline, ok := ctx.Deadline(); ok {
			limit = min(limit, time.Until(deadline))
		}
		if err := n.raft.Barrier(limit).Error(); err != nil {
			return nil, fmt.Errorf("CLUSTERDOWN the node lost its leadership while the backup began; nothing was done, try again: %w", err)
		}
	}
	n.applier.keepAll()
	if n.applier.dead.Load() {
		return nil, errors.New("cluster: no backup: an entry could not be applied")
	}
	b, err := n.opts.Storage.OpenBackup(store.BackupInfo{
		Cluster: n.ClusterID(), Node: n.opts.NodeID, Time: now.UTC().Truncate(time.Millisecond), Version: version,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return b, nil
}

// RestoreOptions are what Restore needs.
type RestoreOptions struct {
	// NodeID names the node that is to start there; PeerAddr is where others
	// reach it, default NodeID.
	NodeID, PeerAddr string
	// Store are the options of the data directory, which must be missing or empty.
	Store store.Options
	// Backup is the file, of Size bytes.
	Backup io.ReaderAt
	Size   int64
	// Now is the wall clock's time.
	Now time.Time
	// Rand gives the random bytes of ids; default crypto/rand.
	Rand io.Reader
}

// Restored is what Restore has done.
type Restored struct {
	// Backup is what the file says of itself.
	Backup store.BackupInfo
	// Cluster is the id of the new cluster.
	Cluster string
	fsm.Recovered
}

// Restore makes a data directory out of a backup: a new cluster of one node with
// the backup's state, after fsm.Machine.Recover. The file is checked from end to
// end before anything is written. A directory of which the restore was cut short
// is refused by every start, and taken by the next Restore.
func Restore(o RestoreOptions) (*Restored, error) {
	if o.NodeID == "" {
		return nil, errors.New("cluster: a restore needs a node id")
	}
	setDefault(&o.PeerAddr, o.NodeID)
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	var id [16]byte
	if _, err := io.ReadFull(o.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("cluster: drawing an id for the new cluster: %w", err)
	}
	r := &Restored{Cluster: hex.EncodeToString(id[:])}
	m := fsm.New()
	var err error
	if r.Backup, err = loadBackup(m, o.Backup, o.Size); err != nil {
		return nil, err
	}
	if r.Recovered, err = m.Recover(fencesSince(r.Backup.Time, o.Now)); err != nil {
		return nil, fmt.Errorf("cluster: the backup can not start a new cluster: %w", err)
	}
	if err = m.CheckInvariants(); err != nil {
		return nil, fmt.Errorf("cluster: the backup can not start a new cluster: %w", err)
	}
	err = store.SeedDir(o.Store, store.Seed{
		Index: r.Backup.Index, Term: r.Backup.Term,
		Configuration: raft.Configuration{Servers: []raft.Server{{
			Suffrage: raft.Voter, ID: raft.ServerID(o.NodeID), Address: raft.ServerAddress(o.PeerAddr),
		}}},
		Stable: map[string]string{string(keyCluster): r.Cluster, string(keyNode): o.NodeID},
		Records: func(yield func(store.Write)) error {
			m.Records(func(r fsm.Record) bool { yield(store.Write(r)); return true })
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: restoring a backup: %w", err)
	}
	return r, nil
}

const (
	// fencesPerMilli, of fences a millisecond, is more than any cluster gives.
	fencesPerMilli = 1 << 10
	// maxFencesSince leaves room for more restores where a clock was years off.
	maxFencesSince = 1 << 48
)

// fencesSince is more than what could be given since then. A backup may be restored a
// second time, when the cluster that it was restored as is lost too: without the time
// between, that one's fences would all be given again.
func fencesSince(then, now time.Time) uint64 {
	return uint64(min(max(now.Sub(then).Milliseconds(), 0), maxFencesSince/fencesPerMilli)) * fencesPerMilli
}

// loadBackup checks all of the file and fills the machine from it.
func loadBackup(m *fsm.Machine, file io.ReaderAt, size int64) (info store.BackupInfo, err error) {
	lerr := m.Load(func(yield func(fsm.Record) bool) {
		good := true
		info, err = store.ReadBackup(file, size, func(w store.Write) { good = good && yield(fsm.Record(w)) })
	})
	if err == nil { // else what the records lack comes of it
		err = lerr
	}
	if err != nil {
		return info, fmt.Errorf("cluster: reading the backup: %w", err)
	}
	if index, _ := m.Applied(); index > info.Index {
		return info, fmt.Errorf("cluster: reading the backup: its records are of entry %d, but it says that it is of entry %d", index, info.Index)
	}
	return info, nil
}
