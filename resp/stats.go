package resp

import "sync/atomic"

// Stats count what a server has done since it was made. They are read with Load and only ever grow, but for
// Clients and Unread, which tell how it is now.
type Stats struct {
	Clients        atomic.Int64  // connected now
	Accepted       atomic.Uint64 // connections taken
	Rejected       atomic.Uint64 // connections closed because of Limits.Clients
	AcceptErrors   atomic.Uint64 // failed accepts, such as for want of file descriptors
	Commands       atomic.Uint64 // commands given to the handler
	Bursts         atomic.Uint64 // reads that brought at least one command
	BytesIn        atomic.Uint64
	BytesOut       atomic.Uint64
	Writes         atomic.Uint64 // system calls that wrote replies
	SlowWrites     atomic.Uint64 // times a client did not take its replies at once and a goroutine took over
	Unread         atomic.Int64  // bytes of replies that clients leave unread now
	Evicted        atomic.Uint64 // connections closed because of Limits.OutputTotal
	ProtocolErrors atomic.Uint64
	Foreign        atomic.Uint64 // connections closed for speaking HTTP
	Timeouts       atomic.Uint64 // connections closed by a deadline of ours
	Panics         atomic.Uint64 // panics of the handler
}

// Counters are one connection's own numbers.
type Counters struct {
	Commands int64
	BytesIn  int64
	BytesOut int64
	Pending  int64 // bytes of replies that the client has not taken yet
	AgeMs    int64 // since it was accepted
	IdleMs   int64 // since its last byte came
}
