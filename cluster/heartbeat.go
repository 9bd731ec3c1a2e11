package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/internal/canary"
)

// terms is Raft's stable store. It knows the term, and keeps it as it is while a
// heartbeat is taken in beside Raft's main loop.
//
// Raft 1.8 lets a heartbeat change term and state in the goroutine of its
// connection (hashicorp/raft #695). A leader whose main loop waits for entries then
// writes the next one under the term of its successor, which has another entry of
// that index and term: they are never told apart again, and the states part. And a
// term that the main loop has just raised, to vote, can be lowered again. So a
// heartbeat is taken beside the main loop only where it changes neither: it renews
// the contact of a follower of that very term. Any other is refused, and its sender
// has the main loop take it (transport.heartbeat).
type terms struct {
	raft.StableStore
	// mu is held for writing while a term changes, for reading by a heartbeat.
	mu  sync.RWMutex
	now atomic.Uint64
}

// keyTerm is Raft's key.
const keyTerm = "CurrentTerm"

var (
	errTermBack  = errors.New("the term would go back")
	errHeartbeat = errors.New("a heartbeat is taken beside the main loop by a follower of its term only")
)

func newTerms(stable raft.StableStore) (*terms, error) {
	now, err := stable.GetUint64([]byte(keyTerm))
	if err != nil {
		return nil, fmt.Errorf("cluster: reading the term: %w", err)
	}
	t := &terms{StableStore: stable}
	t.now.Store(now)
	return t, nil
}

// SetUint64 implements raft.StableStore. A term that stays is not written again:
// so a heartbeat never waits here for itself.
func (t *terms) SetUint64(key []byte, value uint64) error {
	if string(key) != keyTerm {
		return t.StableStore.SetUint64(key, value) //nolint:wrapcheck // the store's own errors
	}
	if value == t.now.Load() {
		return nil
	}
	if !canary.HeartbeatDeposes { // canary: as Raft has it, whose two goroutines write the term side by side
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	if now := t.now.Load(); value < now && !canary.HeartbeatDeposes {
		return fmt.Errorf("cluster: term %d after term %d: %w", value, now, errTermBack)
	}
	if err := t.StableStore.SetUint64(key, value); err != nil {
		return err //nolint:wrapcheck // the store's own errors
	}
	t.now.Store(value)
	return nil
}

// steady is what a heartbeat needs of Raft.
type steady interface {
	State() raft.RaftState
	CurrentTerm() uint64
}

// renew lets take have a heartbeat that changes nothing but the time of the last
// contact, and reports whether it was one. The state may cease to be Follower in
// between, and is Follower again then; that is a candidate that gives up.
func (t *terms) renew(term uint64, r steady, take func()) bool {
	if canary.HeartbeatDeposes {
		take() // canary: a leader learns of its successor beside its main loop
		return true
	}
	if !t.mu.TryRLock() { // the term changes: its write may take as long as the disk does
		return false
	}
	defer t.mu.RUnlock()
	if t.now.Load() != term || r.CurrentTerm() != term || r.State() != raft.Follower {
		return false
	}
	take()
	return true
}

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(take func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		r := t.running()
		a, ok := rpc.Command.(*raft.AppendEntriesRequest)
		if r == nil || !ok || !t.terms.renew(a.Term, r, func() { take(rpc) }) {
			rpc.Respond(nil, errHeartbeat)
		}
	})
}

// heartbeat sends a heartbeat, and where it is refused, sends it to the main loop, as
// Raft's own transport does without a handler of heartbeats. The entries that a leader
// sends all the time say the same, but not while their sending is backed off: then a
// node that stands in the leader's own term, in vain, would not hear of the leader.
func (t *transport) heartbeat(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil || err.Error() != errHeartbeat.Error() { // it comes as a text
		return err //nolint:wrapcheck // Raft's own
	}
	again := *args
	again.PrevLogTerm = 1                                             // of entry 0: no heartbeat to the transport, and nothing more to Raft
	return t.NetworkTransport.AppendEntries(id, target, &again, resp) //nolint:wrapcheck // Raft's own
}
