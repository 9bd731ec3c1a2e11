package main

import (
	"fmt"
	"io"
	"os"
)

const (
	exitOK    = 0
	exitStart = 1
	// exitFatal is EX_TEMPFAIL: a supervisor may start the process again.
	exitFatal = 75
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole process; it returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	root := newCommand(environ, stdout, stderr)
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		fmt.Fprintf(stderr, "redlockd: %v\n", err)
		return exitStart
	}
	return exitOK
}
