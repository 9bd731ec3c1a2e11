package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// What a Host is told of requests that could not be brought to the machine, and
// why an incarnation is over. Each is a sentence for people.
var (
	// ErrDown goes with Host.Down: the request waited for all of request-timeout
	// and was never sent.
	ErrDown = errors.New("the cluster took nothing within request-timeout: no leader, or not enough nodes; nothing was done, try again")
	// ErrUncertain goes with Host.Uncertain: the request was sent, and nothing
	// came back within request-timeout.
	ErrUncertain = errors.New("the cluster did not answer within request-timeout; the request may or may not have been done")
	// ErrSilent ends an incarnation whose newest keepalive is too old.
	ErrSilent = errors.New("this node could not renew its keepalive within session-timeout, so its sessions may have ended")
	// ErrEnded ends an incarnation that the machine has ended.
	ErrEnded = errors.New("the cluster has ended this node's incarnation, and its connections with it")
	// ErrDiverged ends the process of a node whose state differs from that of the others.
	ErrDiverged = errors.New("this node's state differs from that of the majority (or there is none): it must not serve; remove it from the cluster, delete its data directory, and let it join anew")
	// errGoneBack ends the process of a node whose machine lacks a batch that it has applied before.
	errGoneBack = errors.New("the state has gone back: it lacks requests of this node that were applied before; please report this; the node starts again from what is on its disk")
	// ErrRemoved ends the process of a node that is not a member any more.
	ErrRemoved = errors.New("this node was removed from the cluster; to take it in again, delete its data directory and start it with --join")
	// ErrNoLeader is what a request for the leader is answered with while there is none.
	ErrNoLeader = errors.New("CLUSTERDOWN no leader is known; nothing was done, try again")
	// ErrNotServing answers Fresh while no incarnation is applied.
	ErrNotServing = errors.New("this node is not part of the cluster yet, or no more; try again soon, or another node")
	// ErrClosing goes with Host.Down while the node shuts down.
	ErrClosing = errors.New("this node is shutting down; nothing was done")
	// ErrHalf answers Half when half of session-timeout has passed since the newest counted keepalive was sent.
	ErrHalf = errors.New("this node has not been able to renew its keepalive for half of session-timeout")
)

// Outcome is what is known of a proposal that Raft answered with an error.
type Outcome uint8

// The outcomes.
const (
	// NotProposed: it never entered the log.
	NotProposed Outcome = iota + 1
	// Unknown: it may be in the log, and may be applied yet.
	Unknown
	// Shutdown: Raft is being shut down; of an entry already handed over it
	// means the same as Unknown.
	Shutdown
)

func (o Outcome) String() string {
	switch o {
	case NotProposed:
		return "not proposed"
	case Unknown:
		return "unknown"
	case Shutdown:
		return "shutting down"
	default:
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
}

// ProposeError is a Raft error with its meaning.
type ProposeError struct {
	Outcome Outcome
	// Sentence says what happened, for people.
	Sentence string
	// Err is Raft's own error.
	Err error
}

func (e *ProposeError) Error() string { return e.Sentence + " (" + e.Err.Error() + ")" }

// Unwrap returns Raft's own error.
func (e *ProposeError) Unwrap() error { return e.Err }

// meaning is the one place where Raft's errors become ours. It holds for the
// answers of Apply and Barrier with Config.BatchApplyCh off: with it on, an
// entry could be taken after ErrEnqueueTimeout. nil stays nil.
func meaning(err error) *ProposeError {
	if err == nil {
		return nil
	}
	e := &ProposeError{Err: err}
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeader), errors.Is(err, raft.ErrNotVoter):
		e.Outcome, e.Sentence = NotProposed, "this node does not lead the cluster"
	case errors.Is(err, raft.ErrEnqueueTimeout):
		e.Outcome, e.Sentence = NotProposed, "the leader was too busy to take the entry"
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		e.Outcome, e.Sentence = NotProposed, "the leader is handing over to another node"
	case errors.Is(err, raft.ErrAbortedByRestore):
		// The entry's place in the log was taken by the restored snapshot.
		e.Outcome, e.Sentence = NotProposed, "the state was restored from a backup meanwhile"
	case errors.Is(err, raft.ErrLeadershipLost):
		e.Outcome, e.Sentence = Unknown, "the leader lost its office before the entry was committed"
	case errors.Is(err, raft.ErrRaftShutdown):
		e.Outcome, e.Sentence = Shutdown, "this node is shutting down"
	case errors.Is(err, errLate):
		e.Outcome, e.Sentence = Unknown, "no answer came in time"
	default:
		// Whatever the log store says: the entry may be on disk all the same.
		e.Outcome, e.Sentence = Unknown, "the log could not be written"
	}
	return e
}

// errLate stands for a future that never answered.
var errLate = errors.New("raft gave no answer")
