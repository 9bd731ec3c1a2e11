package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// testFSM is a state machine over a store as cluster's is: each entry is one
// record.
type testFSM struct {
	s    *Store
	mu   sync.Mutex
	seen []uint64 // indexes of the entries that were applied since the start
	err  error    // of the last Restore
}

func (f *testFSM) Apply(l *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, l.Index)
	return f.s.Apply(l.Index, l.Term, []Write{{Key: l.Data, Value: fmt.Appendf(nil, "%d", l.Index)}})
}

func (f *testFSM) StoreConfiguration(index uint64, conf raft.Configuration) {
	f.s.SetConfiguration(index, conf)
}

func (f *testFSM) Snapshot() (raft.FSMSnapshot, error) { return f.s.PersistState(), nil }

func (f *testFSM) Restore(r io.ReadCloser) error {
	index, term, _ := f.s.Received()
	err := f.s.Restore(r, index, term)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	return err
}

func (f *testFSM) entries() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]uint64(nil), f.seen...)
}

func raftConfig(id string) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout, c.ElectionTimeout = 50*time.Millisecond, 50*time.Millisecond
	c.LeaderLeaseTimeout, c.CommitTimeout = 50*time.Millisecond, 5*time.Millisecond
	c.SnapshotInterval, c.SnapshotThreshold = time.Hour, 1<<40 // only on demand
	c.TrailingLogs = 10
	c.NoSnapshotRestoreOnStart = true
	c.LogOutput = io.Discard
	return c
}

// node is a Raft node on a store.
type node struct {
	*raft.Raft
	fsm   *testFSM
	trans *raft.InmemTransport
}

func startRaft(t *testing.T, s *Store, c *raft.Config, addr string) *node {
	t.Helper()
	_, trans := raft.NewInmemTransport(raft.ServerAddress(addr))
	fsm := &testFSM{s: s}
	r, err := raft.NewRaft(c, fsm, s.Log(), s.Stable(), s.Snapshots(), trans)
	must(t, err)
	return &node{r, fsm, trans}
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	must(t, n.Shutdown().Error())
	must(t, n.trans.Close())
}

func (n *node) lead(t *testing.T) {
	t.Helper()
	eventually(t, "a leader", func() bool { return n.State() == raft.Leader })
	must(t, n.Barrier(10*time.Second).Error())
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestRaftSingleNode: what was applied is not applied again after a restart,
// with a log that was never cut and with one that was cut at a snapshot.
func TestRaftSingleNode(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	_, trans := raft.NewInmemTransport("a")
	must(t, raft.BootstrapCluster(raftConfig("a"), s.Log(), s.Stable(), s.Snapshots(), trans,
		raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}))
	must(t, trans.Close())

	want := 0
	for round := range 4 {
		n := startRaft(t, s, raftConfig("a"), "a")
		n.lead(t)
		if got := n.fsm.entries(); len(got) != 0 {
			t.Errorf("round %d: entries %v were applied again", round, got)
		}
		for i := range 100 {
			must(t, n.Apply(fmt.Appendf(nil, "key %d.%d", round, i), time.Second).Error())
			want++
		}
		if round%2 == 1 {
			must(t, n.Barrier(time.Second).Error()) // its index is the snapshot's, and not in the state
			must(t, n.Snapshot().Error())
			if first := s.log.first.Load(); first < uint64(want-20) {
				t.Errorf("round %d: the log was not cut, it starts at %d", round, first)
			}
		}
		n.stop(t)
		records := 0
		must(t, s.State(func(Write) bool { records++; return true }))
		if records != want {
			t.Errorf("round %d: %d records, want %d", round, records, want)
		}
		s = reopen(t, s)
	}
}

// TestRaftReplaysWhatTheStateLost: state that was not synced comes back from the log.
func TestRaftReplaysWhatTheStateLost(t *testing.T) {
	disk := newDisk(t)
	s := openStore(t, disk)
	must(t, s.Log().StoreLog(&raft.Log{
		Index: 1, Term: 1, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}),
	}))
	for i := uint64(2); i <= 50; i++ {
		must(t, s.Log().StoreLog(entry(i, 1, fmt.Sprintf("key %d", i))))
	}
	must(t, s.Stable().SetUint64([]byte("CurrentTerm"), 1))
	for i := uint64(2); i <= 30; i++ {
		must(t, s.Apply(i, 1, put(fmt.Sprintf("key %d=%d", i, i))))
	}
	s = openStore(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	applied, _ := s.Applied()
	if applied > 30 {
		t.Fatalf("the state is at %d", applied)
	}
	n := startRaft(t, s, raftConfig("a"), "a")
	n.lead(t)
	if got := n.fsm.entries(); len(got) != int(50-max(applied, 1)) || got[0] != max(applied, 1)+1 || got[len(got)-1] != 50 {
		t.Errorf("from %d on the entries %v were applied", applied, got)
	}
	n.stop(t)
}

// TestRaftConfigurationNewerThanTheState: Raft starts on a state that is behind
// its configuration, and replays the entries between.
func TestRaftConfigurationNewerThanTheState(t *testing.T) {
	conf := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}
	s := openStore(t, vfs.NewMem())
	logs := entries(1, 9, 1)
	for _, i := range []int{0, 6} { // entries 1 and 7
		logs[i].Type, logs[i].Data = raft.LogConfiguration, raft.EncodeConfiguration(conf)
	}
	must(t, s.Log().StoreLogs(logs))
	must(t, s.Stable().SetUint64([]byte("CurrentTerm"), 1))
	must(t, s.Apply(4, 1, put("a=1")))
	s.SetConfiguration(7, conf)
	n := startRaft(t, reopen(t, s), raftConfig("a"), "a")
	n.lead(t)
	if got := fmt.Sprint(n.fsm.entries()); got != "[5 6 8 9]" {
		t.Errorf("the entries %s were applied", got)
	}
	n.stop(t)
}

