package cluster

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// follower answers Raft's calls as a node does that agrees to everything.
type follower struct {
	*raft.NetworkTransport
	over, ended chan struct{}
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	far, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{far, make(chan struct{}), make(chan struct{})}
	go f.run()
	t.Cleanup(func() {
		close(f.over)
		<-f.ended
		far.CloseStreams()
		if err := far.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *follower) run() {
	defer close(f.ended)
	for {
		select {
		case rpc := <-f.Consumer():
			switch c := rpc.Command.(type) {
			case *raft.RequestVoteRequest:
				rpc.Respond(&raft.RequestVoteResponse{Term: c.Term, Granted: true}, nil)
			case *raft.AppendEntriesRequest:
				rpc.Respond(&raft.AppendEntriesResponse{Term: c.Term, Success: true}, nil)
			default:
				rpc.Respond(nil, errors.New("not expected here"))
			}
		case <-f.over:
			return
		}
	}
}

// raftNode is a Raft node on our transport, beside one follower. It stands for
// election when it is told to, and no timer fires.
type raftNode struct {
	*raft.Raft
	trans *transport
	log   *raft.InmemStore
	far   *follower
}

const nearID, farID = "n1", "n2"

func newRaftNode(t *testing.T) *raftNode {
	t.Helper()
	near, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	n := &raftNode{log: raft.NewInmemStore(), far: newFollower(t)}
	kept, err := newTerms(n.log)
	if err != nil {
		t.Fatal(err)
	}
	var running atomic.Pointer[raft.Raft]
	n.trans = &transport{
		NetworkTransport: near, quit: make(chan struct{}), terms: kept, running: running.Load,
		leads: func(term uint64) bool { return n.State() == raft.Leader && n.CurrentTerm() == term },
		up:    func(string) (linkState, <-chan struct{}) { return linkUp, nil },
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = nearID, hclog.NewNullLogger()
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Hour, time.Hour, time.Hour
	snaps := raft.NewDiscardSnapshotStore()
	members := raft.Configuration{Servers: []raft.Server{
		{ID: nearID, Address: near.LocalAddr()}, {ID: farID, Address: n.far.LocalAddr()},
	}}
	if err := raft.BootstrapCluster(c, n.log, kept, snaps, n.trans, members); err != nil {
		t.Fatal(err)
	}
	if n.Raft, err = raft.NewRaft(c, &appliedFSM{}, n.log, kept, snaps, n.trans); err != nil {
		t.Fatal(err)
	}
	running.Store(n.Raft)
	t.Cleanup(func() {
		close(n.trans.quit)
		near.CloseStreams()
		if err := errors.Join(n.Shutdown().Error(), near.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// header is that of the other node.
func (n *raftNode) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(farID), Addr: []byte(n.far.LocalAddr())}
}

// lead lets the node win an election.
func (n *raftNode) lead(t *testing.T) {
	t.Helper()
	if err := n.far.TimeoutNow(nearID, n.trans.LocalAddr(), &raft.TimeoutNowRequest{RPCHeader: n.header()}, &raft.TimeoutNowResponse{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads", func() bool { return n.State() == raft.Leader })
	if err := n.Barrier(time.Minute).Error(); err != nil {
		t.Fatal(err)
	}
}

// hear sends it what another leader would.
func (n *raftNode) hear(a *raft.AppendEntriesRequest) (raft.AppendEntriesResponse, error) {
	a.RPCHeader = n.header()
	var resp raft.AppendEntriesResponse
	err := n.far.AppendEntries(nearID, n.trans.LocalAddr(), a, &resp)
	return resp, err
}

// A leader whose main loop waits hears its successor's heartbeat, and then has an
// entry to write: that must not be of the successor's term (hashicorp/raft #695).
func TestHeartbeatChangesNoTerm(t *testing.T) {
	n := newRaftNode(t)
	n.lead(t)
	own, next := n.CurrentTerm(), n.CurrentTerm()+1
	if resp, err := n.hear(&raft.AppendEntriesRequest{Term: next}); err == nil {
		t.Errorf("a heartbeat of a later term was taken beside the main loop: %+v", resp)
	}
	if err := n.Apply([]byte("late"), time.Minute).Error(); err != nil {
		t.Errorf("an entry of a leader that knows of no other: %v", err)
	}
	last, err := n.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := n.log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Term > own {
			t.Errorf("entry %d is of term %d, and the node led in term %d only", i, l.Term, own)
		}
	}
	// The entries tell it.
	var l raft.Log
	if err := n.log.GetLog(last, &l); err != nil {
		t.Fatal(err)
	}
	resp, err := n.hear(&raft.AppendEntriesRequest{Term: next, PrevLogEntry: last, PrevLogTerm: l.Term})
	if err != nil || !resp.Success || n.State() != raft.Follower || n.CurrentTerm() != next {
		t.Fatalf("entries of a later term: %+v %v, %v in term %d", resp, err, n.State(), n.CurrentTerm())
	}
	// And then heartbeats renew the contact, beside the main loop.
	before := n.LastContact()
	if resp, err := n.hear(&raft.AppendEntriesRequest{Term: next}); err != nil || !resp.Success {
		t.Fatalf("a heartbeat of the leader: %+v %v", resp, err)
	}
	if !n.LastContact().After(before) {
		t.Error("a heartbeat has not renewed the contact")
	}
	if _, err := n.hear(&raft.AppendEntriesRequest{Term: own}); err == nil {
		t.Error("a heartbeat of an earlier term was taken")
	}
}

// A heartbeat that may not be taken beside the main loop is taken by it: a node that
// stands, or leads, hears of the leader also while no entries are sent.
func TestRefusedHeartbeatIsTaken(t *testing.T) {
	n := newRaftNode(t)
	n.lead(t)
	sender := &transport{NetworkTransport: n.far.NetworkTransport}
	term := n.CurrentTerm()
	for _, v := range []struct {
		of, answer uint64
		taken      bool
	}{{term + 1, term + 1, true}, {term + 1, term + 1, true}, {term, term + 1, false}} {
		a := &raft.AppendEntriesRequest{RPCHeader: n.header(), Term: v.of}
		var resp raft.AppendEntriesResponse
		err := sender.AppendEntries(nearID, n.trans.LocalAddr(), a, &resp)
		if err != nil || resp.Success != v.taken || resp.Term != v.answer {
			t.Errorf("a heartbeat of term %d: %+v %v", v.of, resp, err)
		}
		if !isHeartbeat(a) {
			t.Errorf("Raft's own request was changed: %+v", a)
		}
		if _, id := n.LeaderWithID(); n.State() != raft.Follower || n.CurrentTerm() != term+1 || id != farID {
			t.Errorf("%v in term %d, led by %q", n.State(), n.CurrentTerm(), id)
		}
	}
}

// heldStore is a stable store whose writes wait.
type heldStore struct {
	raft.StableStore
	writes, onward chan struct{}
}

func (h heldStore) SetUint64(key []byte, v uint64) error {
	h.writes <- struct{}{}
	<-h.onward
	return h.StableStore.SetUint64(key, v)
}

// standing is a follower in a term.
type standing struct{ term atomic.Uint64 }

func (s *standing) State() raft.RaftState { return raft.Follower }
func (s *standing) CurrentTerm() uint64   { return s.term.Load() }

// While the main loop writes a new term, no heartbeat of the old one is taken; and
// the term never goes back.
func TestTermChangesAlone(t *testing.T) {
	disk := heldStore{raft.NewInmemStore(), make(chan struct{}), make(chan struct{})}
	kept, err := newTerms(disk)
	if err != nil {
		t.Fatal(err)
	}
	s := &standing{}
	written := make(chan error)
	raise := func(term uint64) { written <- kept.SetUint64([]byte(keyTerm), term) }
	go raise(5)
	<-disk.writes
	taken := make(chan bool)
	go func() { taken <- kept.renew(0, s, func() {}) }()
	close(disk.onward)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if <-taken && kept.now.Load() != 5 {
		t.Error("a heartbeat was taken in the middle of a change of term")
	}
	s.term.Store(5)
	in, out := make(chan struct{}), make(chan struct{})
	go func() { taken <- kept.renew(5, s, func() { close(in); <-out }) }()
	<-in
	go raise(6)
	select {
	case <-disk.writes:
		t.Error("the term was raised under a heartbeat")
	default:
	}
	if err := kept.SetUint64([]byte(keyTerm), 5); err != nil { // as Raft does in the heartbeat of a candidate
		t.Error(err)
	}
	close(out)
	if !<-taken {
		t.Error("the leader's heartbeat was not taken")
	}
	<-disk.writes
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := kept.SetUint64([]byte(keyTerm), 4); !errors.Is(err, errTermBack) {
		t.Errorf("the term went back: %v", err)
	}
	if v, err := disk.GetUint64([]byte(keyTerm)); v != 6 || err != nil {
		t.Errorf("the term on disk is %d, %v", v, err)
	}
}

// A node that leads no more sends nothing of what it has read: half of it may be
// its successor's (hashicorp/raft #84).
func TestDeposedLeaderSendsNoEntries(t *testing.T) {
	n := newRaftNode(t)
	n.lead(t)
	term := n.CurrentTerm()
	read := func() *raft.AppendEntriesRequest { // as its replication does, before it is deposed
		return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, Term: term, PrevLogEntry: 1, PrevLogTerm: 1, Entries: []*raft.Log{{Index: 2, Term: term + 1}}}
	}
	p, err := n.trans.AppendEntriesPipeline(farID, n.far.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	var resp raft.AppendEntriesResponse
	if err := n.trans.AppendEntries(farID, n.far.LocalAddr(), read(), &resp); err != nil {
		t.Errorf("a leader sends: %v", err)
	}
	if _, err := n.hear(&raft.AppendEntriesRequest{Term: term + 1, PrevLogEntry: 1, PrevLogTerm: 1}); err != nil {
		t.Fatal(err)
	}
	if err := n.trans.AppendEntries(farID, n.far.LocalAddr(), read(), &resp); !errors.Is(err, errDeposed) {
		t.Errorf("a deposed leader sends: %v", err)
	}
	if _, err := p.AppendEntries(read(), &resp); !errors.Is(err, errDeposed) {
		t.Errorf("a deposed leader sends by a pipeline: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What was committed is never taken back from the log; what a snapshot has is cut off.
func TestCommittedIsNotTakenBack(t *testing.T) {
	var fatal error
	newLog := func(entries uint64) *closableLog {
		l := &closableLog{
			LogStore: raft.NewInmemStore(), committed: func() uint64 { return 4 }, fatal: func(err error) { fatal = err },
			applied: func() (uint64, uint64) { return 4, 1 }, follows: func() bool { return true },
		}
		for i := range entries {
			if err := l.StoreLog(&raft.Log{Index: i + 1, Term: 1}); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	for _, cut := range [][3]uint64{{6, 1, 2}, {6, 5, 6}, {4, 1, 4}, {0, 0, 3}, {3, 4, 4}} {
		l := newLog(cut[0])
		if err := l.DeleteRange(cut[1], cut[2]); err != nil || fatal != nil {
			t.Errorf("of %d entries, 4 of them committed, those from %d to %d: %v, %v", cut[0], cut[1], cut[2], err, fatal)
		}
	}
	l := newLog(6)
	if err := l.DeleteRange(4, 6); !errors.Is(err, errTakenBack) || !errors.Is(fatal, errTakenBack) {
		t.Errorf("an end that is committed: %v, %v", err, fatal)
	}
	if last, err := l.LastIndex(); last != 6 || err != nil {
		t.Errorf("the log ends at %d, %v", last, err)
	}
	fatal = nil
	l = newLog(6)
	l.applied = func() (uint64, uint64) { return 3, 1 }
	if err := errors.Join(l.DeleteRange(1, 3), fatal); err != nil {
		t.Errorf("what the state has: %v", err)
	}
	if err := l.DeleteRange(4, 6); !errors.Is(err, errTakenBack) || !errors.Is(fatal, errTakenBack) {
		t.Errorf("an end that is all there is behind the state: %v, %v", err, fatal)
	}
}
