package fsm

// Code is the outcome of an op; the texts of COMMANDS.md, "Errors".
type Code uint8

// The codes. ClusterDown and Uncertain never come from the machine: a node
// answers them for what it could not bring to it.
const (
	CodeOK Code = iota
	CodeNotOwner
	CodeLockLost
	CodeLockLimit
	CodeCancelled
	CodeDeadlock
	CodeDestroyed
	CodeNoSession
	CodeLimit
	CodeErr
	CodeClusterDown
	CodeUncertain
)

// Why tells the reason behind a code, for the sentence a person reads.
type Why uint8

// The reasons.
const (
	WhyNone Why = iota
	// Of CodeLockLost, CodeNoSession and EventDetached: how the hold or session ended.
	WhySessionClosed  // SESSION CLOSE
	WhySessionExpired // its TTL (or HEARTBEAT) passed
	WhySessionKilled  // SESSION KILL
	WhyNodeLost       // its node's incarnation ended
	WhyConnClosed     // its connection closed
	WhyReset          // RESET, DETACH
	WhyLeaseEnded
	WhyForced
	WhyDestroyed
	WhyUnclaimed // an ID's request was not repeated in time
	WhyReleased  // of a repeated ID: the hold was unlocked since
	// Of CodeCancelled.
	WhySuperseded // a newer LOCK or TRYLOCK of the same owner
	WhyUnblocked  // CLIENT UNBLOCK
	WhyUnwaited   // UNWAIT
	// Of CodeNotOwner.
	WhyFree       // nobody holds it
	WhyOther      // Detail.Holder holds it
	WhyOtherFence // the caller holds it, under another fence (Detail.Fence)
	// Of CodeLimit: Detail.Number is the limit, Detail.Text the setting's name.
	WhyLimit
	WhyDiskFull
	// Of CodeErr.
	WhyIDReused       // the ID belongs to another command
	WhyAnonymousHolds // SESSION ATTACH on an anonymous session that holds or waits
	WhyHeartbeatTTL   // HEARTBEAT needs a TTL of at least session-timeout (Detail.Number)
	WhyNoSuchSetting
	WhyBadSetting // Detail.Text says what is wrong
	WhyNoSuchSession
	WhyCostly // the pattern takes too long for as many as there are (Detail.Number)
)

// Party describes a holder or waiter for people.
type Party struct {
	Session     SessionID // 0: none (KEEP)
	SessionName string
	Owner       string
	Conn        ConnID
	ClientName  string
	Addr        string
	Node        string
}

// Detail carries the facts that an error's sentence needs. The key is in the op.
type Detail struct {
	Why    Why
	Holder Party     // the present holder, where there is one
	Fence  uint64    // the fence that was lost, or that the hold has
	Caller SessionID // the caller's session, 0 if none
	Number int64
	Text   string // a note, a setting's name, or what is wrong with a value
}

// Reply answers one op.
type Reply struct {
	Conn ConnID
	Seq  uint64
	Code Code
	// Int is the integer reply, where the command has one.
	Int int64
	// Detail is set for errors.
	Detail *Detail
	// Data is the reply of the commands that answer more than an integer:
	// *LockInfo, []WaiterInfo, *ScanPage, *Attached, []SessionInfo (SESSION
	// LIST and INFO).
	Data any
}

// MaxLease is what LEASETIME answers for a hold without a lease.
const MaxLease = 1<<63 - 1

// LockState is the state field of LOCKINFO.
type LockState uint8

// The states of a lock.
const (
	LockFree LockState = iota
	LockHeld
	LockDestroyed
)

// LockInfo is the reply of LOCKINFO. Of a free lock all but State is zero; of a
// destroyed one Note is the note of DESTROY.
type LockInfo struct {
	State   LockState
	Fence   uint64
	Holds   int64
	Holder  Party
	LeaseMS int64 // -1: none; 0 when free
	HeldMS  int64
	Waiters int64
	Note    string
}

// WaiterInfo is one element of LOCKWAITERS, first in line first.
type WaiterInfo struct {
	Waiter    Party
	WaitingMS int64
	TimeoutMS int64 // ms left until it gives up; -1: none
	Note      string
}

// ScanPage is the reply of LOCKSCAN. Cursor 0: complete.
type ScanPage struct {
	Cursor uint64
	Keys   []string
}

// Attached is the reply of SESSION ATTACH.
type Attached struct {
	Session SessionID
	Created bool // or resumed
}

// SessionInfo is one element of SESSION LIST and the reply of SESSION INFO.
type SessionInfo struct {
	ID          SessionID
	Name        string // empty: anonymous
	Node        string
	Connections int64
	TTLMS       int64 // 0: anonymous
	Heartbeat   bool
	Holds       int64
	Waits       int64
	IdleMS      int64
}
