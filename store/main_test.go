package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

// childEnv is set in the process that TestFaults starts: it abandons stores
// whose writes hang for ever, so it cannot be checked for leaks.
const childEnv = "REDLOCKD_STORE_FAULTS"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

const testDir = "data"

// fatalPanic is what OnFatal panics with in tests.
type fatalPanic struct{ err error }

func testOptions(fs vfs.FS) Options {
	return Options{
		Dir: testDir, FS: fs,
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnFatal: func(err error) { panic(fatalPanic{err}) },
	}
}

func openStore(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(testOptions(fs))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// reopen closes s and opens its directory again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	return openStore(t, s.opts.FS)
}

// wantFatal runs f, which must end in OnFatal with a message that has text in it.
func wantFatal(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		switch r := recover().(type) {
		case fatalPanic:
			if !strings.Contains(r.err.Error(), text) {
				t.Errorf("fatal with %q, want %q in it", r.err, text)
			}
		default:
			t.Errorf("not fatal but %v", r)
		}
	}()
	f()
}

func entry(index, term uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: term, Data: []byte(data)}
}

// entries makes the entries from..to of a term.
func entries(from, to, term uint64) []*raft.Log {
	var logs []*raft.Log
	for i := from; i <= to; i++ {
		logs = append(logs, entry(i, term, fmt.Sprintf("entry %d of term %d", i, term)))
	}
	return logs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logText shows the log as "first-last: term x count, ...", read entry by entry.
func logText(t testing.TB, s *Store) string {
	t.Helper()
	first, err := s.Log().FirstIndex()
	must(t, err)
	last, err := s.Log().LastIndex()
	must(t, err)
	if first == 0 && last == 0 {
		return "empty"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%d:", first, last)
	var term, n uint64
	for i := first; i <= last; i++ {
		var l raft.Log
		must(t, s.Log().GetLog(i, &l))
		if want := fmt.Sprintf("entry %d of term %d", i, l.Term); l.Index != i || string(l.Data) != want {
			t.Fatalf("entry %d is %d with %q", i, l.Index, l.Data)
		}
		if l.Term != term && n > 0 {
			fmt.Fprintf(&b, " %dx%d", term, n)
			n = 0
		}
		term, n = l.Term, n+1
	}
	fmt.Fprintf(&b, " %dx%d", term, n)
	return b.String()
}

// stateText shows the state's records.
func stateText(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	must(t, s.State(func(w Write) bool {
		if w.Value == nil {
			t.Fatalf("record %q has a nil value", w.Key)
		}
		fmt.Fprintf(&b, "%s=%s ", w.Key, w.Value)
		return true
	}))
	return b.String()
}

// put makes Writes of "key=value" and, to delete, "key".
func put(pairs ...string) []Write {
	var ws []Write
	for _, p := range pairs {
		k, v, set := strings.Cut(p, "=")
		w := Write{Key: []byte(k)}
		if set {
			w.Value = []byte(v)
		}
		ws = append(ws, w)
	}
	return ws
}

var testConf = raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "a", Address: "a:1"}}}

// stream writes the state's stream to w, and returns the index that it is of.
func stream(t testing.TB, s *Store, w io.Writer) uint64 {
	t.Helper()
	r, err := s.newStateReader(false)
	must(t, err)
	_, err = io.Copy(w, r)
	must(t, err)
	must(t, r.Close())
	return r.meta.applied.index
}

// streamOf returns the stream of a store with the given records.
func streamOf(t testing.TB, index, term uint64, records ...string) []byte {
	t.Helper()
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(index, term, put(records...)))
	var b bytes.Buffer
	if got := stream(t, s, &b); got != index {
		t.Fatalf("a stream of index %d, want %d", got, index)
	}
	return b.Bytes()
}

// receive gives the store a snapshot as Raft does.
func receive(t testing.TB, s *Store, index, term uint64, conf raft.Configuration, confIndex uint64, stream []byte) string {
	t.Helper()
	k, err := s.Snapshots().Create(raft.SnapshotVersionMax, index, term, conf, confIndex, nil)
	must(t, err)
	_, err = io.Copy(k, bytes.NewReader(stream))
	must(t, err)
	must(t, k.Close())
	return k.ID()
}
