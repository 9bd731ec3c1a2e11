package e2e

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// wantOutput checks what redis-cli printed, line by line; a line of want may hold * for anything.
func wantOutput(t *testing.T, got, want string) {
	t.Helper()
	gotLines := strings.Split(strings.TrimSpace(got), "\n")
	wantLines := strings.Split(strings.TrimSpace(want), "\n")
	for i, line := range wantLines {
		if i >= len(gotLines) || !glob(strings.TrimSpace(line), strings.TrimSpace(gotLines[i])) {
			t.Fatalf("line %d is not %q:\n%s", i+1, line, got)
		}
	}
	if len(gotLines) > len(wantLines) {
		t.Fatalf("more than %d lines:\n%s", len(wantLines), got)
	}
}

// TestReadmeSession is the first thing that a person types.
func TestReadmeSession(t *testing.T) {
	cli := harness.Start(t).RedisCLI()
	out, code := cli.Run("LOCK orders:42\nLOCKINFO orders:42\nUNLOCK orders:42\n", "--no-raw")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantOutput(t, out, `
		(integer) 1
		 1) "key"
		 2) "orders:42"
		 3) "state"
		 4) "held"
		 5) "fence"
		 6) (integer) 1
		 7) "holds"
		 8) (integer) 1
		 9) "session"
		10) (integer) *
		11) "session-name"
		12) ""
		13) "owner"
		14) ""
		15) "connection"
		16) (integer) *
		17) "client-name"
		18) ""
		19) "address"
		20) "127.0.0.1:*"
		21) "node"
		22) "*"
		23) "lease-ms"
		24) (integer) -1
		25) "held-ms"
		26) (integer) *
		27) "waiters"
		28) (integer) 0
		29) "note"
		30) ""
		(integer) 0`)
}

func TestCLIResp3(t *testing.T) {
	cli := harness.Start(t).RedisCLI()
	out, code := cli.Run("", "-3", "--no-raw", "LOCKINFO", "k")
	if !regexp.MustCompile(`(?m)^ *1# "key" => "k"$`).MatchString(out) || code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestCLIOneShots: a shell's connection lives for one command, so it uses KEEP.
func TestCLIOneShots(t *testing.T) {
	s := harness.Start(t)
	cli := s.RedisCLI()
	fence, _ := cli.Run("", "TRYLOCK", "backup", "LEASE", "3600000", "KEEP")
	fence = strings.TrimSpace(fence)
	if fence == "" || fence == "0" {
		t.Fatalf("fence %q", fence)
	}
	if out, _ := cli.Run("", "TRYLOCK", "backup", "LEASE", "3600000", "KEEP"); out != "0\n" {
		t.Errorf("a second TRYLOCK: %q, want 0", out)
	}
	if out, code := cli.Run("", "-e", "UNLOCK", "backup"); code != 1 || !strings.HasPrefix(out, "NOTOWNER lock \"backup\"") {
		t.Errorf("UNLOCK without the fence: exit code %d, %q", code, out)
	}
	if out, _ := cli.Run("", "UNLOCK", "backup", "FENCE", fence); out != "0\n" {
		t.Errorf("UNLOCK: %q, want 0", out)
	}

	// A hold without KEEP goes with the connection.
	if out, _ := cli.Run("", "LOCK", "gone"); strings.TrimSpace(out) == "" {
		t.Error("LOCK answered nothing")
	}
	c := s.Client()
	harness.Until(t, "the hold of the ended redis-cli is gone", func() bool { return c.Int("ISLOCKED gone") == 0 })
}

func TestCLIHelp(t *testing.T) {
	cli := harness.Start(t).RedisCLI()
	for _, word := range []string{"lock", "TRYLOCK", "session attach"} {
		out, _ := cli.Run("help "+word+"\n", "--no-raw")
		if !strings.Contains(out, strings.ToUpper(word)) || !strings.Contains(out, "summary:") || !strings.Contains(out, "since:") {
			t.Errorf("help %s:\n%s", word, out)
		}
	}
}

// TestCLIPipe sends many commands of one connection at once, as `redis-cli --pipe` does: it ends with an ECHO of
// random bytes.
func TestCLIPipe(t *testing.T) {
	cli := harness.Start(t).RedisCLI()
	const cycles = 5000
	var in bytes.Buffer
	for i := range cycles {
		key := fmt.Sprintf("pipe:%d", i)
		in.Write(harness.AppendCommand(nil, "LOCK", key))
		fmt.Fprintf(&in, "UNLOCK %s\r\n", key) // inline commands mix with the others
	}
	out, code := cli.Run(in.String(), "--pipe")
	if want := fmt.Sprintf("errors: 0, replies: %d", 2*cycles); code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit code %d, want %q:\n%s", code, want, out)
	}
}

func TestCLIAuth(t *testing.T) {
	cli := harness.Start(t, "--requirepass", "s3cret").RedisCLI()
	if out, _ := cli.Run("", "PING"); !strings.HasPrefix(out, "NOAUTH") {
		t.Errorf("without a password: %q", out)
	}
	if out, _ := cli.Run("", "-a", "s3cret", "--no-auth-warning", "PING"); out != "PONG\n" {
		t.Errorf("with the password: %q", out)
	}
	if out, _ := cli.Run("", "--user", "default", "--pass", "wrong", "--no-auth-warning", "PING"); !strings.Contains(out, "WRONGPASS") {
		t.Errorf("with a wrong password: %q", out)
	}
}
