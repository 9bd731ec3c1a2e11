package cluster

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/internal/canary"
)

const (
	// holdLook is how often a call that is held looks whether it is still wanted.
	holdLook = 250 * time.Millisecond
	// probeEvery is how often entries are sent without a link: the mesh may be wrong.
	probeEvery = 5 * time.Second
	// snapshotHold is how long the sending of a snapshot is held at most: the state
	// that it keeps open ages meanwhile.
	snapshotHold = 30 * time.Second
)

// transport is Raft's way to the other nodes. Raft waits for up to ten seconds
// between two attempts to replicate to a node that was away for as long, so that
// one that comes back lies idle that long. Here a call to a node to which the mesh
// has no link waits for the link instead, and does not count as a failure.
// Heartbeats are never held: the lease of the leader, and the votes, go by them.
// Each call is held in the goroutine that replicates to that one node.
type transport struct {
	*raft.NetworkTransport
	// up tells whether there is a link to a member, and of the next change.
	up func(id string) (linkState, <-chan struct{})
	// leads tells whether this node still leads in a term.
	leads func(term uint64) bool
	// running returns Raft, nil while it is being made; terms is its stable store.
	running func() *raft.Raft
	terms   *terms
	quit    chan struct{} // closed before Raft is shut down
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)

	errHeld = errors.New("the node can not be reached")
	// errDeposed: what was to be sent is of a term in which this node leads no more.
	errDeposed = errors.New("this node leads no more")
)

// AppendEntries sends entries once the node can be reached.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if isHeartbeat(args) {
		return t.heartbeat(id, target, args, resp)
	}
	if err := t.vouch(args); err != nil {
		return err
	}
	for {
		if _, err := t.await(string(id), args.Term, probeEvery); err != nil {
			return err
		}
		err := t.NetworkTransport.AppendEntries(id, target, args, resp)
		if err == nil {
			return nil
		}
		// A failure together with the link is no reason to come back later than it.
		if state, _ := t.up(string(id)); state != linkDown {
			return err
		}
	}
}

// InstallSnapshot sends a snapshot once the node can be reached.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if there, err := t.await(string(id), args.Term, snapshotHold); err != nil || !there {
		return errors.Join(err, fmt.Errorf("%w: %q", errHeld, id))
	}
	return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
}

// await waits until there is a link to the node, or limit has passed; an error
// says that the call is not wanted any more. A node that is no member is not waited for.
func (t *transport) await(id string, term uint64, limit time.Duration) (there bool, err error) {
	var timer *time.Timer
	for waited := time.Duration(0); ; {
		state, changed := t.up(id)
		switch {
		case state != linkDown:
			return true, nil
		case !t.leads(term):
			return false, fmt.Errorf("%w: %q", errHeld, id)
		case waited >= limit:
			return false, nil
		case timer == nil:
			timer = time.NewTimer(holdLook)
			defer timer.Stop()
		default:
			timer.Reset(holdLook)
		}
		select {
		case <-changed:
		case <-timer.C:
			waited += holdLook
		case <-t.quit:
			return false, raft.ErrTransportShutdown
		}
	}
}

// vouch makes sure that a request says no more than a leader may say.
//
// Raft 1.8 reads what it sends entry by entry, in a goroutine that a change of
// leader does not wait for (hashicorp/raft #84): the first half of a request can come
// from before the new leader has replaced the log's end, the other half from after.
// A node that still has the old end would take it, with the new entries behind it,
// and agree with the new leader from there on. A node that still leads in that term
// has replaced nothing, and what it has read is one log.
func (t *transport) vouch(a *raft.AppendEntriesRequest) error {
	if !canary.DeposedSends && !t.leads(a.Term) { // canary: half of it its own, half of it its successor's
		return errDeposed
	}
	vouched(a)
	return nil
}

// vouched lowers the commit index of a request to the last entry that the request
// itself vouches for. Raft 1.8 reads its last entry first and its commit index later,
// so that a request may say that entries are committed which it does not carry. The
// follower takes its own last entry for the bound, and where it has a tail of an old
// term that was never committed, it applies that: another state, a lock given twice.
// The paper has the bound that is set here (figure 2, AppendEntries, rule 5). The rest
// of the commit index comes with the next request, after CommitTimeout at most.
func vouched(a *raft.AppendEntriesRequest) {
	if canary.CommitPastSent {
		return // canary: a follower applies entries that were never committed
	}
	last := a.PrevLogEntry
	if n := len(a.Entries); n > 0 {
		last = a.Entries[n-1].Index
	}
	a.LeaderCommitIndex = min(a.LeaderCommitIndex, last)
}

// isHeartbeat says what Raft's own transport does: a heartbeat has no entries and
// names none.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}
