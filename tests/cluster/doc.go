// Package cluster tests redlockd's cluster of three from outside: real
// processes, real clients, and wires between the nodes that a test can cut.
// Nothing here is imported by anything.
//
// What is promised of a cluster, and the tests that hold it to that (the file
// is NAME_test.go; (long) runs by make cluster-tests alone):
//
//	any node serves any client        nodes: TestAnyNodeServesAnyClient, TestPassedBetweenFollowers, TestQueueOfManyNodes,
//	                                  TestOwnersLearnOfTheirLossAcrossNodes, TestKillAndUnblockAcrossNodes,
//	                                  TestScanCursorIsValidOnEveryNode
//	started in any order              nodes: TestStartsInAnyOrder
//	failover: killed, frozen, stopped failover: TestLeaderLost (frozen: long), TestLeaderBackBeforeTimeout; silence: TestFollowerGoes
//	exactly once                      failover: TestLeaderLost (counts, fences); named: TestNamedSessionMoves (retries with IDs);
//	                                  world: the named clients of every load retry with IDs, on any node
//	frozen nodes that thaw            silence: TestFrozenNodeThaws, TestFrozenWhileWriting
//	a dead node's sessions end        silence: TestDeadNodesSessionsEnd; named: TestNamedSessionEnds
//	minority                          cut: TestMinority (of the leader: long), TestOneWayCut
//	slow and broken wires             cut: TestSlowWires, TestBrokenConnections
//	rolling restart, hand-over        rolling: TestRollingRestart; failover: TestStopHandsOver, TestLeadershipMoves
//	the whole cluster is killed       named: TestAllKilled, TestAllKilledUnderLoad (long)
//	join, MEET, FORGET, five and back members: TestJoinAndForget, TestFiveAndBack; refused: TestMeet, TestNonvoter,
//	                                  TestRemovedWhileAway, TestWipedNode
//	refusals                          refused: TestMembersRefused, TestJoinRefused, TestStartedWithoutPeers
//	snapshots                         snapshot: TestBackBySnapshot (long); restore: TestKilledWhileRestoring (long)
//	                                  (backup and restore: tests/e2e)
//	divergence                        diverged: TestDiverged (long)
//	following the leader              clients: TestClusterFormats, TestClusterClient, TestClusterClientMoved, TestRedirect,
//	                                  TestSentinelPort, TestSentinelClient
//	operators see it                  operators: TestStatus, TestLogsTell; nodes: TestInfoAndRole
//	peers: TLS, own CA, loopback      tls: TestPeersSpeakTLS, TestPeersBeyondThisMachine
//	all of it at once                 chaos: TestChaos (long); tests/fault goes on from there
//
// Most of them run under the load of world_test.go, whose clients note all they
// are told; tests/check then says whether that can be true, and
// TestLoadNotices that it would say so.
//
// `go test ./tests/cluster` runs what every change must pass, `make
// cluster-tests` all. LOCKTEST_SEED repeats a random one. A failed test leaves
// the nodes' data and logs, and the load's history, in tests/out.
package cluster
