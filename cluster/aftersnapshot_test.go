package cluster

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/store"
)

// storeFSM restores what Raft has received, and takes its entries for the state.
type storeFSM struct{ *store.Store }

func (f storeFSM) Apply(l *raft.Log) any               { return f.Store.Apply(l.Index, l.Term, nil) }
func (f storeFSM) Snapshot() (raft.FSMSnapshot, error) { return f.PersistState(), nil }
func (f storeFSM) Restore(r io.ReadCloser) error {
	index, term, _ := f.Received()
	return f.Store.Restore(r, index, term)
}

// snapped is a follower on a real store, and the leader that the test plays.
type snapped struct {
	*raft.Raft
	store      *store.Store
	near, far  *raft.InmemTransport
	conf       raft.Configuration
	stateBytes []byte
}

func newSnapped(t *testing.T) *snapped {
	t.Helper()
	n := &snapped{store: openStore(t, newFS())}
	n.conf = raft.Configuration{Servers: []raft.Server{{ID: nearID, Address: nearID}, {ID: farID, Address: farID}}}
	n.stateBytes = stateOf(t)
	_, n.near = raft.NewInmemTransport(nearID)
	_, n.far = raft.NewInmemTransport(farID)
	n.far.Connect(nearID, n.near)
	c := raft.DefaultConfig()
	c.LocalID, c.Logger, c.NoSnapshotRestoreOnStart = nearID, hclog.NewNullLogger(), true
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Hour, time.Hour, time.Hour
	log := &closableLog{
		LogStore: n.store.Log(), fatal: func(err error) { t.Error(err) }, applied: n.store.Applied,
		committed: func() uint64 { return n.CommitIndex() }, follows: func() bool { return n.Raft != nil && n.State() != raft.Leader },
	}
	var err error
	if n.Raft, err = raft.NewRaft(c, storeFSM{n.store}, log, n.store.Stable(), n.store.Snapshots(), n.near); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Shutdown().Error(), n.near.Close(), n.far.Close(), n.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// stateOf returns a snapshot's bytes; where it lies is said by who sends it.
func stateOf(t *testing.T) []byte {
	t.Helper()
	s := openStore(t, newFS())
	defer s.Close()
	if err := errors.Join(s.Log().StoreLog(&raft.Log{Index: 1, Term: 1}), s.Apply(1, 1, nil)); err != nil {
		t.Fatal(err)
	}
	s.SetConfiguration(1, raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}})
	metas, err := s.Snapshots().List()
	if err != nil || len(metas) != 1 {
		t.Fatal(metas, err)
	}
	_, r, err := s.Snapshots().Open(metas[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func (n *snapped) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(farID), Addr: []byte(farID)}
}

// install sends the follower a snapshot at (index, at).
func (n *snapped) install(term, index, at uint64) error {
	req := &raft.InstallSnapshotRequest{
		RPCHeader: n.header(), SnapshotVersion: raft.SnapshotVersionMax, Term: term, LastLogIndex: index, LastLogTerm: at,
		Configuration: raft.EncodeConfiguration(n.conf), ConfigurationIndex: 1, Size: int64(len(n.stateBytes)),
	}
	return n.far.InstallSnapshot(nearID, nearID, req, &raft.InstallSnapshotResponse{}, bytes.NewReader(n.stateBytes))
}

// append sends it the entries from..to of a term behind (prev, at), and reports whether it took them.
func (n *snapped) append(t *testing.T, term, prev, at, from, to, commit uint64) bool {
	t.Helper()
	req := &raft.AppendEntriesRequest{RPCHeader: n.header(), Term: term, PrevLogEntry: prev, PrevLogTerm: at, LeaderCommitIndex: commit}
	for i := from; i <= to; i++ {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term})
	}
	var resp raft.AppendEntriesResponse
	if err := n.far.AppendEntries(nearID, nearID, req, &resp); err != nil {
		t.Fatal(err)
	}
	return resp.Success
}

// terms returns the terms of the log from an entry on.
func (n *snapped) terms(from uint64) (terms []uint64) {
	var l raft.Log
	for i := from; n.store.Log().GetLog(i, &l) == nil; i++ {
		terms = append(terms, l.Term)
	}
	return terms
}

// A follower that has a snapshot and entries behind it agrees with a leader that names
// the snapshot's own entry as the one before. Where it did not, that leader sent its
// snapshot, and while its own state was older than the follower's, none was ever taken.
func TestEntriesBehindASnapshotAreTaken(t *testing.T) {
	n := newSnapped(t)
	if err := n.install(5, 100, 4); err != nil {
		t.Fatal(err)
	}
	if !n.append(t, 5, 100, 4, 101, 103, 0) {
		t.Fatal("the entries behind the snapshot were refused")
	}
	if n.append(t, 6, 100, 3, 101, 101, 0) {
		t.Error("a leader with another entry 100 was agreed with")
	}
	if !n.append(t, 6, 100, 4, 101, 102, 0) {
		t.Fatal("a leader with the snapshot's entry was not agreed with")
	}
	if got := n.terms(101); len(got) != 2 || got[0] != 6 || got[1] != 6 {
		t.Errorf("the log behind the snapshot has the terms %v", got)
	}
	// Once more, with what is there.
	if !n.append(t, 6, 100, 4, 101, 103, 103) {
		t.Fatal("what is there already was refused")
	}
	eventually(t, "all is applied", func() bool { i, _ := n.store.Applied(); return i == 103 })
}

// A snapshot that comes a second time, late, when entries behind it have been
// acknowledged, takes none of them away, and needs no new start.
func TestLateSnapshotDropsNoEntries(t *testing.T) {
	n := newSnapped(t)
	if err := n.install(5, 100, 4); err != nil {
		t.Fatal(err)
	}
	if !n.append(t, 5, 100, 4, 101, 103, 0) {
		t.Fatal("the entries behind the snapshot were refused")
	}
	if err := n.install(5, 100, 4); err != nil {
		t.Error(err)
	}
	if got := n.terms(101); len(got) != 3 {
		t.Errorf("3 entries were acknowledged, and %d are there", len(got))
	}
	if !n.append(t, 5, 103, 5, 104, 104, 104) {
		t.Error("the next entry was refused")
	}
	eventually(t, "all is applied", func() bool { i, _ := n.store.Applied(); return i == 104 })
}

// The entry of the state's own place is known by its term alone. Who leads would send
// it as it is, so that it does not get it.
func TestStatesOwnEntryIsNotForALeader(t *testing.T) {
	follows := true
	l := &closableLog{
		LogStore: raft.NewInmemStore(), follows: func() bool { return follows },
		applied: func() (uint64, uint64) { return 100, 4 },
	}
	if err := l.StoreLog(&raft.Log{Index: 101, Term: 5}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		index, term uint64
		follows     bool
	}{{100, 4, true}, {100, 0, false}, {99, 0, true}, {102, 0, true}, {101, 5, true}, {101, 5, false}} {
		follows = c.follows
		var got raft.Log
		err := l.GetLog(c.index, &got)
		if c.term == 0 && err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares it so
			t.Errorf("entry %d, following: %v: %+v, %v", c.index, c.follows, got, err)
		}
		if c.term != 0 && (err != nil || got.Index != c.index || got.Term != c.term) {
			t.Errorf("entry %d, following: %v: %+v, %v", c.index, c.follows, got, err)
		}
	}
}
