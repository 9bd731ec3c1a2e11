package fsm_test

// Mutations of the machine and what catches each. They were tried one at a time
// with `go test -short ./fsm`; whoever adds a rule to the machine should be able to
// add a line here.
//
//	elapse: leases before sessions            TestStories/incarnation, TestRandom
//	elapse: waits after leases                TestStories/timeouts, ids_named, TestRandom
//	free: the last in line first              TestStories/handoff (and five more), TestRandom
//	handOver: the old fence again             TestStories/handoff, TestRandom
//	handOver: a lease counts from the queue   TestStories/leases, info, TestRandom
//	reenter: the newer lease, not the later   TestStories/leases, TestRandom
//	reenters: also unlabelled in a named one  TestStories/unlabelled_named, TestRandom
//	sessionsDue: one session after the other  TestStories/sessions
//	keepalive: a number counts twice          TestStories/incarnation, TestRandom
//	batch: a number may be skipped            TestStories/batches, TestRandom
//	op: s without s-1                         TestSequenceOfAConnection
//	op: the sequence is not written           TestHash, TestSequenceOfAConnection (the reloaded twin)
//	extend: TTLs do not move                  TestStories/terms, TestRandom
//	endNotice: LOCK tells of leases too       TestStories/notices (and eight more), TestRandom
//	grant: the notice stays                   TestStories/notices, force, TestRandom
//	ended: notices last one TTL               TestStories/notices, TestRandom
//	lock: 0 does not supersede                TestStories/cancelled, TestRandom
//	repeated: a rejoined wait starts anew     TestStories/ids_named
//	orphan: session-timeout for the TTL       TestStories/ids_named, TestRandom
//	repeatGrant: does not claim               TestStories/ids_named
//	vacate: forgets IDs at the release        TestRandom, FuzzProgram's seeds
//	unwait: a re-entered hold too             TestStories/unwait
//	unlock: all counts at once                TestStories/reentrant (and seven more)
