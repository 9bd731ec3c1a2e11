package fsm

// OpCode says what an op does to the machine.
type OpCode uint8

// The op codes. Their numbers are part of the entry format: append, never renumber.
const (
	OpInvalid OpCode = iota
	// OpOpen tells the machine of a connection: Name is its client name, Value
	// its address. It is sequence 1 of every connection and has no reply slot
	// at the client.
	OpOpen
	// OpEnd ends a connection (Seq 0, outside the order of its ops). It
	// withdraws its waits and ends its anonymous session.
	OpEnd
	// OpDescribe gives the connection a new client name (Name). Reply ignored.
	OpDescribe
	OpLock        // Key, Owner, ID, Note, Lease (0: none), FlagKeep, FlagAsync
	OpTryLock     // as OpLock, and Timeout (0: do not wait)
	OpUnlock      // Key, Owner, ID, Fence (0: any)
	OpForceUnlock // Key, Fence (0: any)
	OpRenew       // Key, Owner, Fence (0: any), Lease
	OpUnwait      // Key, Owner, ID
	OpLockCount   // Key, Owner
	OpFence       // Key
	OpIsLocked    // Key, Owner
	OpIsOwner     // Key, Owner
	OpLeaseTime   // Key
	OpLockInfo    // Key
	OpLockWaiters // Key, Count (0: all)
	// OpLockScan: Fence is the cursor, Name the glob (empty: all), Count how
	// many to look at (0: 10), Value a session id or name (empty: any),
	// FlagWaited, FlagDestroyed.
	OpLockScan
	OpDestroy   // Key, Note
	OpUndestroy // Key
	OpSessionID
	// OpSessionAttach: Name, Lease is the TTL (0: not given), FlagHeartbeat.
	// FlagByName marks an attachment asked for by the client name: when it
	// fails, every later lock or session op of the connection gets its error
	// until an attach, detach or reset succeeds.
	OpSessionAttach
	OpSessionDetach
	OpSessionClose
	OpSessionInfo // Name: id or name (empty: my own)
	OpSessionList // Name: glob (empty: all)
	OpSessionKill // Name: id or name
	OpReset
	OpUnblock   // Target is the connection, FlagError
	OpKillConn  // Target is the connection
	OpConfigSet // Name, Value: a cluster setting
	opCodes     // how many there are
)

// Flags are the options of an op that are words without a value.
type Flags uint8

// The flags. Part of the entry format.
const (
	FlagKeep Flags = 1 << iota
	FlagAsync
	FlagHeartbeat
	FlagByName
	FlagWaited
	FlagDestroyed
	FlagError
)

// Op is one thing a connection asks of the machine. Which fields count is said
// at its code; the others are zero. The byte slices are only read during
// Apply; what the machine keeps, it copies.
type Op struct {
	Conn ConnID
	// Seq numbers the ops of a connection from 1 without gaps; 0 for OpEnd.
	Seq   uint64
	Code  OpCode
	Flags Flags

	Key   []byte // 1 to 512 bytes
	Owner []byte // label, 1 to 64 bytes; empty: none
	ID    []byte // request id, 1 to 64 bytes; empty: none
	Note  []byte // 1 to 128 bytes; empty: none
	Name  []byte
	Value []byte

	Lease   int64 // ms
	Timeout int64 // ms
	Fence   uint64
	Count   int64
	Target  uint64
}

// Waits reports whether the op may stay unanswered when applied. A TRYLOCK
// without TIMEOUT does if its ID stands in line already.
func (o *Op) Waits() bool {
	return o.Flags&FlagAsync == 0 && (o.Code == OpLock || o.Code == OpTryLock && (o.Timeout > 0 || len(o.ID) > 0))
}
