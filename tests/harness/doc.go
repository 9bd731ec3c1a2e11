// Package harness runs real redlockd processes for tests: it builds the binary,
// starts it, follows its log, kills, pauses and restarts it, and talks to it.
//
//	test ──► Server ──► Process ──► redlockd (or redis-server, in the bench)
//	  │         └─ data folder, port, restarts     │ stdout and stderr
//	  │                                            ▼
//	  └────► Client, GoRedis, RedisCLI            Log ──► lines, server.log
//
// A [Cluster] is several of them, whose nodes reach each other by [Wires]: a
// proxy on loopback in front of each node, which cuts, delays and heals what
// passes from one node to another, by their names:
//
//	n1 ──► listener of n2 ──lane n1→n2──► n2        who is on a connection is read
//	                      ◄─lane n2→n1──            from /proc: Linux only, no root
//
// It owns the processes it started and ends them by their own handle, never by
// name. It never imports a package of the server: what it knows of redlockd is
// its flags, its log line when it serves, and the bytes on the wire.
//
// Tests wait by [Until] (a condition with a deadline), never by sleeping. The
// data folder and log of a failed test are kept in tests/out.
//
// Environment:
//
//	LOCKTEST_BIN      run this binary, do not build one
//	LOCKTEST_OUT      where the folders of failed tests are kept (default tests/out)
//	LOCKTEST_KEEP     if it is not empty, those of passed tests are kept, too
//	LOCKTEST_SEED     the seed of a random test, to repeat one that failed
//	LOCKTEST_LONG     runs what takes too long for every change as well (make cluster-tests)
//	LOCKTEST_ENTRIES  runs the test with so many log entries, which takes minutes
//
// REDLOCKD_* are options of the server and not handed on to it.
package harness