// TestRaftUserRestore: a backup is restored through Raft, which puts it behind
// the log, and the node starts again on it.
func TestRaftUserRestore(t *testing.T) {
	backup := streamOf(t, 7, 3, "from=backup")
	s := openStore(t, vfs.NewMem())
	_, trans := raft.NewInmemTransport("a")
	must(t, raft.BootstrapCluster(raftConfig("a"), s.Log(), s.Stable(), s.Snapshots(), trans,
		raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}))
	must(t, trans.Close())
	n := startRaft(t, s, raftConfig("a"), "a")
	n.lead(t)
	for i := range 20 {
		must(t, n.Apply(fmt.Appendf(nil, "key %d", i), time.Second).Error())
	}
	meta := &raft.SnapshotMeta{Version: 1, Index: 7, Term: 3, Size: int64(len(backup))}
	must(t, n.Restore(meta, bytes.NewReader(backup), 10*time.Second))
	must(t, n.Apply([]byte("after"), time.Second).Error())
	want := stateText(t, s)
	n.stop(t)
	s = reopen(t, s)
	n = startRaft(t, s, raftConfig("a"), "a")
	n.lead(t)
	if got := stateText(t, s); got != want || got[:6] != "after=" {
		t.Errorf("the state is %q, was %q", got, want)
	}
	n.stop(t)
}

// leaderOf is the fake leader of TestConflictingSnapshot.
type leaderOf struct {
	trans *raft.InmemTransport
	term  uint64
}

func (l leaderOf) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte("b"), Addr: []byte("b")}
}

func (l leaderOf) append(t *testing.T, to *node, prev, prevTerm uint64, logs ...*raft.Log) bool {
	t.Helper()
	l.trans.Connect("a", to.trans)
	req := &raft.AppendEntriesRequest{RPCHeader: l.header(), Term: l.term, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: logs}
	var resp raft.AppendEntriesResponse
	must(t, l.trans.AppendEntries("a", "a", req, &resp))
	return resp.Success
}

func (l leaderOf) install(t *testing.T, to *node, index, term uint64, stream []byte) error {
	t.Helper()
	l.trans.Connect("a", to.trans)
	conf := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}, {ID: "b", Address: "b"}}}
	req := &raft.InstallSnapshotRequest{
		RPCHeader: l.header(), SnapshotVersion: 1, Term: l.term, LastLogIndex: index, LastLogTerm: term,
		Configuration: raft.EncodeConfiguration(conf), ConfigurationIndex: 1, Size: int64(len(stream)),
	}
	var resp raft.InstallSnapshotResponse
	return l.trans.InstallSnapshot("a", "a", req, &resp, bytes.NewReader(stream))
}

// TestConflictingSnapshot is hashicorp/raft#697: a follower whose log ends in
// entries of a lost leader gets a snapshot at one of them. It must then take
// the entries that follow; without ErrRestartRaft and the restart it would
// refuse them for ever.
func TestConflictingSnapshot(t *testing.T) {
	stream := streamOf(t, 100, 5, "new=1")
	for name, last := range map[string]uint64{
		"the log ends before the snapshot": 90,
		"the log ends at the snapshot":     100,
		"the log ends behind the snapshot": 120,
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, vfs.NewMem())
			must(t, s.Log().StoreLogs(entries(1, last, 3)))
			must(t, s.Apply(50, 3, put("old=1")))
			must(t, s.Stable().SetUint64([]byte("CurrentTerm"), 3))
			s.SetConfiguration(1, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}, {ID: "b", Address: "b"}}})
			c := raftConfig("a")
			c.HeartbeatTimeout, c.ElectionTimeout = time.Hour, time.Hour // it must not stand for election
			n := startRaft(t, s, c, "a")
			_, trans := raft.NewInmemTransport("b")
			leader := leaderOf{trans, 6}

			err := leader.install(t, n, 100, 5, stream)
			if last >= 100 {
				n.fsm.mu.Lock()
				ferr := n.fsm.err
				n.fsm.mu.Unlock()
				if err == nil || !errors.Is(ferr, ErrRestartRaft) {
					t.Fatalf("InstallSnapshot: %v, Restore: %v", err, ferr)
				}
				if leader.append(t, n, 100, 5, entries(101, 101, 6)...) {
					t.Error("hashicorp/raft takes entries now: ErrRestartRaft is no longer needed")
				}
				n.stop(t)
				n = startRaft(t, s, c, "a")
			} else if err != nil {
				t.Fatalf("InstallSnapshot: %v", err)
			}
			if !leader.append(t, n, 100, 5, entries(101, 103, 6)...) {
				t.Error("the entries behind the snapshot were refused")
			}
			n.stop(t)
			must(t, trans.Close())
			s = reopen(t, s)
			if got := logText(t, s); got != "101-103: 6x3" {
				t.Errorf("the log is %s", got)
			}
			if got := stateText(t, s); got != "new=1 " {
				t.Errorf("the state is %s", got)
			}
		})
	}
}
