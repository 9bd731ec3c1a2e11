package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// A node has given its vote of term 5 to y, and begins to give that of term 6 to z
// when it crashes. y asks for it then, with a log that is too old: it must not get
// it for having had the one before. z must (hashicorp/raft #661).
func TestVoteIsOneWrite(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	members := raft.Configuration{Servers: []raft.Server{{ID: "x", Address: "x"}, {ID: "y", Address: "y"}, {ID: "z", Address: "z"}}}
	must(t, s.Log().StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members)},
		{Index: 2, Term: 5, Data: []byte("committed")},
	}))
	st := s.Stable()
	vote := func(term uint64, candidate string) { // as Raft's persistVote, cut short where there is none
		must(t, st.SetUint64([]byte("CurrentTerm"), term))
		must(t, st.SetUint64([]byte("LastVoteTerm"), term))
		if candidate != "" {
			must(t, st.Set([]byte("LastVoteCand"), []byte(candidate)))
		}
	}
	vote(5, "y")
	vote(6, "")
	s = reopen(t, s)
	c := raftConfig("x")
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Hour, time.Hour, time.Hour
	n := startRaft(t, s, c, "x")
	defer func() { must(t, n.Shutdown().Error()) }()
	asks := func(who string, last, term uint64) bool {
		t.Helper()
		_, trans := raft.NewInmemTransport(raft.ServerAddress(who))
		trans.Connect("x", n.trans)
		var resp raft.RequestVoteResponse
		must(t, trans.RequestVote("x", "x", &raft.RequestVoteRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(who), Addr: []byte(who)},
			Term:      6, LastLogIndex: last, LastLogTerm: term,
		}, &resp))
		return resp.Granted
	}
	if asks("y", 1, 1) {
		t.Error("y has the vote of term 6, and lacks an entry that may be committed")
	}
	if !asks("z", 2, 5) {
		t.Error("z does not get the vote")
	}
	if asks("y", 2, 5) {
		t.Error("y has the vote of term 6, and z too")
	}
	if !asks("z", 2, 5) {
		t.Error("z asks again, and its vote is gone")
	}
}
