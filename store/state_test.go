package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

func TestStableContract(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	st := s.Stable()
	if v, err := st.Get([]byte("missing")); v != nil || err != nil {
		t.Errorf("missing key: %v, %v", v, err)
	}
	if v, err := st.GetUint64([]byte("missing")); v != 0 || err != nil {
		t.Errorf("missing number: %v, %v", v, err)
	}
	must(t, st.Set([]byte("empty"), nil))
	must(t, st.SetUint64([]byte("CurrentTerm"), math.MaxUint64))
	must(t, st.SetUint64([]byte("LastVoteTerm"), 7))
	must(t, st.SetUint64([]byte("LastVoteTerm"), 8))
	must(t, st.Set([]byte("LastVoteCand"), []byte("node-a")))
	s = reopen(t, s)
	st = s.Stable()
	if v, err := st.Get([]byte("LastVoteCand")); string(v) != "node-a" || err != nil {
		t.Errorf("LastVoteCand: %q, %v", v, err)
	}
	if v, err := st.Get([]byte("empty")); len(v) != 0 || err != nil {
		t.Errorf("empty: %q, %v", v, err)
	}
	for key, want := range map[string]uint64{"CurrentTerm": math.MaxUint64, "LastVoteTerm": 8} {
		if v, err := st.GetUint64([]byte(key)); v != want || err != nil {
			t.Errorf("%s: %d, %v", key, v, err)
		}
	}
	if _, err := st.GetUint64([]byte("LastVoteCand")); err == nil {
		t.Error("a text was read as a number")
	}
}

func TestNewStoreIsEmptyForRaft(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	has, err := raft.HasExistingState(s.Log(), s.Stable(), s.Snapshots())
	if has || err != nil {
		t.Errorf("HasExistingState: %v, %v", has, err)
	}
}

func TestApply(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	check := func(wantIndex, wantTerm uint64, want string) {
		t.Helper()
		for _, when := range []string{"now", "after a restart"} {
			if i, term := s.Applied(); i != wantIndex || term != wantTerm {
				t.Errorf("%s applied is (%d, %d), want (%d, %d)", when, i, term, wantIndex, wantTerm)
			}
			if got := strings.TrimSpace(stateText(t, s)); got != want {
				t.Errorf("%s the state is %q, want %q", when, got, want)
			}
			s = reopen(t, s)
		}
	}
	check(0, 0, "")
	must(t, s.Apply(1, 1, put("b=2", "a=1", "c=")))
	check(1, 1, "a=1 b=2 c=")
	must(t, s.Apply(2, 3, put("a", "b=3", "missing")))
	check(2, 3, "b=3 c=")
	must(t, s.Apply(5, 4, nil)) // Raft's own entries between do not reach us
	check(5, 4, "b=3 c=")
	must(t, s.Apply(5, 4, nil)) // again: nothing
	if err := s.Apply(4, 4, put("x=1")); err == nil {
		t.Error("an old entry was applied")
	}
	check(5, 4, "b=3 c=")
}

func TestStateStopsWhenTold(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(1, 1, put("a=1", "b=2")))
	n := 0
	must(t, s.State(func(Write) bool { n++; return false }))
	if n != 1 {
		t.Errorf("%d records after stopping at the first", n)
	}
}

func TestSetConfiguration(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	list := func() []*raft.SnapshotMeta {
		t.Helper()
		metas, err := s.Snapshots().List()
		must(t, err)
		return metas
	}
	must(t, s.Log().StoreLogs(entries(1, 9, 2)))
	must(t, s.Apply(2, 2, put("a=1")))
	if n := len(list()); n != 0 {
		t.Errorf("a state without a configuration is offered as %d snapshots", n)
	}
	s.SetConfiguration(3, testConf)
	for range 2 {
		if i, term := s.Applied(); i != 2 || term != 2 {
			t.Errorf("applied is (%d, %d), want (2, 2)", i, term)
		}
		conf, index := s.Configuration()
		if index != 3 || !reflect.DeepEqual(conf, testConf) {
			t.Errorf("configuration %+v at %d", conf, index)
		}
		m := list()
		if len(m) != 1 || m[0].Index != 2 || m[0].Term != 2 || m[0].ConfigurationIndex != 3 ||
			!reflect.DeepEqual(m[0].Configuration, testConf) {
			t.Errorf("List: %+v", m)
		}
		s = reopen(t, s)
	}
}

