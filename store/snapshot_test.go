package store

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

func takeLocal(t testing.TB, s *Store, index, term uint64, conf raft.Configuration, confIndex uint64) {
	t.Helper()
	k, err := s.Snapshots().Create(raft.SnapshotVersionMax, index, term, conf, confIndex, nil)
	must(t, err)
	must(t, s.PersistState().Persist(k))
	must(t, k.Close())
	must(t, k.Close()) // Raft's sinks may be closed twice
	if !strings.HasPrefix(k.ID(), idState) {
		t.Errorf("a local snapshot is called %s", k.ID())
	}
}

func openSnapshot(t testing.TB, s *Store, id string) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	m, r, err := s.Snapshots().Open(id)
	must(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	must(t, err)
	// Raft's transport sends exactly Size bytes.
	if int64(len(data)) != m.Size {
		t.Errorf("snapshot %s has %d bytes and says %d", id, len(data), m.Size)
	}
	return m, data
}

// TestLocalSnapshot: from taking one to another node having restored it.
func TestLocalSnapshot(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Log().StoreLogs(entries(1, 20, 2)))
	must(t, s.Apply(9, 2, put("a=1", "b=", "long="+strings.Repeat("x", 200_000))))
	// Entries 10 to 12 were Raft's own; the state is at 12 all the same.
	takeLocal(t, s, 12, 2, testConf, 5)
	must(t, s.Log().DeleteRange(1, 12))
	metas, err := s.Snapshots().List()
	must(t, err)
	if len(metas) != 1 || metas[0].Index != 12 || metas[0].Term != 2 || metas[0].ConfigurationIndex != 5 {
		t.Fatalf("List: %+v", metas)
	}
	// The state goes on; the snapshot is what it is when opened.
	must(t, s.Apply(15, 2, put("c=3")))
	m, stream := openSnapshot(t, s, metas[0].ID)
	if m.Index != 15 || m.Term != 2 || m.ConfigurationIndex != 5 || m.Configuration.Servers[0].ID != "a" {
		t.Errorf("Open: %+v", m)
	}

	other := openStore(t, vfs.NewMem())
	must(t, other.Log().StoreLogs(entries(1, 3, 1)))
	must(t, other.Apply(2, 1, put("old=1")))
	id := receive(t, other, m.Index, m.Term, m.Configuration, m.ConfigurationIndex, stream)
	if metas, _ := other.Snapshots().List(); len(metas) != 0 {
		t.Error("a snapshot that is not restored is offered")
	}
	m2, r, err := other.Snapshots().Open(id)
	must(t, err)
	if m2.Index != 15 || m2.Size != m.Size {
		t.Errorf("received as %+v", m2)
	}
	index, term, ok := other.Received()
	if !ok || index != 15 || term != 2 {
		t.Errorf("Received: %d, %d, %v", index, term, ok)
	}
	must(t, other.Restore(r, index, term))
	must(t, r.Close())
	for range 2 {
		if got, want := stateText(t, other), stateText(t, s); got != want {
			t.Error("the restored state is another")
		}
		if i, term := other.Applied(); i != 15 || term != 2 {
			t.Errorf("applied (%d, %d)", i, term)
		}
		if got := logText(t, other); got != "empty" {
			t.Errorf("the log is %s", got)
		}
		if _, _, ok := other.Received(); ok {
			t.Error("the snapshot is still staged")
		}
		if conf, i := other.Configuration(); i != 5 || len(conf.Servers) != 1 {
			t.Errorf("configuration %+v at %d", conf, i)
		}
		other = reopen(t, other)
	}
	if names, _ := other.opts.FS.List(testDir); strings.Contains(strings.Join(names, " "), receivedFile) {
		t.Errorf("left over: %v", names)
	}
}

