package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// protocolWorld has a node with connection a open, and applies ops as they are.
func protocolWorld(t *testing.T) (*node, *conn, func(ops ...fsm.Op) *fsm.Effects) {
	t.Helper()
	w := newWorld(1)
	_, n, err := w.register("n1", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, open := w.open(n, "a", "", "")
	raw := func(ops ...fsm.Op) *fsm.Effects {
		t.Helper()
		ptrs := make([]*fsm.Op, len(ops))
		for i := range ops {
			ptrs[i] = &ops[i]
		}
		w.index++
		eff, err := w.apply(w.index, 1, w.time, nil, []fsm.Item{n.batchOf(ptrs...)})
		if err != nil {
			t.Fatal(err)
		}
		return eff
	}
	raw(*open)
	return n, c, raw
}

// outcome says what became of the ops of one entry.
func outcome(eff *fsm.Effects) string {
	var out []string
	for _, r := range eff.Replies {
		out = append(out, fmt.Sprintf("%d:%s %d", r.Seq, codeNames[r.Code], r.Int))
	}
	for _, a := range eff.Refused {
		out = append(out, fmt.Sprintf("%d:refused", a.Seq))
	}
	for _, ev := range eff.Events {
		out = append(out, map[fsm.EventKind]string{fsm.EventClose: "close", fsm.EventUnknown: "unknown", fsm.EventAttached: "attached", fsm.EventDetached: "detached"}[ev.Kind])
	}
	return strings.Join(out, ", ")
}

func wantOutcome(t *testing.T, eff *fsm.Effects, want string) {
	t.Helper()
	if got := outcome(eff); got != want {
		t.Fatalf("outcome: %q, want %q", got, want)
	}
}

// The machine applies op s of a connection only after s-1, each once.
func TestSequenceOfAConnection(t *testing.T) {
	_, c, raw := protocolWorld(t)
	op := func(seq uint64, code fsm.OpCode) fsm.Op {
		return fsm.Op{Conn: c.id, Seq: seq, Code: code, Key: []byte("k")}
	}
	wantOutcome(t, raw(op(3, fsm.OpLockCount), op(4, fsm.OpUnlock)), "3:refused, 4:refused")
	wantOutcome(t, raw(op(3, fsm.OpLockCount), op(2, fsm.OpLock), op(4, fsm.OpUnlock)), "2:OK 1, 3:refused, 4:refused")
	wantOutcome(t, raw(op(3, fsm.OpLockCount), op(4, fsm.OpUnlock)), "3:OK 1, 4:OK 0")
	wantOutcome(t, raw(op(2, fsm.OpLock), op(4, fsm.OpUnlock)), "") // applied before
	wantOutcome(t, raw(op(5, fsm.OpFence)), "5:OK 0")
}

// A first op with another number than 1 of an unknown connection brings nothing to
// life; nor does an op after the connection's end.
func TestUnknownConnection(t *testing.T) {
	n, c, raw := protocolWorld(t)
	stranger := n.inc.Conn(77)
	wantOutcome(t, raw(fsm.Op{Conn: stranger, Seq: 2, Code: fsm.OpLock, Key: []byte("k")}), "unknown")
	wantOutcome(t, raw(fsm.Op{Conn: stranger, Seq: 1, Code: fsm.OpLock, Key: []byte("k")}), "unknown")
	wantOutcome(t, raw(fsm.Op{Conn: stranger, Seq: 2, Code: fsm.OpOpen}), "unknown")
	wantOutcome(t, raw(fsm.Op{Conn: c.id, Seq: 2, Code: fsm.OpLock, Key: []byte("k")}), "2:OK 1")
	wantOutcome(t, raw(fsm.Op{Conn: c.id, Code: fsm.OpEnd}), "")
	wantOutcome(t, raw(fsm.Op{Conn: c.id, Code: fsm.OpEnd}), "")
	wantOutcome(t, raw(fsm.Op{Conn: c.id, Seq: 3, Code: fsm.OpLockCount, Key: []byte("k")}), "unknown")
	wantOutcome(t, raw(fsm.Op{Conn: stranger, Seq: 1, Code: fsm.OpOpen}, fsm.Op{Conn: stranger, Seq: 2, Code: fsm.OpFence, Key: []byte("k")}), "1:OK 0, 2:OK 0")
}

// While a connection waits none of its ops is applied, but its end is; UNBLOCK and
// KILL come from others.
func TestOpsBehindAWait(t *testing.T) {
	n, c, raw := protocolWorld(t)
	other := n.inc.Conn(2)
	k := []byte("k")
	wantOutcome(t, raw(fsm.Op{Conn: other, Seq: 1, Code: fsm.OpOpen}, fsm.Op{Conn: other, Seq: 2, Code: fsm.OpLock, Key: k}), "1:OK 0, 2:OK 1")
	wantOutcome(t, raw(
		fsm.Op{Conn: c.id, Seq: 2, Code: fsm.OpLock, Key: k},
		fsm.Op{Conn: c.id, Seq: 3, Code: fsm.OpReset},
		fsm.Op{Conn: c.id, Seq: 4, Code: fsm.OpDescribe, Name: k},
	), "3:refused, 4:refused")
	wantOutcome(t, raw(fsm.Op{Conn: c.id, Seq: 3, Code: fsm.OpReset}), "3:refused")
	// The grant and the ops behind it in one entry.
	wantOutcome(t, raw(
		fsm.Op{Conn: other, Seq: 3, Code: fsm.OpUnlock, Key: k},
		fsm.Op{Conn: c.id, Seq: 3, Code: fsm.OpLockCount, Key: k},
	), "2:OK 2, 3:OK 0, 3:OK 1")
	wantOutcome(t, raw(fsm.Op{Conn: other, Seq: 4, Code: fsm.OpLock, Key: k}), "")
	wantOutcome(t, raw(fsm.Op{Conn: other, Code: fsm.OpEnd}, fsm.Op{Conn: c.id, Seq: 4, Code: fsm.OpLockWaiters, Key: k}), "4:OK 0")
}

// The hash tells states apart, and says the same of the same.
func TestHash(t *testing.T) {
	seen := map[uint64]string{}
	s := newStory()
	for _, line := range []string{
		"open c1 c2", "c1: LOCK k", "c1: LOCK k", "c2: LOCK k", "c1: RENEW k 500", "tick +1", "c1: UNLOCK k", "c1: UNLOCK k", "c2: SESSION LIST", "c2: DESTROY z",
		"c2: CONFIG SET max-holds 7", "close c2 c1", "term",
	} {
		if err := s.line(line); err != nil {
			t.Fatal(err)
		}
		if h := s.m.Hash(); seen[h] != "" {
			t.Fatalf("the same hash after %q and after %q", seen[h], line)
		} else {
			seen[h] = line
		}
	}
	if a, b := fsm.New(), fsm.New(); a.Hash() != b.Hash() {
		t.Fatal("two empty machines have two hashes")
	}
}

// An empty machine, one loaded from nothing, and what it refuses to load.
func TestEmptyMachine(t *testing.T) {
	m := fsm.New()
	if i, term := m.Applied(); i != 0 || term != 0 || m.Now() != 0 {
		t.Fatalf("an empty machine is at %d, %d, time %d", i, term, m.Now())
	}
	if _, ok := m.NextDeadline(); ok || m.NewestIncarnation("n1") != 0 || m.Settings() != fsm.DefaultSettings() {
		t.Fatal("an empty machine has a deadline, a node or settings of its own")
	}
	if err := m.Load(func(func(fsm.Record) bool) {}); err != nil || m.CheckInvariants() != nil {
		t.Fatalf("loading nothing: %v", err)
	}
	for _, name := range fsm.SettingNames() {
		if v, ok := m.Setting(name); !ok || v == "" {
			t.Fatalf("setting %s is %q", name, v)
		}
	}
	full := richRecords()
	if err := m.Load(func(yield func(fsm.Record) bool) {
		for _, r := range full {
			if !yield(r) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if m.NewestIncarnation("n1") != 1 {
		t.Fatalf("newest incarnation of n1 is %d", m.NewestIncarnation("n1"))
	}
	// A load replaces all there was; one that fails leaves nothing.
	if err := m.Load(func(yield func(fsm.Record) bool) { yield(fsm.Record{Key: []byte("?"), Value: []byte{1}}) }); err == nil {
		t.Fatal("an unknown record was loaded")
	}
	if m.Stats().Holds != 0 || m.Hash() != fsm.New().Hash() {
		t.Fatal("a failed load left something behind")
	}
}
