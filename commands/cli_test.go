package commands

import (
	"os/exec"
	"strings"
	"testing"
)

// TestRedisCLIHelp: redis-cli makes its help of COMMAND DOCS.
func TestRedisCLIHelp(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("redis-cli is not installed (Debian: apt install redis-tools)")
	}
	w := newWorld(t, "")
	port := w.addr[strings.LastIndexByte(w.addr, ':')+1:]
	for _, tt := range []struct{ topic, want string }{
		{"lock", "LOCK key [LEASE milliseconds] [OWNER label] [ID request] [NOTE text] [KEEP] [ASYNC]"},
		{"lock", "summary: Acquires a lock, waiting in line until it is granted"},
		{"lock", "group: generic"},
		{"trylock", "TRYLOCK key [TIMEOUT milliseconds]"},
		{"session attach", "SESSION ATTACH name [TTL milliseconds] [HEARTBEAT]"},
		{"unwait", "UNWAIT key ID request [OWNER label]"},
		{"client setinfo", "CLIENT SETINFO LIB-NAME libname|LIB-VER libver"},
		{"@generic", "DESTROY key [NOTE text]"},
		{"cluster failover", "CLUSTER FAILOVER [node-id]"},
		{"@cluster", "CLUSTER MEET address [port] [peer-port]"},
		{"time", "summary: Tells the node's wall clock"},
	} {
		out, err := exec.Command(cli, append([]string{"-p", port, "help"}, strings.Fields(tt.topic)...)...).CombinedOutput()
		plain := ansi.Replace(string(out))
		if err != nil || !strings.Contains(plain, tt.want) || strings.Contains(plain, "(null)") {
			t.Errorf("help %s: %v\n%s\nwant %s", tt.topic, err, plain, tt.want)
		}
	}
}

var ansi = strings.NewReplacer("\x1b[1m", "", "\x1b[0m", "", "\x1b[33m", "", "\x1b[90m", "")
