package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// Member is one node of the configuration as this node sees it.
type Member struct {
	ID, Addr string
	Voter    bool
	Leader   bool
	Self     bool
	// Connected says that there is a link to it (true for Self).
	Connected bool
	// Role, Term, Commit, Applied and LogLast are what it said last.
	Role                           string
	Term, Commit, Applied, LogLast uint64
	// LastContact is how long ago it was heard of, -1: never.
	LastContact time.Duration
	// Announce is what it wants clients to know; empty: it has not registered.
	Announce string
	// Incarnation is its newest, Alive says that it has not ended.
	Incarnation fsm.Incarnation
	Alive       bool
	Connections int
}

// Members returns the nodes of the configuration, by id.
func (n *Node) Members() []Member {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	_, leader := n.raft.LeaderWithID()
	now := n.opts.Clock.Now()
	var all []Member
	for _, s := range f.Configuration().Servers {
		m := Member{ID: string(s.ID), Addr: string(s.Address), Voter: s.Suffrage == raft.Voter, Leader: s.ID == leader, LastContact: -1}
		if m.ID == n.opts.NodeID {
			st := n.Status()
			m.Self, m.Connected, m.LastContact = true, true, 0
			m.Role, m.Term, m.Commit, m.Applied, m.LogLast = st.Role, st.Term, st.Commit, st.Applied, st.LogLast
		} else if n.port != nil {
			n.port.tell(&m, now)
		}
		all = append(all, m)
	}
	n.applier.view(func() {
		for i := range all {
			n.known(&all[i])
		}
	})
	slices.SortFunc(all, func(a, b Member) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return all
}

// tell fills in what a member said last.
func (p *port) tell(m *Member, now time.Time) {
	m.Connected = p.mesh.link(m.ID) != nil
	p.mu.Lock()
	h, ok := p.news[m.ID]
	p.mu.Unlock()
	if ok {
		m.Role, m.Term, m.Commit, m.Applied, m.LogLast = h.Role, h.Term, h.Commit, h.Applied, h.Last
		m.LastContact = now.Sub(h.at)
	}
}

// answering asks all voters but one, and returns those that answer now. The last contact
// may be as old as a heartbeat: a node that has died since would be missing for the very
// entry that removes another one, and nothing would ever be committed again.
func (n *Node) answering(ctx context.Context, but string) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, 2*n.opts.ElectionTimeout)
	defer cancel()
	var mu sync.Mutex
	all := map[string]bool{}
	var asked sync.WaitGroup
	for _, m := range n.Members() {
		if m.Self || m.ID == but || !m.Voter {
			continue
		}
		asked.Go(func() {
			if _, err := n.MemberStatus(ctx, m.ID); err != nil {
				return // whatever it is: it can not be counted on
			}
			mu.Lock()
			defer mu.Unlock()
			all[m.ID] = true
		})
	}
	asked.Wait()
	return all
}

// MemberStatus asks a member for its Status, in JSON.
func (n *Node) MemberStatus(ctx context.Context, id string) ([]byte, error) {
	if id == n.opts.NodeID {
		return json.Marshal(n.Status())
	}
	if n.port == nil {
		return nil, errAlone
	}
	l := n.port.mesh.link(id)
	if l == nil {
		return nil, fmt.Errorf("there is no connection to node %q", id)
	}
	return l.Request(ctx, askStatus, []byte("{}"))
}
