package store

import (
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/raft"
)

// Snapshots is Raft's store of snapshots. Its one local snapshot is the state
// itself, as it is when somebody asks: List offers it, Open streams it. To
// "take" one is to make the state durable, so that Raft may cut the log.
// Snapshots that another node sends are staged in a file until Restore.
//
// Raft must run with NoSnapshotRestoreOnStart, and its FSM must return
// PersistState as its snapshot.
func (s *Store) Snapshots() raft.SnapshotStore { return snapshotStore{s} }

type snapshotStore struct{ s *Store }

// The ids start with where the snapshot is.
const (
	idState    = "state-"
	idReceived = "received-"
)

func snapshotID(prefix string, p position) string {
	return fmt.Sprintf("%s%d-%d", prefix, p.term, p.index)
}

func snapshotMeta(id string, p position, c configuration, size int64) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Index: p.index, Term: p.term,
		Configuration: c.conf.Clone(), ConfigurationIndex: c.index, Size: size,
	}
}

// List offers the state, once there is one and its configuration is known:
// without that Raft would start as a node of no cluster, and the log from entry
// 1 on is still there. Size is 0, for it is not known before Open.
func (t snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	m := t.s.meta.Load()
	if m.applied.index == 0 || m.config.index == 0 || !m.valid {
		return nil, nil
	}
	return []*raft.SnapshotMeta{snapshotMeta(snapshotID(idState, m.applied), m.applied, m.config, 0)}, nil
}

// Open streams a snapshot. The id of the state opens the state as it is now:
// the returned meta says which that is. The reader must be closed before the store.
func (t snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if strings.HasPrefix(id, idReceived) {
		return t.s.openReceived(id)
	}
	if !strings.HasPrefix(id, idState) {
		return nil, nil, fmt.Errorf("store: there is no snapshot %q", id)
	}
	r, err := t.s.newStateReader(true)
	if err != nil {
		return nil, nil, err
	}
	return snapshotMeta(snapshotID(idState, r.meta.applied), r.meta.applied, r.meta.config, r.size), r, nil
}

// Create begins a snapshot: a local one if PersistState's Persist gets the
// sink, else one that is received by writing to it.
func (t snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration,
	confIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("store: snapshots of version %d are not known", version)
	}
	if index == 0 {
		return nil, fmt.Errorf("store: a snapshot at index 0")
	}
	return &sink{s: t.s, at: position{index, term}, config: configuration{confIndex, conf.Clone()}}, nil
}

// PersistState returns what Raft's FSM.Snapshot must return. Its Persist writes
// nothing: the state is on disk already, and closing the sink syncs it. So
// whoever applies with its writes late must have brought all of them to Apply
// before FSM.Snapshot returns: the log up to there may be cut.
func (s *Store) PersistState() raft.FSMSnapshot { return persistState{s.restores.Load()} }

// persistState knows how often the state had been replaced when it was the snapshot.
type persistState struct{ restores uint64 }

// Persist refuses what another snapshot has overtaken. Raft 1.8 asks its main loop for
// the configuration in between, and that may be installing a snapshot: to go on would
// set Raft's last snapshot, and with an empty log its last entry, back to before it.
func (p persistState) Persist(target raft.SnapshotSink) error {
	k, ok := target.(*sink)
	if !ok {
		return fmt.Errorf("store: the snapshot's sink is a %T, not the store's own", target)
	}
	k.local, k.restores = true, p.restores
	return k.overtaken()
}

// overtaken refuses a local snapshot whose state was replaced.
func (k *sink) overtaken() error {
	if k.s.restores.Load() != k.restores {
		return fmt.Errorf("store: the state was replaced while this snapshot of it was taken: %w", ErrOldSnapshot)
	}
	return nil
}

func (persistState) Release() {}

// takeLocal makes the state durable as the snapshot at p. The state may be
// further already. It may also seem behind: barriers count for Raft's index
// and never reach the state; then it is at p all the same.
//
// Applying goes on while the disk syncs: what a synced write finds before it in
// the WAL is durable with it, whoever waits for that.
func (s *Store) takeLocal(p position, c configuration) {
	s.noteLocal(p, c)
	_ = s.Sync() // it has no errors: a failed sync ends the process
}

// noteLocal writes, not synced, what of a local snapshot the state lacks.
func (s *Store) noteLocal(p position, c configuration) {
	s.state.Lock()
	defer s.state.Unlock()
	m := *s.meta.Load()
	b := s.state.begin()
	if m.applied.index < p.index {
		m.applied = p
		s.putApplied(b, p)
	}
	// A configuration behind the snapshot has been committed meanwhile and is
	// newer; else Raft's word counts, also when it is RecoverCluster's.
	if m.config.index <= p.index {
		m.config = c
		s.state.must(b.Set(keyConfig, c.encode(), nil))
	}
	if b.Empty() {
		return
	}
	s.state.commit(false)
	s.meta.Store(&m)
}
