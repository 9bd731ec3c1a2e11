package cluster

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// appliedFSM keeps what was applied.
type appliedFSM struct {
	sync.Mutex
	data []string
}

func (f *appliedFSM) Apply(l *raft.Log) any {
	f.Lock()
	defer f.Unlock()
	f.data = append(f.data, string(l.Data))
	return nil
}

func (f *appliedFSM) has(s string) bool {
	f.Lock()
	defer f.Unlock()
	for _, d := range f.data {
		if d == s {
			return true
		}
	}
	return false
}

func (f *appliedFSM) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("none here")
}
func (f *appliedFSM) Restore(r io.ReadCloser) error { return r.Close() }

// A follower has a tail of an old term, which was never committed. The new leader
// has committed other entries in its place, and asks whether the log before the tail
// agrees. The follower must not take its tail for what was committed. Found by CI:
// the store of a node refused to write a log that ended before its state.
func TestStaleTailIsNotApplied(t *testing.T) {
	const leader, follower = "n1", "n2"
	near, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	far, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	logs, machine := raft.NewInmemStore(), &appliedFSM{}
	members := raft.Configuration{Servers: []raft.Server{
		{ID: leader, Address: near.LocalAddr()}, {ID: follower, Address: far.LocalAddr()},
	}}
	err = logs.StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members)},
		{Index: 2, Term: 1, Data: []byte("both")},
		{Index: 3, Term: 1, Data: []byte("stale")},
	})
	if err != nil {
		t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = follower, hclog.NewNullLogger()
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
	r, err := raft.NewRaft(conf, machine, logs, logs, raft.NewDiscardSnapshotStore(), far)
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	out := &transport{
		NetworkTransport: near, quit: quit, leads: func(uint64) bool { return true },
		up: func(string) (linkState, <-chan struct{}) { return linkUp, nil },
	}
	p, err := out.AppendEntriesPipeline(follower, far.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader), Addr: []byte(near.LocalAddr())},
			Term:      2, PrevLogEntry: 2, PrevLogTerm: 1, LeaderCommitIndex: 4,
		}
	}
	var resp raft.AppendEntriesResponse
	if err := out.AppendEntries(follower, far.LocalAddr(), ask(), &resp); err != nil || !resp.Success {
		t.Fatal(resp, err)
	}
	if f, err := p.AppendEntries(ask(), &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	} else if err := f.Error(); err != nil || !f.Response().Success {
		t.Fatal(f.Response(), err)
	}
	next := ask()
	next.Entries = []*raft.Log{{Index: 3, Term: 2, Data: []byte("right")}, {Index: 4, Term: 2, Data: []byte("too")}}
	if err := out.AppendEntries(follower, far.LocalAddr(), next, &resp); err != nil || !resp.Success {
		t.Fatal(resp, err)
	}
	eventually(t, "what is committed is applied", func() bool { return machine.has("too") })
	if !machine.has("both") || !machine.has("right") || machine.has("stale") {
		t.Errorf("applied: %v", machine.data)
	}
	close(quit)
	near.CloseStreams()
	if err := errors.Join(p.Close(), r.Shutdown().Error(), near.Close(), far.Close()); err != nil {
		t.Error(err)
	}
}
