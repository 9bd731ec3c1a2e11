// Package commands is what a client can type. One table of Specs declares every
// command: name, arity, flags, key, arguments, replies, summary, example and
// handler. Dispatch, errors about arity, COMMAND and its subcommands, XXX HELP,
// docs/commands.md, metric labels and the check that each command is tested are
// derived from it, so that they cannot disagree.
//
//	resp reader ─► Handler.Command ─► Table.resolve ─► Spec
//	                                                    │
//	         lock or session command: parse ─► fsm.Op ─► sessions.Conn.Do ─► the cluster
//	         any other: run, and answer               ◄── client.Answer: phrase ◄── its reply
//
// Commands that are ops fly in pipelines: their replies come in the order in
// which they were sent. Whatever is answered here would overtake them, so it
// says "not now" while a reply is outstanding, and resp brings it again.
//
// Errors are one line: a code of COMMANDS.md, then a sentence that names the
// lock, the holder and the reason. phrase.go has them all.
//
// To add a command: declare a Spec in the table of its group (specs_*.go),
// write its parse and phrase (an op) or its run (anything else), and put a
// dialogue with it into testdata. Then run go generate ./commands.
//
// What the package knows of other nodes comes by the interface Cluster: CLUSTER,
// ROLE, INFO replication and raft, redirects (redirect.go) and the Sentinel port
// (sentinel.go), which is a Handler of its own with a table of its own.
// docs/cluster.md says which client sees what, and why.
//
// What this package never does: it keeps no lock and no session, and never
// waits but in CLUSTER MEET, FORGET and FAILOVER, which have a goroutine each
// (membership.go). Parsing and phrasing LOCK, TRYLOCK and UNLOCK allocates
// nothing.
package commands

//go:generate go run ./internal/manual
