package fsm_test

import (
	"slices"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// nodesMachine drives a machine with registrations and keepalives.
type nodesMachine struct {
	t     *testing.T
	m     *fsm.Machine
	index uint64
	time  int64
}

func (n *nodesMachine) apply(keepalives []fsm.Keepalive, items ...fsm.Item) *fsm.Effects {
	n.t.Helper()
	n.index++
	eff := n.m.Apply(&fsm.Entry{Index: n.index, Term: 1, Time: n.time, Keepalives: keepalives, Items: items})
	if err := n.m.CheckInvariants(); err != nil {
		n.t.Fatal(err)
	}
	return eff
}

func (n *nodesMachine) register(name, disk string, nonce byte, replaces fsm.Incarnation) fsm.Registered {
	n.t.Helper()
	r := fsm.Register{Node: name, Nonce: fsm.Nonce{nonce}, Replaces: replaces, Disk: disk, Announce: name + ":1"}
	return n.apply(nil, fsm.Item{Kind: fsm.ItemRegister, Register: r}).Registered[0]
}

// A node on another disk is refused until it was removed; the removal ends its
// incarnation, and what comes late of the old life is refused too.
func TestNodeAndDisk(t *testing.T) {
	n := &nodesMachine{t: t, m: fsm.New()}
	if r := n.register("a", "d1", 1, 0); r.Incarnation != 1 {
		t.Fatal(r)
	}
	if r := n.register("a", "d2", 2, 1); r.Incarnation != 0 || r.Disk != "d1" || r.Newest != 1 {
		t.Fatal("another disk:", r)
	}
	if r := n.register("a", "d1", 3, 1); r.Incarnation != 2 {
		t.Fatal("the same disk:", r)
	}
	eff := n.apply(nil, fsm.Item{Kind: fsm.ItemRemove, Remove: "a"})
	if !slices.Equal(eff.Ended, []fsm.Incarnation{2}) {
		t.Fatal("ended", eff.Ended)
	}
	if eff := n.apply([]fsm.Keepalive{{Incarnation: 2, Number: 1}}, fsm.Item{Kind: fsm.ItemRemove, Remove: "nobody"}); !eff.Keepalives[0].Ended {
		t.Fatal("a keepalive of a removed node counts")
	}
	if r := n.register("a", "d1", 4, 1); r.Incarnation != 0 || r.Newest != 2 {
		t.Fatal("a late registration of the old life:", r)
	}
	if r := n.register("a", "d2", 5, 2); r.Incarnation != 3 {
		t.Fatal("joined anew:", r)
	}
	loaded := fsm.New()
	if err := loaded.Load(n.m.Records); err != nil {
		t.Fatal(err)
	}
	want := []fsm.NodeInfo{{Name: "a", Incarnation: 3, Alive: true, Nonce: fsm.Nonce{5}, Disk: "d2", Announce: "a:1"}}
	if got := loaded.Nodes(); !slices.Equal(got, want) {
		t.Fatalf("loaded %+v", got)
	}
}

// Of three nodes the one that differs has diverged; without a majority all have.
func TestDivergence(t *testing.T) {
	n := &nodesMachine{t: t, m: fsm.New()}
	for i, name := range []string{"a", "b", "c"} {
		n.register(name, "", byte(i), 0)
	}
	number := [4]uint64{}
	report := func(inc fsm.Incarnation, index, hash uint64) []fsm.Incarnation {
		number[inc]++
		return n.apply([]fsm.Keepalive{{Incarnation: inc, Number: number[inc], HashIndex: index, Hash: hash}}).Diverged
	}
	for _, c := range []struct {
		inc         fsm.Incarnation
		index, hash uint64
		want        []fsm.Incarnation
	}{
		{1, 4096, 5, nil},
		{2, 4096, 5, nil},
		{3, 4096, 5, nil},
		{1, 8192, 6, nil},
		{2, 8192, 7, nil}, // one of the two, the third will say which
		{3, 8192, 7, []fsm.Incarnation{1}},
		{2, 8192, 8, nil}, // each index counts once
		{1, 12288, 1, nil},
		{2, 12288, 1, nil},
		{3, 12288, 2, []fsm.Incarnation{3}},
		{1, 16384, 1, nil},
		{2, 16384, 2, nil},
		{3, 16384, 3, []fsm.Incarnation{1, 2, 3}},
	} {
		if got := report(c.inc, c.index, c.hash); !slices.Equal(got, c.want) {
			t.Fatalf("%+v: diverged %v", c, got)
		}
	}
}

// Conn says where a connection stands, for a node that took over a snapshot.
func TestConnInfo(t *testing.T) {
	n := &nodesMachine{t: t, m: fsm.New()}
	n.register("a", "", 1, 0)
	a, b := fsm.Incarnation(1).Conn(1), fsm.Incarnation(1).Conn(2)
	n.apply(nil, fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: 1, Ops: []fsm.Op{
		{Conn: a, Seq: 1, Code: fsm.OpOpen},
		{Conn: b, Seq: 1, Code: fsm.OpOpen},
		{Conn: a, Seq: 2, Code: fsm.OpSessionAttach, Name: []byte("s"), Flags: fsm.FlagHeartbeat},
		{Conn: a, Seq: 3, Code: fsm.OpLock, Key: []byte("k")},
		{Conn: b, Seq: 2, Code: fsm.OpLock, Key: []byte("k")},
	}}})
	i, ok := n.m.Conn(a)
	if !ok || i.Seq != 3 || i.Waits != 0 || i.Session == 0 || !i.Heartbeat {
		t.Fatalf("%+v, %v", i, ok)
	}
	if i, ok := n.m.Conn(b); !ok || i != (fsm.ConnInfo{Seq: 2, Waits: 2}) {
		t.Fatalf("%+v, %v", i, ok)
	}
	if _, ok := n.m.Conn(fsm.Incarnation(1).Conn(3)); ok {
		t.Fatal("an unknown connection is known")
	}
	if x, _ := n.m.Node("a"); x.Batch != 1 || x.Connections != 2 {
		t.Fatalf("%+v", x)
	}
}

// The settings given by flags come on the node's own connection; the first deadline
// of an incarnation is by the session-timeout that they set, not by the one before.
func TestFirstDeadlineFollowsTheSettings(t *testing.T) {
	for _, registeredFirst := range []bool{true, false} {
		n := &nodesMachine{t: t, m: fsm.New(), time: 1000}
		if !registeredFirst {
			n.register("b", "d2", 9, 0)
		}
		inc := n.register("a", "d1", 1, 0).Incarnation
		own, client := inc.Conn(fsm.MaxConnNumber), inc.Conn(1)
		n.apply(nil, fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: inc, Number: 1, Ops: []fsm.Op{
			{Conn: own, Seq: 1, Code: fsm.OpOpen},
			{Conn: own, Seq: 2, Code: fsm.OpConfigSet, Name: []byte(fsm.SettingSessionTimeout), Value: []byte("2000")},
			{Conn: client, Seq: 1, Code: fsm.OpOpen}, // while the node's own is there
			{Conn: own, Code: fsm.OpEnd},
		}}})
		if ms, ok := n.m.NextDeadline(); !ok || ms != 3000 {
			t.Errorf("the deadline is %d, %v; want 3000", ms, ok)
		}
		n.time = 3000
		if eff := n.apply(nil); !slices.Equal(eff.Ended, []fsm.Incarnation{inc}) {
			t.Error("ended", eff.Ended)
		}
	}
}
