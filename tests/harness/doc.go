// Package harness runs real redlockd processes for tests: it builds the binary,
// starts it, follows its log, kills, pauses and restarts it, and talks to it.
//
//	test ──► Server ──► Process ──► redlockd (or redis-server, in the bench)
//	  │         └─ data folder, port, restarts     │ stdout and stderr
//	  │                                            ▼
//	  └────► Client, GoRedis, RedisCLI            Log ──► lines, server.log
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
//	LOCKTEST_SEED     the seed of a random test, to repeat one that failed
//	LOCKTEST_ENTRIES  runs the test with so many log entries, which takes minutes
//
// REDLOCKD_* are options of the server and not handed on to it.
package harness
