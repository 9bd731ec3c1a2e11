package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// Two of five nodes run, and where a third one is looked for, one of the two
// answers. It votes once: two are no majority.
func TestVotesOfAnotherNodeDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := emptyTrio(t, func(o *Options) {
			o.InitialCluster = map[string]string{}
			for _, name := range []string{"n1", "n2", "n3", "n4", "n5"} {
				o.InitialCluster[name] = addrOf(name)
			}
			dial := o.Peer.Dial
			o.Peer.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				if addr == addrOf("n3") {
					addr = addrOf(map[string]string{"n1": "n2", "n2": "n1"}[o.NodeID])
				}
				return dial(ctx, addr)
			}
		})
		nodes := []*testNode{c.launch("n1", nil), c.launch("n2", nil)}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			for _, n := range nodes {
				if n.raft.State() == raft.Leader {
					t.Fatalf("%s leads five nodes of which two run", n.opts.NodeID)
				}
			}
		}
	})
}

// A node asks for its vote and is removed while another change is under way: both
// wait for that one. It is no member behind it, and does not become one again.
func TestRemovedNodeDoesNotComeBackWithAVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		if err := l.raft.AddNonvoter("n4", raft.ServerAddress(addrOf("n4")), 0, time.Minute).Error(); err != nil {
			t.Fatal(err)
		}
		removed := false
		err := l.reconfigure(func(servers []raft.Server, index uint64) (raft.IndexFuture, error) {
			votes, member := false, false
			for _, s := range servers {
				if s.ID == "n4" {
					member, votes = true, s.Suffrage == raft.Voter
				}
			}
			if votes || !member {
				return nil, errNoMember
			}
			if !removed { // between what was seen and what is asked for
				removed = true
				if err := l.Forget(context.Background(), "n4"); err != nil {
					t.Error(err)
				}
			}
			return l.raft.AddVoter("n4", raft.ServerAddress(addrOf("n4")), index, time.Minute), nil
		})
		if !errors.Is(err, errNoMember) {
			t.Errorf("a vote for a node that was removed: %v", err)
		}
		for _, m := range l.Members() {
			if m.ID == "n4" {
				t.Errorf("it is a member: %+v", m)
			}
		}
		if err := l.promote(ask{Node: "n4"}); err == nil || !strings.Contains(err.Error(), "not a member") {
			t.Errorf("it asks for its vote: %v", err)
		}
	})
}

// A snapshot that comes a second time, late, does not undo what was applied since,
// also where that was not written yet.
func TestLateSnapshotUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still: nothing is written for its age
		n := open(t, newFS(), nil)
		conn := n.h.connect()
		conn.do(t, lock("a"))
		n.applier.keepAll()
		index, _ := n.store.Applied()
		metas, err := n.store.Snapshots().List()
		if err != nil || len(metas) != 1 {
			t.Fatal(metas, err)
		}
		meta, r, err := n.store.Snapshots().Open(metas[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		conn.do(t, lock("b"))
		if now, _ := n.store.Applied(); now != index {
			t.Fatalf("the state on disk is at entry %d, the snapshot at %d: the test tests nothing", now, index)
		}
		put(t, n.store, meta, data)
		if err := n.applier.Restore(io.NopCloser(bytes.NewReader(data))); !errors.Is(err, store.ErrOldSnapshot) {
			t.Fatalf("the snapshot was taken: %v", err)
		}
		wants(t, "a lock that was given since", conn.do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("b")}), 1)
	})
}

// put gives a store a snapshot as Raft does that has received one.
func put(t *testing.T, s *store.Store, meta *raft.SnapshotMeta, data []byte) {
	t.Helper()
	sink, err := s.Snapshots().Create(raft.SnapshotVersionMax, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err == nil {
		_, err = sink.Write(data)
		err = errors.Join(err, sink.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// One of the very entry that is applied does not either, where the members change
// behind that: Raft would take those of the snapshot for the newest ones.
func TestLateSnapshotTakesNoMembersBack(t *testing.T) {
	s := openStore(t, newFS())
	defer s.Close()
	logs := make([]*raft.Log, 5)
	for i := range logs {
		logs[i] = &raft.Log{Index: uint64(i + 1), Term: 1}
	}
	logs[4].Type = raft.LogConfiguration
	if err := errors.Join(s.Log().StoreLogs(logs), s.Apply(3, 1, nil)); err != nil {
		t.Fatal(err)
	}
	s.SetConfiguration(1, raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}})
	metas, err := s.Snapshots().List()
	if err != nil || len(metas) != 1 {
		t.Fatal(metas, err)
	}
	meta, r, err := s.Snapshots().Open(metas[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	put(t, s, meta, data)
	a := &applier{storage: s}
	a.index.Store(3)
	if err := a.Restore(io.NopCloser(bytes.NewReader(data))); !errors.Is(err, store.ErrOldSnapshot) {
		t.Errorf("the snapshot was taken: %v", err)
	}
	for index, want := range map[uint64]bool{4: true, 5: false, 6: false} {
		if got := a.changeBehind(index); got != want {
			t.Errorf("a change of members behind entry %d: %v", index, got)
		}
	}
	// Nor where the log begins behind that entry, as it does after the first copy.
	if err := s.Log().DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	if err := a.Restore(io.NopCloser(bytes.NewReader(data))); !errors.Is(err, store.ErrOldSnapshot) {
		t.Errorf("the snapshot was taken, with the log behind it: %v", err)
	}
}
