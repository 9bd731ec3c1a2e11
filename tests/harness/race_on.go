//go:build race

package harness

// Race reports whether the test runs under the race detector; the server is then built with it, too.
const Race = true
