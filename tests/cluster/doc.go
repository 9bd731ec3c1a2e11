// Package cluster tests redlockd's cluster of three from outside: real
// processes, real clients, and wires between the nodes that a test can cut.
// Nothing here is imported by anything.
//
//   - nodes_test.go: any node serves any client; start in any order; scans,
//     CLIENT KILL and UNBLOCK across nodes.
//   - failover_test.go: the leader is killed, frozen, stopped, moved.
//   - silence_test.go: nodes that fall silent, their sessions, and frozen ones
//     that come back.
//   - cut_test.go: minorities, one-way cuts, slow wires.
//   - named_test.go: named sessions outlive their nodes, and all nodes at once.
//   - rolling_test.go: one node after the other is stopped and started.
//   - members_test.go: nodes that join and leave.
//   - snapshot_test.go: the log is cut, and a node that was away comes back.
//   - chaos_test.go: random faults under load.
//
// Most of them run under the load of world_test.go, whose clients note all they
// are told; tests/check then says whether that can be true.
//
// `go test ./tests/cluster` runs all; -short leaves out what takes longer than
// some seconds. LOCKTEST_SEED repeats a random one.
package cluster
