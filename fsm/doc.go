// Package fsm is the lock machine: what redlockd knows, and the only code that
// decides who holds a lock.
//
//	            Entry                                Effects
//	time ────┐                              ┌──► replies, each to one op of one connection
//	keepalives ──►  Machine.Apply(entry) ───┼──► refused ops, batch results, events for nodes
//	items ───┘     (holds, queues,          └──► writes: the state records that changed
//	                sessions, fences)
//
// It is a pure function of the entries it was given: no I/O, clock, goroutine,
// channel, log or randomness, and nothing depends on the order of a map. Times
// are milliseconds of cluster time, which only entries move. So every node that
// applies the same entries has the same state, and gives the same replies, as
// any other; the running hash over all records shows it if not.
//
// Apply takes an entry in this order: a new term gives nodes and sessions time;
// the time moves; keepalives count; waits whose deadline passed end; then,
// together, the incarnations and sessions that are due (all their waits before
// any of their holds); then leases; then the entry's registrations and batches.
// A release hands the lock to the first waiter inside the same entry.
//
// Where to start reading: machine.go (Apply), lock.go and grant.go (LOCK and the hand-over),
// wait.go (the queue), session.go (what keeps holds alive), memo.go (request
// IDs), notice.go (LOCKLOST), codec.go (the format of entries), load.go (the
// format of records).
//
// The package never refuses by panic: a refused request is a code in a reply, a
// malformed entry an error of DecodeEntry, damaged records an error of Load.
package fsm
