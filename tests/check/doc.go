// Package check tells whether what clients of redlockd were told can be true.
//
// Clients note in a [History] what they ask, before they send it, and what they
// are told, after they have received it. [History.Check] looks at all of it
// afterwards and returns what can not be:
//
//   - a fence given for two grants, or one that is not above a fence which had
//     been answered before it was asked for;
//   - a lock granted while its holder was still promised it, and a holder that
//     acted on a lock after the next one had been told that it has it;
//   - a hold count that does not follow from the answers: each command takes
//     effect exactly once, and one without an answer once or not at all;
//   - a waiter overtaken by one that asked when it was in line already.
//
// It judges by what was sent and received alone, and by what a test says about
// the ends of sessions; it knows no node, connection or server.
package check