// TestRestoreAndTheLog: which log survives a restore at (10, term 5).
func TestRestoreAndTheLog(t *testing.T) {
	stream := streamOf(t, 3, 1, "new=1") // what it says of itself does not count
	for _, c := range []struct {
		name    string
		logs    [][3]uint64
		want    string
		restart bool
	}{
		{"no log", nil, "empty", false},
		{"ends before", [][3]uint64{{1, 9, 4}}, "empty", false},
		{"has the entry as its last", [][3]uint64{{1, 8, 4}, {9, 10, 5}}, "1-10: 4x8 5x2", false},
		{"has the entry and more", [][3]uint64{{1, 8, 4}, {9, 12, 5}, {13, 14, 6}}, "1-14: 4x8 5x4 6x2", false},
		{"another's entry is its last", [][3]uint64{{1, 10, 4}}, "empty", true},
		{"another's entry and more", [][3]uint64{{1, 20, 4}}, "empty", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, vfs.NewMem())
			for _, l := range c.logs {
				must(t, s.Log().StoreLogs(entries(l[0], l[1], l[2])))
			}
			err := s.Restore(bytes.NewReader(stream), 10, 5)
			if c.restart != errors.Is(err, ErrRestartRaft) || (!c.restart && err != nil) {
				t.Errorf("Restore: %v", err)
			}
			for range 2 {
				if got := logText(t, s); got != c.want {
					t.Errorf("the log is %s, want %s", got, c.want)
				}
				if got := stateText(t, s); got != "new=1 " {
					t.Errorf("the state is %s", got)
				}
				s = reopen(t, s)
			}
			must(t, s.Log().StoreLogs(entries(11, 12, 6)))
		})
	}
}

// A snapshot that comes a second time takes nothing of the log that has begun behind
// the first; one of another entry at that place does.
func TestRestoreOnceMore(t *testing.T) {
	stream := streamOf(t, 3, 1, "new=1")
	for _, c := range []struct {
		term    uint64
		want    string
		restart bool
	}{{5, "11-13: 6x3", false}, {4, "empty", true}} {
		s := openStore(t, vfs.NewMem())
		must(t, s.Restore(bytes.NewReader(stream), 10, 5))
		must(t, s.Log().StoreLogs(entries(11, 13, 6)))
		err := s.Restore(bytes.NewReader(stream), 10, c.term)
		if c.restart != errors.Is(err, ErrRestartRaft) || (!c.restart && err != nil) {
			t.Errorf("at term %d: %v", c.term, err)
		}
		for range 2 {
			if got := logText(t, s); got != c.want {
				t.Errorf("at term %d: the log is %s, want %s", c.term, got, c.want)
			}
			if got := stateText(t, s); got != "new=1 " {
				t.Errorf("the state is %s", got)
			}
			s = reopen(t, s)
		}
	}
}

// A snapshot that another one has overtaken, between its being asked for and its
// being written, is none: Raft would go back to it.
func TestOvertakenSnapshotIsRefused(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Log().StoreLogs(entries(1, 10, 1)))
	must(t, s.Apply(10, 1, put("old=1")))
	persist := func(p raft.FSMSnapshot, index, term uint64) error {
		k, err := s.Snapshots().Create(raft.SnapshotVersionMax, index, term, raft.Configuration{}, 0, nil)
		must(t, err)
		if err := p.Persist(k); err != nil {
			return errors.Join(err, k.Cancel())
		}
		return k.Close()
	}
	overtaken := s.PersistState()
	must(t, s.Restore(bytes.NewReader(streamOf(t, 20, 2, "new=1")), 20, 2))
	if err := persist(overtaken, 10, 1); !errors.Is(err, ErrOldSnapshot) {
		t.Errorf("it was taken: %v", err)
	}
	if i, term := s.Applied(); i != 20 || term != 2 {
		t.Errorf("applied (%d, %d)", i, term)
	}
	must(t, persist(s.PersistState(), 20, 2))
	k, err := s.Snapshots().Create(raft.SnapshotVersionMax, 20, 2, raft.Configuration{}, 0, nil)
	must(t, err)
	must(t, s.PersistState().Persist(k))
	must(t, s.Restore(bytes.NewReader(streamOf(t, 30, 3, "newer=1")), 30, 3))
	if err := k.Close(); !errors.Is(err, ErrOldSnapshot) {
		t.Errorf("it was closed: %v", err)
	}
}

