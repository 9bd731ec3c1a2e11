package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// TestLogContract is the contract that Raft has with its log, story by story.
// Each ends with the log's contents, before and after a restart.
func TestLogContract(t *testing.T) {
	store := func(from, to, term uint64) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) { must(t, s.Log().StoreLogs(entries(from, to, term))) }
	}
	cut := func(low, high uint64) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) { must(t, s.Log().DeleteRange(low, high)) }
	}
	applied := func(index uint64) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) { must(t, s.Apply(index, 1, nil)) }
	}
	type steps = []func(*testing.T, *Store)
	for _, c := range []struct {
		name string
		do   steps
		want string
	}{
		{"empty", nil, "empty"},
		{"store nothing", steps{func(t *testing.T, s *Store) { must(t, s.Log().StoreLogs(nil)) }}, "empty"},
		{"one", steps{store(1, 1, 1)}, "1-1: 1x1"},
		{"many", steps{store(1, 300, 1)}, "1-300: 1x300"},
		{"appends", steps{store(1, 3, 1), store(4, 4, 2), store(5, 6, 2)}, "1-6: 1x3 2x3"},
		{"an old tail goes", steps{store(1, 9, 1), store(4, 5, 2)}, "1-5: 1x3 2x2"},
		{"an old tail goes, same length", steps{store(1, 5, 1), store(4, 5, 2)}, "1-5: 1x3 2x2"},
		{"the whole old log goes", steps{store(1, 5, 1), store(1, 1, 2)}, "1-1: 2x1"},
		{"cut the start", steps{store(1, 9, 1), applied(6), cut(1, 4)}, "5-9: 1x5"},
		{"cut the start twice", steps{store(1, 9, 1), applied(6), cut(1, 4), cut(1, 6)}, "7-9: 1x3"},
		{"cut the end", steps{store(1, 9, 1), cut(7, 9)}, "1-6: 1x6"},
		{"cut the end, store on", steps{store(1, 9, 1), cut(7, 9), store(7, 8, 2)}, "1-8: 1x6 2x2"},
		{"cut the end, to the largest index", steps{store(1, 9, 1), cut(7, math.MaxUint64)}, "1-6: 1x6"},
		{"cut all", steps{store(1, 9, 1), cut(1, 9)}, "empty"},
		{"cut all there can be", steps{store(1, 9, 1), cut(0, math.MaxUint64)}, "empty"},
		{"cut all, store again", steps{store(1, 9, 1), cut(1, 9), store(1, 2, 2)}, "1-2: 2x2"},
		{"cut all that is applied", steps{store(1, 9, 1), applied(9), cut(1, 9), store(10, 11, 1)}, "10-11: 1x2"},
		{"cut before the log", steps{store(1, 9, 1), applied(6), cut(1, 4), cut(1, 3)}, "5-9: 1x5"},
		{"cut behind the log", steps{store(1, 9, 1), cut(10, 20)}, "1-9: 1x9"},
		{"cut an empty log", steps{cut(1, 20)}, "empty"},
		{"cut backwards", steps{store(1, 9, 1), cut(7, 6)}, "1-9: 1x9"},
		{"behind a restored snapshot", steps{store(1, 4, 1), func(t *testing.T, s *Store) {
			must(t, s.Restore(bytes.NewReader(streamOf(t, 5, 1, "a=1")), 90, 3))
		}, store(91, 92, 3)}, "91-92: 3x2"},
		{"after a gap the old entries go", steps{store(1, 4, 1), applied(8), store(9, 9, 3)}, "9-9: 3x1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, vfs.NewMem())
			for _, step := range c.do {
				step(t, s)
			}
			if got := logText(t, s); got != c.want {
				t.Errorf("log is %s, want %s", got, c.want)
			}
			if got := logText(t, reopen(t, s)); got != c.want {
				t.Errorf("after a restart the log is %s, want %s", got, c.want)
			}
		})
	}
}

func TestGetLogNotFound(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	get := func(index uint64) error { return s.Log().GetLog(index, new(raft.Log)) }
	// Compared with == by Raft: no wrapping.
	if err := get(1); err != raft.ErrLogNotFound {
		t.Errorf("empty log: %v", err)
	}
	must(t, s.Log().StoreLogs(entries(1, 9, 1)))
	must(t, s.Apply(5, 1, nil))
	must(t, s.Log().DeleteRange(1, 3))
	for _, index := range []uint64{0, 1, 3, 10, math.MaxUint64} {
		if err := get(index); err != raft.ErrLogNotFound {
			t.Errorf("entry %d: %v", index, err)
		}
	}
}

