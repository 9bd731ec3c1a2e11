package sessions

import (
	"errors"
	"log/slog"

	"github.com/redlockd/redlockd/fsm"
)

// Errors of this package. Compare with errors.Is.
var (
	// ErrNoIncarnation: the node has no incarnation to act under (it is starting,
	// or the cluster has no leader). Clients get CLUSTERDOWN: retry later.
	ErrNoIncarnation = errors.New("this node is not registered with the cluster now; try again")
	// ErrExhausted: the incarnation has given out all its connection numbers. The
	// node must register anew; until then clients get CLUSTERDOWN.
	ErrExhausted = errors.New("this node has used up its connection numbers and must register anew; try again")
	// ErrClosed: the connection was closed already.
	ErrClosed = errors.New("the connection is closed")
	// ErrStale: nobody vouches for this node any more, so nothing may be answered.
	ErrStale = errors.New("this node is not vouched for")
	// ErrKilled is what a connection is closed with when its session was killed
	// or CLIENT KILL reached it through the cluster.
	ErrKilled = errors.New("the connection was killed")
	// ErrUnknown is what a connection is closed with when the cluster no longer
	// knows it: its session has ended.
	ErrUnknown = errors.New("the connection's session has ended")
	// ErrUncertain is what a connection is closed with after UNCERTAIN.
	ErrUncertain = errors.New("the cluster can not tell whether a request was done")
	// ErrBug is what a connection is closed with when replies and slots do not
	// match. The log says what was found.
	ErrBug = errors.New("internal error: reply and request do not match")
	// ErrSessionName: a client name asks for a session by a name that none can have.
	ErrSessionName = errors.New("session name must be 1 to 128 printable characters without spaces")
)

// Cluster is what the table needs of the cluster package. None of its methods
// may block.
type Cluster interface {
	// Propose queues the ops in their order. The slice is the caller's again when
	// Propose returns; each op stays unchanged, and must not be touched by the
	// cluster any more, once its batch was applied (its reply or its address in
	// Effects.Refused was delivered) or it was handed to Down. One call names one
	// connection only. Ops of an incarnation that is over may come for a moment
	// after End: drop them.
	Propose(ops []*fsm.Op)
	// Fresh is nil while the incarnation is vouched for.
	Fresh() error
	// Half is nil while less than half of session-timeout has passed since the
	// newest keepalive that counted was sent.
	Half() error
}

// Answerer is the way out of one client connection.
type Answerer interface {
	// Answer takes the reply to the oldest op that Do was given. It is called in
	// op order, never concurrently for one connection, perhaps before Flush (of
	// Conn) has returned. op and r are valid during the call only.
	Answer(op *fsm.Op, tag any, r *fsm.Reply)
	// Flush is called once after the last Answer of what was delivered together,
	// never at the same time as Answer.
	Flush()
	// Close may come at any time, also between Answer and Flush. It closes the client connection after what was answered is written. No
	// Answer follows. It may be called more than once, after Closed, and before
	// Open has returned.
	Close(why error)
}

// Options of a Table. The zero value is usable.
type Options struct {
	// Logger; default slog.Default().
	Logger *slog.Logger
	// FlushAll flushes the connections that one Deliver, Down or Uncertain
	// answered, each named once; the slice is valid during the call, and no two calls
	// overlap. Default: one after the other.
	FlushAll func([]Answerer)
	// OnExhausted is told once when an incarnation has no connection number left:
	// the cluster should end it and register anew. It must not block nor call the
	// table. Default: nothing is told, and new connections get CLUSTERDOWN.
	OnExhausted func(inc fsm.Incarnation)
}

// Info describes one connection, for CLIENT LIST. Its session is what this node
// has seen in effects; SESSION ID asks the cluster.
type Info struct {
	ID            fsm.ConnID // 0: has asked nothing of the cluster yet
	Addr, Name    string
	AgeMS, IdleMS int64         // since Open; since Touch
	Session       fsm.SessionID // 0: not known here
	SessionName   string        // empty: anonymous
	Heartbeat     bool          // the session wants to be spoken for
	Outstanding   int           // ops that the client waits for
	Waiting       bool          // the oldest of them is a LOCK or TRYLOCK that may wait
	Known         bool          // the cluster was told of the connection
}