func TestOldSnapshotIsRefused(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(9, 2, put("a=1")))
	k, err := s.Snapshots().Create(raft.SnapshotVersionMax, 8, 2, testConf, 1, nil)
	must(t, err)
	if _, err := k.Write([]byte("x")); !errors.Is(err, ErrOldSnapshot) {
		t.Errorf("Write: %v", err)
	}
	must(t, k.Cancel())
	if err := s.Restore(bytes.NewReader(streamOf(t, 1, 1, "b=1")), 8, 2); !errors.Is(err, ErrOldSnapshot) {
		t.Errorf("Restore: %v", err)
	}
	if got := stateText(t, s); got != "a=1 " {
		t.Errorf("the state is %s", got)
	}
}

// TestUnsoundSnapshots: none of them reaches the state.
func TestUnsoundSnapshots(t *testing.T) {
	good := streamOf(t, 3, 1, "a=1", "b=2", "long="+strings.Repeat("x", 100_000))
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(1, 1, put("old=1")))
	try := func(name string, stream []byte) {
		t.Helper()
		k, err := s.Snapshots().Create(raft.SnapshotVersionMax, 10, 2, testConf, 1, nil)
		must(t, err)
		_, err = k.Write(stream)
		if cerr := k.Close(); err == nil && cerr == nil {
			t.Errorf("%s: received", name)
		}
		if _, _, ok := s.Received(); ok {
			t.Errorf("%s: staged", name)
		}
		if err := s.Restore(bytes.NewReader(stream), 10, 2); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	for n := 0; n < len(good); n += 1 + n/3 {
		try("cut short", good[:n])
		flipped := bytes.Clone(good)
		flipped[n] ^= 4
		try("bit flipped", flipped)
	}
	try("too long", append(bytes.Clone(good), 0))
	if got := stateText(t, s); got != "old=1 " {
		t.Errorf("the state is %s", got)
	}
	must(t, s.Restore(bytes.NewReader(good), 10, 2))
}

func TestSinkWithoutPersistIsNoSnapshot(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	k, err := s.Snapshots().Create(raft.SnapshotVersionMax, 10, 2, testConf, 1, nil)
	must(t, err)
	if err := k.Close(); err == nil {
		t.Error("an empty snapshot was received")
	}
	if i, _ := s.Applied(); i != 0 {
		t.Errorf("applied is %d", i)
	}
	for _, id := range []string{"", "x", "received-1-1"} {
		if _, _, err := s.Snapshots().Open(id); err == nil {
			t.Errorf("snapshot %q was opened", id)
		}
	}
	if _, err := s.Snapshots().Create(0, 10, 2, testConf, 1, nil); err == nil {
		t.Error("version 0 was taken")
	}
	if err := s.PersistState().Persist(&raft.DiscardSnapshotSink{}); err == nil {
		t.Error("a foreign sink was taken")
	}
}

// TestConfigurationOfLocalSnapshot: a newer one that came meanwhile stays.
func TestConfigurationOfLocalSnapshot(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Log().StoreLogs(entries(1, 20, 2)))
	must(t, s.Apply(9, 2, nil))
	s.SetConfiguration(11, testConf)
	takeLocal(t, s, 10, 2, raft.Configuration{}, 1)
	if _, i := s.Configuration(); i != 11 {
		t.Errorf("configuration of %d, want 11", i)
	}
	takeLocal(t, s, 12, 2, testConf, 1) // as RecoverCluster does
	if _, i := s.Configuration(); i != 1 {
		t.Errorf("configuration of %d, want 1", i)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	good := streamOf(f, 3, 1, "a=1", "b=2", "c=")
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add([]byte(streamMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []string
		err := ReadSnapshot(bytes.NewReader(data), nil, func(w Write) bool {
			again = append(again, string(w.Key)+"="+string(w.Value))
			return true
		})
		if err == nil && !bytes.HasPrefix(data, []byte(streamMagic)) {
			t.Errorf("read %q out of what is no snapshot", again)
		}
	})
}
