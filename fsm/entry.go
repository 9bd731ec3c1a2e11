package fsm

// Nonce tells one attempt to register from another.
type Nonce [16]byte

// Entry is one entry of the Raft log as the machine sees it. Index and Term
// come from Raft and are not part of the encoding.
type Entry struct {
	Index, Term uint64
	// Time is the leader's cluster time in ms when it proposed the entry.
	Time int64
	// Keepalives are those that the leader has received, ahead of any queue.
	Keepalives []Keepalive
	// Items are applied in order, after time, keepalives and deadlines.
	Items []Item
}

// ItemKind says which field of an Item counts.
type ItemKind uint8

// The kinds of items. Part of the entry format.
const (
	ItemInvalid ItemKind = iota
	ItemRegister
	ItemBatch
	ItemRemove
)

// Item is one registration, one node's batch, or the removal of a node.
type Item struct {
	Kind     ItemKind
	Register Register
	Batch    Batch
	Remove   string // the node that is no longer a member
}

// Keepalive vouches for all connections of one incarnation.
type Keepalive struct {
	Incarnation Incarnation
	// Number rises from 1; the machine counts each once.
	Number uint64
	// Contacts are the HEARTBEAT sessions that a connection of this node spoke
	// for since the last keepalive.
	Contacts []SessionID
	// Seen is the cluster time, in ms, that the node had applied when it made the
	// keepalive: what its clients had said by then is in this keepalive, or in one
	// before it that counted. 0: not said.
	Seen int64
	// DiskFull says that the node's disk is nearly full.
	DiskFull bool
	// HashIndex and Hash are the node's state hash at the newest applied index
	// that is a multiple of HashEvery (0: none yet).
	HashIndex, Hash uint64
}

// HashEvery is how many log indexes lie between two comparisons of state hashes.
const HashEvery = 4096

// Register asks for a new incarnation of a node.
type Register struct {
	Node string
	// Replaces is the incarnation that the node believes to be its newest (0:
	// none); any other than the machine's is refused.
	Replaces Incarnation
	// Nonce makes a repeated registration change nothing.
	Nonce Nonce
	// Disk is the id of the node's disk (empty: not said). The first one counts
	// until the node is removed: a node on another disk has lost its votes.
	Disk string
	// Announce is what the node wants clients and operators to know of it, such
	// as its client address; the machine only keeps it.
	Announce string
}

// Batch is what one node asks in one go. The machine applies number n only
// after n-1, and once.
type Batch struct {
	Incarnation Incarnation
	Number      uint64
	Ops         []Op
}
