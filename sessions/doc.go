// Package sessions ties what this node's clients send to what the cluster
// answers: connection, session, reply slots.
//
//	 reader goroutine                        apply goroutine
//	 (one per connection)                    (one per node)
//	        │ Do, Do, ...                           │ Deliver(effects)
//	        ▼                                       ▼
//	   gathered slots                      connection by id, oldest open slot
//	        │ Flush                                 │ Answer, in op order
//	        ▼                                       ▼
//	┌─ Conn ─────────────────────────────────────────────────────┐
//	│ ring of open slots, oldest first; slot i has number base+i │
//	│ flying: with the cluster      held: here, to be proposed   │
//	└────────────────────────────────────────────────────────────┘
//	        │ Propose (in op order)                 │ Flush once per touched
//	        ▼                                       ▼ connection, then Close
//	     cluster                                 commands, resp
//
// It owns the connection numbers of the present incarnation, the sequence
// numbers and slots of each connection, and the wish for a session that a
// client name expresses. It never decides who holds a lock, never reads a clock
// to end anything, starts no goroutine, and does no I/O.
//
// # Goroutines and locks
//
// Three kinds of goroutine come in: a connection's reader (Do, Silent, Flush,
// SetName: one at a time per connection), the apply goroutine (Begin, Deliver:
// one at a time per node) and the cluster's timer (End, Down, Uncertain,
// Contacts, Live). Closed, Kill, Info and the other methods may come from anywhere.
//
// The locks, in the order in which they are taken:
//
//	Table.answering  →  Conn.mu  →  Table.mu
//	                    Conn.mu  →  what Cluster.Propose locks
//	                    Conn.mu  →  what Answerer.Answer locks
//
// Table.answering is held through each Deliver, Down and Uncertain, so that one
// connection is never answered by two of them at a time, flushes included.
// Table.mu is held for lookups only and nothing is called under it. Ops are
// proposed under Conn.mu so that they reach the cluster in the order of their
// numbers, whoever proposes; replies are answered under it so that they reach the
// client in order. Hence: the cluster must not call the Table while it holds what
// Propose locks; Answer must not call the connection back, except for ID of a
// numbered connection and Outstanding, which take no lock; and whoever holds what
// Answer locks of a connection with open ops must not call into this package.
// Answerer.Flush and Answerer.Close are called without Conn.mu and may call Closed.
package sessions
