package fsm

// Effects is everything that one Apply brings about. It is valid until the
// next Apply of the same machine.
type Effects struct {
	// Index is the entry's index; Time the cluster time after it.
	Index uint64
	Time  int64
	// Timeout is the shortest session-timeout that was in force while the entry was
	// applied: one entry may bring several. What it gives a node counts for no longer.
	Timeout int64
	// Replies, each to one op, in the order in which they came about. Replies of
	// one connection are in the order of its ops.
	Replies []Reply
	// Refused are ops that were not applied because an earlier op of their
	// connection waits or has not come yet, or because they may do much and the entry
	// has done enough: propose them again, in order, when the wait, if there is one,
	// has been answered.
	Refused []Address
	// Batches says what became of each batch of the entry.
	Batches []BatchResult
	// Registered and Keepalives answer those items.
	Registered []Registered
	Keepalives []KeepaliveResult
	// Ended are incarnations that ended with this entry.
	Ended []Incarnation
	// Sessions ended with this entry, anonymous ones whose connection closed left
	// out: what a log tells.
	Sessions []SessionEnd
	// Diverged are incarnations of nodes whose state hash differs from that of
	// the majority, or of all nodes where there is none: they must stop.
	Diverged []Incarnation
	// Events are what else a node must know of its connections.
	Events []Event
	// Writes are the state records that changed, to be written in this order; a nil
	// Value deletes. Each key is there once, but for one that went and came anew (a
	// connection's number that is used again, which no node does). Flushed says that they are here: with Machine.Defer most entries
	// leave them for later.
	Writes  []Record
	Flushed bool
}

// Address names one op of one connection.
type Address struct {
	Conn ConnID
	Seq  uint64
}

// BatchStatus is what became of a batch.
type BatchStatus uint8

// The fates of a batch.
const (
	BatchApplied BatchStatus = iota + 1
	// BatchRepeated: its number was applied before; nothing done.
	BatchRepeated
	// BatchEarly: an earlier number is missing; nothing done, send both again in order.
	BatchEarly
	// BatchEnded: its incarnation has ended; nothing done, for good.
	BatchEnded
)

// BatchResult answers a batch.
type BatchResult struct {
	Incarnation Incarnation
	Number      uint64
	Status      BatchStatus
}

// Registered answers a registration. Incarnation is 0 if it was refused because
// Replaces was not the newest; Newest is then the one to name.
type Registered struct {
	Node        string
	Nonce       Nonce
	Incarnation Incarnation
	Newest      Incarnation
	// Disk is set when it was refused because the node is known with this disk.
	Disk string
}

// KeepaliveResult answers a keepalive. Ended: the incarnation is over, the node
// closes everything and registers anew.
type KeepaliveResult struct {
	Incarnation Incarnation
	Number      uint64
	Ended       bool
}

// EventKind says what happened to a connection besides replies.
type EventKind uint8

// The kinds of events.
const (
	// EventClose: the node closes the connection (its anonymous session was
	// killed, or CLIENT KILL reached it).
	EventClose EventKind = iota + 1
	// EventUnknown: an op of a connection that the machine does not know came
	// with a sequence other than 1 (its session has ended): NOSESSION, close.
	EventUnknown
	// EventAttached: the connection is attached to the named session Session;
	// Heartbeat says whether its contacts must be reported. Sent again when
	// HEARTBEAT is switched on for it later.
	EventAttached
	// EventDetached: the connection is no longer attached to a named session
	// (detached, reset, or the session ended; then Why says how).
	EventDetached
)

// Event tells a node of one of its connections.
type Event struct {
	Kind      EventKind
	Conn      ConnID
	Session   SessionID
	Heartbeat bool
	Why       Why
}

// SessionEnd tells of a session that has ended. Name is empty for an anonymous one.
type SessionEnd struct {
	ID   SessionID
	Name string
	Why  Why
}

// Record is one state record. Value nil in Effects.Writes means deleted.
type Record struct {
	Key, Value []byte
}
