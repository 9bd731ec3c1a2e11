// Package e2e tests redlockd from outside: real processes, real clients, real
// kills. Nothing here is imported by anything.
//
//   - stories_test.go runs testdata/stories/*.txt, the commands of COMMANDS.md
//     line by line, over our own RESP client and go-redis, RESP2 and RESP3.
//   - cli_test.go, goredis_test.go: redis-cli and go-redis as people use them.
//   - blocking_test.go, sessions_test.go, auth_test.go: what lines cannot tell.
//   - process_test.go: starts, stops, second starts, options.
//   - hostile_test.go, hostile_limits_test.go, idle_test.go, vanished_linux_test.go:
//     bad packets, many connections, clients whose machine is gone.
//   - damage_test.go: flipped and cut files of the data folder.
//   - durability_test.go, recovery_test.go: kill -9 at any moment, and how fast
//     the node serves again.
//
// `go test ./tests/e2e` runs all; -short leaves out what takes minutes.
package e2e
