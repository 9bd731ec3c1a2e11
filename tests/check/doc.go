// Package check tells whether what clients of redlockd were told can be true.
//
// Clients note in a [History] what they ask, before they send it, and what they
// are told, after they have received it. [Check] looks at all of it afterwards:
//
//	clients ──Begin, Done, Lost, Unknown──► History ──► linear checks, all of it at once
//	the test ──MayEnd, MustEnd, End, Hash──►        └─► Porcupine, lock by lock
//	                                                          │ faults
//	                                  history.jsonl, LOCK.html ◄┘
//
// The linear checks (a million requests in seconds) find:
//
//   - a fence given for two grants, or told for two keys, or one that is not above
//     every fence which had been told before it can have been given;
//   - a lock granted while its holder was still promised it, and a holder that
//     acted on a lock after the next one had been told that it has it;
//   - a hold count that does not follow from the answers: each command takes
//     effect exactly once, and one without an answer once or not at all;
//   - LOCKLOST told to one that lost nothing, and not told to one that did;
//   - a waiter overtaken by one that asked when it was in line already, or that was
//     seen behind it ([History.Queue]), also one that is refused later;
//   - a waiter refused before its time was over ([Op.Waits]), or at all if it was to
//     wait for ever;
//   - a request that was never answered though its connection stayed, one answered
//     twice, and an answer or value that its kind of request does not have;
//   - a release or renewal that named one hold and was done to another;
//   - a resource (one that accepts only rising fences) which refused the holder,
//     or lost an update;
//   - nodes whose states differ at the same entry.
//
// Porcupine then looks for one order of each lock's requests that a sequential
// lock would answer the same way (model.go; ghosts.go for what may have happened
// or not). That also finds a lock which is stuck: one refused when its holder must
// be gone. A Porcupine that gives up is a fault as well.
// It finds a waiter that was forgotten till its time was over, too: it is then, not
// before, that its lock must be another one's. cases_test.go and adversary_test.go
// have a bad history for each of all these.
//
// It judges by what was sent and received alone, and by what a test says about
// the ends of sessions; it knows no node, connection or server. Order is that of
// the calls here, numbered under one lock, so that it means something under
// testing/synctest too, where many things have the same time. Times matter only
// for leases, waits and ends of sessions.
package check