func TestEntryKeepsAllFields(t *testing.T) {
	at := time.Now()
	for _, want := range []raft.Log{
		{Index: 1, Term: 1},
		{Index: 2, Term: math.MaxUint64, Type: raft.LogConfiguration, Data: []byte{0}, AppendedAt: at},
		{Index: 3, Term: 7, Type: raft.LogBarrier, Extensions: []byte("ext")},
		{Index: 4, Term: 7, Data: bytes.Repeat([]byte("x"), 3<<20), Extensions: []byte("ext"), AppendedAt: at},
	} {
		s := openStore(t, vfs.NewMem())
		must(t, s.Apply(want.Index-1, 1, nil))
		must(t, s.Log().StoreLog(&want))
		var got raft.Log
		must(t, reopen(t, s).Log().GetLog(want.Index, &got))
		if !got.AppendedAt.Equal(want.AppendedAt) {
			t.Errorf("entry %d: appended at %v, want %v", want.Index, got.AppendedAt, want.AppendedAt)
		}
		got.AppendedAt = want.AppendedAt
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestGetLogIsACopy: Raft keeps entries long after the block they came from.
func TestGetLogIsACopy(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Log().StoreLogs(entries(1, 2, 1)))
	var one, two raft.Log
	must(t, s.Log().GetLog(1, &one))
	one.Data[0] = 'X'
	must(t, s.Log().GetLog(1, &two))
	if string(two.Data) != "entry 1 of term 1" {
		t.Errorf("entry 1 is %q", two.Data)
	}
}

func TestStoreLogsRefusesAWrongOrder(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	for _, logs := range [][]*raft.Log{
		{entry(0, 1, "")},
		{entry(1, 1, ""), entry(3, 1, "")},
		{entry(2, 1, ""), entry(1, 1, "")},
	} {
		if err := s.Log().StoreLogs(logs); err == nil {
			t.Error("entries without order were stored")
		}
	}
	must(t, s.Log().StoreLogs(entries(1, 9, 1)))
	if err := s.Log().DeleteRange(3, 4); err == nil {
		t.Error("a gap was cut into the log")
	}
	if got := logText(t, s); got != "1-9: 1x9" {
		t.Error(got)
	}
}

// TestLogJoinsTheState: a change that would lose entries is never written.
func TestLogJoinsTheState(t *testing.T) {
	for name, f := range map[string]func(s *Store){
		"gap behind the log":       func(s *Store) { _ = s.Log().StoreLogs(entries(12, 12, 1)) },
		"truncated by an append":   func(s *Store) { _ = s.Log().StoreLogs(entries(3, 3, 2)) },
		"end cut before applied":   func(s *Store) { _ = s.Log().DeleteRange(5, 9) },
		"start cut beyond applied": func(s *Store) { _ = s.Log().DeleteRange(1, 7) },
		"all cut, not all applied": func(s *Store) { _ = s.Log().DeleteRange(1, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, vfs.NewMem())
			must(t, s.Log().StoreLogs(entries(1, 9, 1)))
			must(t, s.Apply(6, 1, put("a=1")))
			wantFatal(t, "a change of the log was not made", func() { f(s) })
			abandon(t, s)
			s = openStore(t, s.opts.FS)
			if got := logText(t, s); got != "1-9: 1x9" {
				t.Errorf("the log is %s", got)
			}
		})
	}
}

// abandon ends a store that met a fatal error, which must not write any more.
func abandon(t *testing.T, s *Store) {
	t.Helper()
	must(t, s.db.Close())
	s.witness.close()
	must(t, s.dir.lock.Close())
	s.closeOnce.Do(func() {})
}

// TestDamagedEntries writes damage under the store's feet, as a disk does that
// passes Pebble's checksums.
func TestDamagedEntries(t *testing.T) {
	flip := func(t *testing.T, s *Store, index uint64, at int) {
		value, err := read(s.db, logKey(index))
		must(t, err)
		value[at] ^= 1
		must(t, s.db.Set(logKey(index), value, pebble.Sync))
	}
	damages := map[string]func(t *testing.T, s *Store){
		"version":   func(t *testing.T, s *Store) { flip(t, s, 5, 0) },
		"sum":       func(t *testing.T, s *Store) { flip(t, s, 5, 2) },
		"term":      func(t *testing.T, s *Store) { flip(t, s, 5, 13) },
		"data":      func(t *testing.T, s *Store) { flip(t, s, 5, entryHeader+3) },
		"cut short": func(t *testing.T, s *Store) { must(t, s.db.Set(logKey(5), []byte{1, 2}, pebble.Sync)) },
		"missing":   func(t *testing.T, s *Store) { must(t, s.db.Delete(logKey(5), pebble.Sync)) },
		"another's data": func(t *testing.T, s *Store) {
			value, err := read(s.db, logKey(4))
			must(t, err)
			must(t, s.db.Set(logKey(5), value, pebble.Sync))
		},
	}
	for name, do := range damages {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, vfs.NewMem())
			must(t, s.Log().StoreLogs(entries(1, 9, 1)))
			do(t, s)
			wantFatal(t, "damaged", func() { _ = s.Log().GetLog(5, new(raft.Log)) })
			abandon(t, s)
			if _, err := Open(testOptions(s.opts.FS)); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestGapBeforeState: with a lost piece between log and state nothing starts.
func TestGapBeforeState(t *testing.T) {
	for name, c := range map[string]struct{ from, to uint64 }{
		"log ends before the state":   {4, 9},
		"log starts behind the state": {1, 6},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openStore(t, fs)
			must(t, s.Log().StoreLogs(entries(1, 9, 1)))
			must(t, s.Apply(5, 1, nil))
			must(t, s.db.DeleteRange(logKey(c.from), logKey(c.to+1), pebble.Sync))
			closeStore(t, s)
			if _, err := Open(testOptions(fs)); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestReadersDuringCuts: what a reader gets is an entry or ErrLogNotFound,
// also while the log is cut and overwritten.
func TestReadersDuringCuts(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Log().StoreLogs(entries(1, 50, 1)))
	done := make(chan error)
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			var l raft.Log
			if err := s.Log().GetLog(1+i%60, &l); err != nil && err != raft.ErrLogNotFound {
				done <- err
				return
			}
		}
	}()
	for term := uint64(2); term < 60; term++ {
		must(t, s.Log().DeleteRange(30, 60))
		must(t, s.Log().StoreLogs(entries(30, 40, term)))
		must(t, s.Log().StoreLogs(entries(20, 50, term)))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
