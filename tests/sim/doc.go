// Package sim runs whole clusters of 1, 3 and 5 nodes in one process, in virtual
// time (testing/synctest), under faults that a seed decides.
//
//	                 seed ──► plan of faults ──► world
//	                   │                          │ crash, freeze, cut, slow, lose, fill,
//	                   ▼                          ▼ hand over, join, forget
//	clients ──► link ──► sessions.Table ──► cluster.Node ──► store ──► Pebble on a
//	   │         │        (real)             (real, raft)    (real)    crashable disk
//	   │         │                               │
//	   │         └ held while frozen             └──► network in memory, other nodes
//	   ▼
//	tests/check: what was asked and told, judged afterwards
//
// Real are the cluster, the machine, the store and the sessions. Made up are the
// network (network: delays, losses, cuts in one direction), the disk (Pebble's file
// system in memory; a crash keeps what was synced and any part of the rest), each
// node's clock, and the clients. They speak to sessions.Table, the layer below RESP.
//
// A process is frozen (process.freeze) as far as that can be done from outside:
// its clock stands still, its network and its clients are held, Raft can not write
// its log, and what is applied is not answered. Its timers run; they find that no
// time has passed. Its Raft sees the bubble's time.
//
// What a process had sent when it was killed may still arrive, however late a cut
// way delivers it, and a node may see late that a client has gone. Disks stall (no
// write of Raft's log or votes ends) or are slow (each takes its time, and is known
// to be synced later than it is). Some faults strike whoever has just been elected,
// and some come several at once.
//
// A client of a named session works at times over two connections to two nodes
// (client.team): owners without a label exclude each other, those of one label enter
// together, and what one connection took another one gives back. One that lives keeps
// the session, whatever became of the other. A client of a HEARTBEAT session is silent
// for nearly its TTL (client.hush). Limits are set so low that they are met.
//
// At the end of a seed all is healed. Then every wait must be answered, no lock may
// stay held, all nodes must have the same state, and tests/check must find that
// what the clients were told is what happened.
//
// The same seed gives the same faults at the same moments and the same programs.
// The order of goroutines is Go's, so a failure may take a few runs to come again:
//
//	LOCKTEST_SEED=17 go test ./tests/sim -run TestSim -v      one seed, with its plan and log
//	make sim SEEDS=2500                                      many
package sim
