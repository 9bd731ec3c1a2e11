package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// handOverLimit is how many election timeouts a hand-over may take in all.
const handOverLimit = 4

// handOver gives the leadership away before a planned stop, so that the others
// need not wait for an election. Raft's own trap (hashicorp/raft #696: a flag that
// refuses entries for good) does not matter to one that is shut down.
func (n *Node) handOver(ctx context.Context) {
	if n.port == nil || n.applier.voters.Load() < 2 || n.raft.State() != raft.Leader {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverLimit*n.opts.ElectionTimeout)
	defer cancel()
	if err := n.handToBest(ctx); err != nil {
		n.log.Warn("the leadership could not be handed over; the others elect a leader", "error", err)
	}
}

// handToBest hands over to the voter that has most of the log, of those that
// answer; when that fails, to the next. Raft itself would take one that is dead.
func (n *Node) handToBest(ctx context.Context) error {
	heirs, err := n.heirs(ctx)
	if err != nil {
		return err
	}
	err = errors.New("no other node that votes answers")
	for _, s := range heirs {
		if err = n.handTo(ctx, s); err == nil || n.raft.State() != raft.Leader {
			return nil
		}
		n.log.Debug("handing over failed; trying the next node", "to", s.ID, "error", err)
	}
	return err
}

// heirs returns the other voters that answer within an election timeout, the one
// that has most of the log first.
func (n *Node) heirs(ctx context.Context) ([]raft.Server, error) {
	servers, err := n.servers()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.opts.ElectionTimeout)
	defer cancel()
	last := map[raft.ServerID]uint64{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, s := range servers {
		if s.Suffrage != raft.Voter || string(s.ID) == n.opts.NodeID {
			continue
		}
		asking.Go(func() {
			b, err := n.MemberStatus(ctx, string(s.ID))
			var st Status
			if err == nil && json.Unmarshal(b, &st) == nil {
				mu.Lock()
				last[s.ID] = st.LogLast
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	servers = slices.DeleteFunc(servers, func(s raft.Server) bool { _, answers := last[s.ID]; return !answers })
	slices.SortStableFunc(servers, func(a, b raft.Server) int { return cmp.Compare(last[b.ID], last[a.ID]) })
	return servers, nil
}

// handTo hands over to one voter.
func (n *Node) handTo(ctx context.Context, s raft.Server) error {
	if !n.transfers.begin() {
		return ErrClosing
	}
	n.log.Info("handing the leadership over", "to", s.ID)
	n.handing.Store(true)
	done := make(chan error, 1)
	go func() {
		defer n.transfers.end()
		done <- n.raft.LeadershipTransferToServer(s.ID, s.Address).Error()
	}()
	select {
	case err := <-done:
		if err != nil {
			n.handing.Store(false)
			return err
		}
		n.left(ctx)
		return nil
	case <-n.failed:
		return n.failure
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transfers counts the hand-overs that Raft has been asked for. One that it has not
// answered when it is shut down it never answers: who waits for it would wait for
// ever. So the stop waits first, for as long as Raft may take for one.
type transfers struct {
	mu      sync.Mutex
	under   int
	closing bool
	idle    chan struct{} // closed when closing and none is under way
}

// begin reports whether another one may be asked for.
func (t *transfers) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closing {
		t.under++
	}
	return !t.closing
}

func (t *transfers) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under--; t.closing && t.under == 0 {
		close(t.idle)
	}
}

// finish lets no other one begin and waits for those under way.
func (t *transfers) finish(limit time.Duration) {
	t.mu.Lock()
	t.closing, t.idle = true, make(chan struct{})
	if t.under == 0 {
		close(t.idle)
	}
	t.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.idle:
	case <-timer.C:
	}
}

// left waits until this node has left its office, which Raft has taken from it.
func (n *Node) left(ctx context.Context) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n.proposer.leads.Load() && n.raft.State() != raft.Leader {
		select {
		case n.leadership.kick <- struct{}{}:
		default:
		}
		select {
		case <-ticker.C:
		case <-n.quit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// failover hands over to another voter; empty: to whichever is best.
func (n *Node) failover(ctx context.Context, id string) error {
	servers, err := n.servers()
	if err != nil {
		return err
	}
	if votersOf(servers) == 1 {
		return errors.New("ERR there is no other node that votes and could lead")
	}
	if id == n.opts.NodeID {
		return nil // it leads
	}
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	switch {
	case id == "":
		err = n.handToBest(ctx)
	case i < 0:
		return fmt.Errorf("ERR there is no node %q in this cluster", id)
	case servers[i].Suffrage != raft.Voter:
		return fmt.Errorf("ERR node %q does not vote yet", id)
	default:
		// A hand-over to a node that does not answer would only stop the service.
		asking, cancel := context.WithTimeout(ctx, 2*n.opts.ElectionTimeout)
		defer cancel()
		if _, err = n.MemberStatus(asking, id); err != nil {
			return fmt.Errorf("ERR node %q can not be reached: %v", id, err) //nolint:errorlint // a timeout of its own: nothing was done
		}
		err = n.handTo(ctx, servers[i])
	}
	if err != nil {
		return fmt.Errorf("ERR the leadership could not be handed over: %w", err)
	}
	return nil
}
