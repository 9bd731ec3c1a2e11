package commands

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeCluster is three nodes as one of them sees them. Its numbers are chosen,
// so that golden replies tell them apart.
type fakeCluster struct {
	mu      sync.Mutex
	me      string
	members []Member
	term    uint64
	applied uint64
	asked   []string         // what Meet, Forget and Failover were asked
	answer  map[string]error // by the first word of asked
	hold    chan struct{}    // not nil: they wait for it, or for the end of ctx
}

const fakeClusterID = "c1"

func newFakeCluster(me string) *fakeCluster {
	f := &fakeCluster{me: me, term: 7, applied: 1042, answer: map[string]error{}}
	for _, n := range []string{"1", "2", "3"} {
		id := "n" + n
		f.members = append(f.members, Member{
			ID: id, NodeID: NodeHex(fakeClusterID, id), Addr: "10.0.0." + n + ":7379", Sentinel: "10.0.0." + n + ":26379",
			PeerAddr: "10.0.0." + n + ":17379", Role: "follower", Suffrage: SuffrageVoter, Connected: true, MatchIndex: 1040, LastContactMS: 12,
		})
	}
	f.lead("n1")
	return f
}

func (f *fakeCluster) lead(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.members {
		m := &f.members[i]
		m.Leader, m.Role = m.ID == id, "follower"
		if m.Leader {
			m.Role = "leader"
		}
		if m.ID == f.me {
			m.LastContactMS = 0
		}
	}
}

// happen changes the cluster as a % line of a transcript says.
func (f *fakeCluster) happen(t testing.TB, what string) {
	t.Helper()
	verb, rest, _ := strings.Cut(what, " ")
	if verb == "lead" { // nobody, where nothing follows
		f.lead(rest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch verb {
	case "lost", "joining":
		for i := range f.members {
			if m := &f.members[i]; m.ID == rest {
				m.Connected = verb != "lost"
				if verb == "joining" {
					m.Suffrage, m.MatchIndex = "nonvoter", 17
				}
			}
		}
	case "add":
		f.members = append(f.members, Member{
			ID: rest, NodeID: NodeHex(fakeClusterID, rest), PeerAddr: "10.0.0.9:17379", Role: "follower", Suffrage: "nonvoter", LastContactMS: -1,
		})
	case "refuse":
		word, sentence, _ := strings.Cut(rest, " ")
		f.answer[word] = errors.New(sentence)
	case "late":
		f.answer[rest] = context.DeadlineExceeded
	default:
		t.Fatalf("no event %q", what)
	}
}

func (f *fakeCluster) MyID() string { return f.me }

func (f *fakeCluster) Members() []Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Member(nil), f.members...)
}

func (f *fakeCluster) Leader() (Member, bool) {
	for _, m := range f.Members() {
		if m.Leader {
			return m, true
		}
	}
	return Member{}, false
}

func (f *fakeCluster) ask(ctx context.Context, verb, about string) error {
	f.mu.Lock()
	f.asked = append(f.asked, verb+" "+about)
	hold, err := f.hold, f.answer[verb]
	f.mu.Unlock()
	if hold == nil {
		return err
	}
	select {
	case <-hold:
		return err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = append(f.asked, verb+" gave up")
		return ctx.Err()
	}
}

func (f *fakeCluster) Meet(ctx context.Context, address string) error {
	return f.ask(ctx, "meet", address)
}

func (f *fakeCluster) Forget(ctx context.Context, id string) error { return f.ask(ctx, "forget", id) }

func (f *fakeCluster) Failover(ctx context.Context, id string) error {
	return f.ask(ctx, "failover", id)
}

func (f *fakeCluster) took() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.asked, "; ")
}

// status is the node's own; without a cluster, that of a node alone.
func (f *fakeCluster) status() Status {
	if f == nil {
		return Status{NodeID: "n1", ClusterID: fakeClusterID, Incarnation: 1, Role: "leader", Leader: "n1", Term: 2, Applied: 1042, Nodes: 1}
	}
	s := Status{NodeID: f.me, ClusterID: fakeClusterID, Incarnation: 3, Role: "follower", LastContact: 12 * time.Millisecond}
	if leader, ok := f.Leader(); ok {
		s.Leader = leader.ID
	}
	if s.Leader == f.me {
		s.Role, s.LastContact = "leader", 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Term, s.Commit, s.Applied, s.Nodes = f.term, f.applied, f.applied, len(f.members)
	return s
}
