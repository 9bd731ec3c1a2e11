// Package cluster is the only host of hashicorp/raft. It brings a node's ops
// into the Raft log, many to one entry, and what the lock machine makes of the
// log back to the node's connections.
//
// It owns: this node's incarnation, its numbered batches and keepalives
// (agent); building entries and stamping cluster time (proposer, leaderClock);
// applying committed entries (applier); taking and leaving office (leadership);
// what every Raft error means (errors.go); start and stop (Node).
//
// It never knows what a lock is, never parses a command, never answers a
// client, and never imports resp, commands or sessions. Replies leave it
// through Host.Deliver alone.
//
// The goroutines as lanes, one LOCK from the left to the right and back:
//
//	connections        agent             proposer         raft main       raft FSM
//	(many)             (timers)          (one)            (raft's)        (raft's)
//	   │                  │                 │                 │               │
//	Propose ─ queue ──────┼── wake ───────▶ │                 │               │
//	   │                  │             draw: seal a batch    │               │
//	   │                  │             stamp, encode         │               │
//	   │                  │                 ├── raft.Apply ──▶│               │
//	   │                  │                 │             StoreLogs           │
//	   │                  │                 │             (one sync)          │
//	   │                  │                 │                 ├── committed ─▶│
//	   │                  │                 │◀─── next entry may go ──────── Apply
//	   │                  │                 │                 │          Machine.Apply
//	   │                  │                 │                 │          Storage.Apply
//	   │                  │◀── batches, keepalives, ends: agent.before ───────┤
//	replies ◀─────────────┼──────────────── Host.Deliver ─────────────────────┤
//	   │                  │◀── agent.after: Begin ────────────────────────────┤
//	   │              keepalives,           │                 │               │
//	   │              re-sends,         ticks when a          │               │
//	   │              request-timeout   deadline has come     │               │
//
// and some that mostly sleep: leadership (watches Raft's term and state,
// barrier at the start of each term), watch (tells the log and others who leads),
// snapshotter (asks Raft for a snapshot each SnapshotBytes of log), and one settle
// goroutine for each entry in flight. With peers: port.run (news), mesh.keep for
// each member, forwarder, and seek (joins, asks for the vote, asks whether this
// node is a member still); while the node stops, despair.
//
// Locks, in the order in which they may be taken: agent.hostMu, proposer.mu,
// agent.mu. The view lock (Node.View, Machine.Apply) is taken alone. Host is
// never called under any of them but hostMu, which only puts Begin and End in
// order.
package cluster
