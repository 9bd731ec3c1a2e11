// Package fault befalls real redlockd processes with all that goes wrong: nodes
// that are killed, lose what they had not synced, freeze, are cut off in one
// direction or both, have slow links, full disks and wrong clocks, are restarted
// one by one, join and leave; and clients that want to do harm. Nothing here is
// imported by anything but the servers that it builds (package inject).
//
//   - load_test.go, client_test.go, cycle_test.go: clients on all nodes, which
//     note all they are told in a check.History.
//   - run_test.go: the schedule, in rounds that are judged one by one.
//   - faults_test.go: the faults.
//   - table_test.go: what each kind did, as it is told at the end.
//   - soak_test.go: hostile clients.
//   - build_test.go: the server with package inject in it.
//
// `go test ./tests/fault` takes some minutes; `make chaos MINUTES=60` and
// `make soak` are the long forms. -short leaves both out.
//
// Environment:
//
//	LOCKTEST_MINUTES  for how long faults happen (default 2)
//	LOCKTEST_SEED     which faults, to repeat a run: the kinds, the nodes, the times
//	LOCKTEST_FAULT    only faults with this in their names ("power cut")
//	LOCKTEST_TAGS     build tags of the server, for one of the seeded bugs (canary_log_unsynced)
//	LOCKTEST_SOAK     for how long hostile clients come (default 15s)
//
// What a run that failed leaves is in tests/out: histories as JSON lines,
// Porcupine's drawings of the locks that cannot be explained, and the nodes'
// data and logs. The test prints the paths.
package fault