func TestMetrics(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	must(t, s.Log().StoreLogs(entries(1, 9, 2)))
	must(t, s.Apply(7, 2, put("a=1")))
	must(t, s.Sync())
	m := s.Metrics()
	if m.LogFirst != 1 || m.LogLast != 9 || m.AppliedIndex != 7 || m.AppliedTerm != 2 || m.DiskBytes == 0 || m.MemTableBytes == 0 {
		t.Errorf("%+v", m)
	}
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 5, TotalBytes: 9})
	if free, total, err := s.DiskFree(); free != 5 || total != 9 || err != nil {
		t.Errorf("DiskFree: %d, %d, %v", free, total, err)
	}
}

// TestBackupDuringApply: a backup is the state of one moment, whatever is
// applied meanwhile.
func TestBackupDuringApply(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	const keys = 2000
	all := func(i int) []Write {
		var ws []Write
		for k := range keys {
			ws = append(ws, put(fmt.Sprintf("%04d=%d", k, i))...)
		}
		return ws
	}
	must(t, s.Apply(1, 1, all(1)))
	b, err := s.OpenBackup(BackupInfo{})
	must(t, err)
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, b.state)
		_ = w.CloseWithError(errors.Join(err, b.Close()))
	}()
	var index uint64
	n := 0
	must(t, ReadSnapshot(r, func(h SnapshotHeader) error { index = h.Index; return nil }, func(w Write) bool {
		if n%100 == 0 {
			must(t, s.Apply(uint64(2+n), 1, all(2+n)))
		}
		if string(w.Value) != "1" {
			t.Fatalf("record %s is of entry %s", w.Key, w.Value)
		}
		n++
		return true
	}))
	if n != keys || index != 1 {
		t.Errorf("%d records at index %d", n, index)
	}
}

// TestCompactionsRun: they are held back while a store is opened, and no longer.
func TestCompactionsRun(t *testing.T) {
	o := crashOptions()
	o.FS = vfs.NewMem()
	s, err := Open(o)
	must(t, err)
	defer closeStore(t, s)
	value := strings.Repeat("v", 1000)
	index := uint64(0)
	eventually(t, "compactions", func() bool {
		for range 100 {
			index++
			must(t, s.Apply(index, 1, put(fmt.Sprintf("key%d=%s", index%50, value))))
		}
		return s.Metrics().Compactions > 5
	})
	eventually(t, "the end of the backlog", func() bool { return s.db.Metrics().Levels[0].Sublevels < 5 })
}

// TestConfigurationDoesNotPassPendingWrites: the apply loop may write the state
// some entries late. A configuration that comes meanwhile must not make the
// store claim those entries: after a crash they would never be replayed.
func TestConfigurationDoesNotPassPendingWrites(t *testing.T) {
	disk := newDisk(t)
	s := openStore(t, disk)
	must(t, s.Log().StoreLogs(entries(1, 9, 2)))
	must(t, s.Apply(5, 2, put("a=1")))
	s.SetConfiguration(8, testConf) // the writes of 6 and 7 have not come yet
	must(t, s.Sync())
	if i, _ := openStore(t, disk.CrashClone(vfs.CrashCloneCfg{})).Applied(); i != 5 {
		t.Errorf("after a crash the store claims entry %d, it has those up to 5", i)
	}
	must(t, s.Apply(7, 2, put("b=2")))
	if got := stateText(t, s); got != "a=1 b=2 " {
		t.Errorf("the state is %s", got)
	}
}
