// Command bench measures redlockd over loopback, beside redis-server under the
// same load, and prints a table.
//
//	go run ./tests/bench                       the whole table: 8 cells, both servers, 3 rounds
//	go run ./tests/bench -conns 64 -pipeline 1,16 -rounds 5
//	go run ./tests/bench -memory               and resident memory: idle, 100,000 held locks, 10,000 idle connections
//	go run ./tests/bench -contended            and hand-offs a second of one lock that all want
//	go run ./tests/bench -cycles=false -memory only that
//	go run ./tests/bench -addr host:port       a server that runs already (alone, without redis)
//	go run ./tests/bench -nodes 3              a cluster: clients on the leader, and on a follower; hand-offs between nodes
//	go run ./tests/bench -nodes 3 -faults 20   and the time without service, of 20 faults of each kind
//	go run ./tests/bench -json runs.json       every run, for a machine to read
//
// # What a cycle is
//
// One lock taken and given back, by a key that nobody else uses:
//
//	redlockd   LOCK key                        →  fence     UNLOCK key                →  0
//	redis      SET key token NX PX 30000       →  OK        EVALSHA compare-and-delete →  1
//
// Keys and tokens are random in each cycle. Every reply is checked; a wrong one ends the run.
//
// # How it is driven
//
// A closed loop: each connection is one goroutine. With pipeline P it writes P acquires in one piece, reads P
// replies, writes P releases, reads P replies, and begins again: P independent cycles in flight on each connection. The
// latency of a cycle is from the moment before the acquires are written to the reply of its own release; it is
// recorded in an HDR histogram (two digits). A closed loop asks no faster than it is answered, so the percentiles
// hold for this load and not for one that comes from outside.
//
// Commands are built once; a cycle only writes 16 hexadecimal digits into them and allocates nothing. The generator
// shares the machine's cores with the server, on purpose and for both alike.
//
// # How the servers run
//
// Both are started here, in folders of their own under the same directory (-dir, default tests/out: a disk, and not
// a tmpfs), with their defaults but for: redis-server --appendonly yes --appendfsync always --save "". So both
// answer only what is on the disk. Each cell alternates: redlockd, redis, redlockd, redis; the table has the medians
// over the rounds, and the spread of the rate. The server that is not measured idles.
//
// # Three nodes
//
// With -nodes all nodes run on this machine and share its cores and its disk with the generator. A cell alternates
// between clients on the leader and clients on one follower. A hand-off is measured at rest, from before the UNLOCK is
// sent to the grant on the other connection, which is known to wait. The time without service is the longest time
// between two answers to clients that lock and unlock without a pause on the nodes that a fault does not befall; it
// has a cluster of its own, whose nodes reach each other by wires that can be cut.
//
// The memory section takes each figure twice: at once, and at rest (the lowest in the ten seconds after).
package main
