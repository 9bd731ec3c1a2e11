// Package store keeps a node's bytes on disk: Raft's log, Raft's votes and
// term, the records of the state machine, and snapshots, all in one Pebble
// database with one write-ahead log (WAL).
//
//	 raft (log)      raft (votes)     cluster (apply)       raft (snapshots)
//	     │                │                 │                    │
//	 Store.Log        Store.Stable      Store.Apply         Store.Snapshots
//	     │ synced         │ synced          │ not synced         │ offers the state itself;
//	     ▼                ▼                 ▼                    ▼ stages what is received
//	┌────────────────────────────────────────────────┐   ┌────────────────────┐
//	│ Pebble: l… log   s… stable   f… state   m… meta│   │ received.snapshot  │
//	└───────────────────────┬────────────────────────┘   └────────────────────┘
//	                    one WAL: a synced write makes all earlier writes durable
//
// What follows from the one WAL: the state is written without a sync, since
// every entry is appended (synced) before it is applied; after a crash the
// state may be behind the log, never ahead of it, and Raft replays the rest.
// Cutting the log is synced, so it can never outrun the state.
//
// The state is at the same time the newest local snapshot: see DESIGN.md for
// that decision, the layout of every record, and what happens at each start.
//
// A write or a sync that fails, or that takes longer than Options.WriteLimit,
// ends the process by Options.OnFatal. There is no way to go on after a failed
// sync: the kernel may have dropped the pages and report success next time.
//
// The package never looks into a log entry's data or into a state record. It
// never imports fsm.
package store
