package harness

import (
	"regexp"
	"strconv"
	"strings"
)

// servesLine is redlockd's one line when it serves. The address in it is checked apart from it.
var servesLine = regexp.MustCompile(`(?i)\bserv(es|ing)\b`)

// Serves returns what tells redlockd's one line when it serves on addr.
func Serves(addr string) func(line string) bool {
	return func(line string) bool {
		return strings.Contains(line, addr) && servesLine.MatchString(line)
	}
}

// Flags returns the flags of a redlockd of one node. Without peerAddr it has no port for peers.
func Flags(addr, peerAddr, dataDir string) []string {
	flags := []string{"--listen", addr, "--data-dir", dataDir}
	if peerAddr != "" {
		flags = append(flags, "--peer-listen", peerAddr)
	}
	return flags
}

// Loopback returns the address of a port on this machine.
func Loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
