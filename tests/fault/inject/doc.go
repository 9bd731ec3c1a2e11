// Package inject is linked into the servers that tests/fault builds, and into no
// other: it lets a test from outside step the wall clock of a running server,
// fill its disk, and know what of its write-ahead log is synced.
//
//	test ──Page.StepClock, SetDisk──► page (a file mapped by both) ──► package time, vfs.Default
//	     ◄─Page.Synced, CutPower────                               ◄── faultFS
//
// The build changes files by `go build -overlay`, so that nothing of it is in the
// server's own sources: package time gets clock.go.txt, and cmd/redlockd a file
// that imports this package.
package inject
