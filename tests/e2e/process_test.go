package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// freeAddr is an address for a start that is refused, or an extra one.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return harness.Loopback(port)
}

// wantRefused checks that a start ended with an error that a person understands.
func wantRefused(t *testing.T, got harness.Outcome, words ...string) {
	t.Helper()
	if got.Code <= 0 {
		t.Errorf("exit code %d, want an error's", got.Code)
	}
	for _, word := range words {
		if !strings.Contains(got.Output, word) {
			t.Errorf("the message does not say %q:\n%s", word, got.Output)
		}
	}
	if strings.Contains(got.Output, "goroutine ") {
		t.Errorf("a stack in place of a message:\n%s", got.Output)
	}
}

// TestServesLine: one line, with address, node, data directory and version.
func TestServesLine(t *testing.T) {
	s := harness.Start(t, "--node-id", "n-7")
	var lines []string
	for _, line := range s.Process().Log().Lines() {
		if harness.Serves(s.Addr())(line) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("%d lines say that it serves: %q", len(lines), lines)
	}
	for _, word := range []string{s.Addr(), "n-7", s.Data(), "version"} {
		if !strings.Contains(lines[0], word) {
			t.Errorf("no %q in: %s", word, lines[0])
		}
	}
	if node := s.Client().Field("SESSION INFO", "node").Text; node != "n-7" {
		t.Errorf("SESSION INFO names node %q, want n-7", node)
	}
}

// TestSecondStart: two processes on one data folder.
func TestSecondStart(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	c.Want("LOCK k", ":1")
	wantRefused(t, harness.Run(t, harness.Flags(freeAddr(t), freeAddr(t), s.Data())...), s.Data(), "in use")
	c.Want("ISOWNER k", ":1")
	// And on one port.
	wantRefused(t, harness.Run(t, harness.Flags(s.Addr(), freeAddr(t), filepath.Join(t.TempDir(), "data"))...), s.Addr(), "in use")
	c.Want("UNLOCK k", ":0")
}

func TestProtectedMode(t *testing.T) {
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	open := fmt.Sprintf("0.0.0.0:%d", port)
	data := filepath.Join(t.TempDir(), "data")
	wantRefused(t, harness.Run(t, harness.Flags(open, freeAddr(t), data)...), open, "--requirepass", "protected-mode")
	if _, err := os.Stat(data); err == nil {
		t.Error("a refused start made a data folder")
	}
	for _, flag := range []string{"--protected-mode=no", "--requirepass=x"} {
		// The second --listen: the first is loopback.
		s := harness.Start(t, "--listen", open, flag)
		c := harness.Connect(t, fmt.Sprintf("127.0.0.1:%d", port))
		if v := c.Line("PING"); (v.String() == "+PONG") != (flag == "--protected-mode=no") {
			t.Errorf("%s: PING %v", flag, v)
		}
		if code := s.Stop(); code != 0 {
			t.Errorf("%s: exit code %d", flag, code)
		}
	}
}

// TestListeners: a second address, and a unix socket, also after a kill that left it behind.
func TestListeners(t *testing.T) {
	second := freeAddr(t)
	socket := filepath.Join(t.TempDir(), "redlockd.sock")
	s := harness.Start(t, "--listen", second, "--listen", "unix:"+socket)
	all := func() {
		t.Helper()
		holder := s.Client()
		fence := holder.Int("LOCK k")
		for _, addr := range []string{second, socket} {
			c := harness.Connect(t, addr)
			c.Want("FENCE k", fmt.Sprintf(":%d", fence))
			c.Want("TRYLOCK k", ":0")
			c.Close()
		}
		holder.Want("UNLOCK k", ":0")
	}
	all()
	s.Kill()
	s.Start()
	all()
}

// TestSources: flags, environment and file are one declaration; the nearest wins.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "redlockd.toml")
	if err := os.WriteFile(file, []byte("node-id = \"from-file\"\nmax-clients = 77\nsession-timeout = \"7s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, "--config", file, "--node-id=from-flag", "--lock-acquire-limit", "3")
	c := s.Client()
	for name, want := range map[string]string{"max-clients": "77", "session-timeout": "7000", "lock-acquire-limit": "3"} {
		c.Want("CONFIG GET "+name, fmt.Sprintf("[%q %q]", name, want))
	}
	if node := c.Field("SESSION INFO", "node").Text; node != "from-flag" {
		t.Errorf("node %q, want from-flag", node)
	}

	// A mistake names its place.
	start := func(env []string, more ...string) harness.Outcome {
		return harness.RunEnv(t, env, append(harness.Flags(freeAddr(t), freeAddr(t), filepath.Join(dir, "data")), more...)...)
	}
	wantRefused(t, start([]string{"REDLOCKD_SESSION_TIMEOUT=soon"}), "REDLOCKD_SESSION_TIMEOUT", "soon")
	wantRefused(t, start(nil, "--no-such-flag"), "--no-such-flag")
	wantRefused(t, start(nil, "--config", file+".missing"), file+".missing")
	if err := os.WriteFile(file, []byte("nodeid = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, start(nil, "--config", file), file, "nodeid")
}

func TestHelpAndVersion(t *testing.T) {
	help := harness.Run(t, "--help")
	for _, flag := range []string{
		"--listen", "--data-dir", "--node-id", "--peer-listen", "--session-timeout", "--request-timeout", "--tcp-timeout",
		"--lock-acquire-limit", "--requirepass", "--config", "--protected-mode",
	} {
		if !strings.Contains(help.Output, flag) {
			t.Errorf("--help does not have %s", flag)
		}
	}
	for _, word := range []string{"127.0.0.1:7379", "redlockd-data", "REDLOCKD_"} {
		if !strings.Contains(help.Output, word) {
			t.Errorf("--help does not say %s", word)
		}
	}
	version := harness.Run(t, "version")
	if !regexp.MustCompile(`redlockd \d+\.\d+\.\d+`).MatchString(version.Output) {
		t.Errorf("version: %q", version.Output)
	}
	completion := harness.Run(t, "completion", "bash")
	if help.Code != 0 || version.Code != 0 || completion.Code != 0 || !strings.Contains(completion.Output, "redlockd") {
		t.Errorf("exit codes %d, %d, %d, want 0", help.Code, version.Code, completion.Code)
	}
}

// TestOrderlyStop: SIGTERM with a blocked client, one under way, and holds of both kinds of session.
func TestOrderlyStop(t *testing.T) {
	s := harness.Start(t)
	named, anonymous, blocked, kept := s.Client(), s.Client(), s.Client(), s.Client()
	named.Line("SESSION ATTACH job TTL 600000")
	fence := named.Int("LOCK named LEASE 3600000 OWNER t")
	named.Want("LOCK named OWNER t", fmt.Sprintf(":%d", fence))
	anonymous.Want("LOCK anonymous", fmt.Sprintf(":%d", fence+1))
	keep := kept.Int("LOCK kept LEASE 3600000 KEEP")
	blocked.Send("LOCK named")
	untilWaiters(t, anonymous, "named", 1)
	if code := s.Stop(); code != 0 {
		t.Fatalf("exit code %d after SIGTERM, want 0", code)
	}
	if got := blocked.WantClosed(); got != "" && !strings.HasPrefix(got, "-") {
		t.Errorf("the blocked client got %q", got)
	}
	s.Start()
	c := s.Client()
	info := c.Line("LOCKINFO named")
	if f, _ := info.Field("fence"); f.Int != fence {
		t.Errorf("after the restart: %v, want fence %d", info, fence)
	}
	c.Want("LOCKCOUNT named", ":2")
	c.Want("LOCKINFO anonymous", c.Line("LOCKINFO anonymous").String())
	c.Want("ISLOCKED anonymous", ":0")
	c.Want("LOCKWAITERS named", "[]")
	c.Want(fmt.Sprintf("UNLOCK kept FENCE %d", keep), ":0")
	c.Line("SESSION ATTACH job")
	c.Want("UNLOCK named OWNER t", ":1")
	c.Want("UNLOCK named OWNER t", ":0")
	if got := c.Int("LOCK anonymous"); got <= keep {
		t.Errorf("fence %d after the restart, want more than %d", got, keep)
	}
}

// TestShutdownCommand ends the process as SIGTERM does.
func TestShutdownCommand(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	c.Line("SESSION ATTACH job TTL 600000")
	c.Want("LOCK k OWNER t", ":1")
	c.Send("SHUTDOWN")
	if got := c.WantClosed(); got != "" {
		t.Errorf("SHUTDOWN answered %q", got)
	}
	if err := s.Process().Wait(harness.Patience); err != nil {
		t.Fatal(err)
	}
	if code := s.Process().ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	s.Start()
	s.Client().Want("FENCE k", ":1")
}

// TestRestarts: connection ids and fences never come again, whatever the end of the process.
func TestRestarts(t *testing.T) {
	s := harness.Start(t)
	var lastID, lastFence int64
	for i := range 4 {
		c := s.Client()
		id, fence := c.Int("CLIENT ID"), c.Int("LOCK k")
		if id <= lastID || fence <= lastFence {
			t.Fatalf("start %d: connection %d after %d, fence %d after %d", i, id, lastID, fence, lastFence)
		}
		lastID, lastFence = id, fence
		if i%2 == 0 {
			s.Kill()
		} else if code := s.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		s.Start()
	}
}

// TestSignalsThatEndNothing: SIGHUP, and a log that nobody reads any more. Either would
// end a Go program, and with it every lock of its clients.
func TestSignalsThatEndNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.Command(harness.Binary(t), harness.Flags(addr, freeAddr(t), filepath.Join(t.TempDir(), "data"))...)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // one that has ended is left alone
	_ = w.Close()
	lines := bufio.NewScanner(r)
	for serves := harness.Serves(addr); lines.Scan() && !serves(lines.Text()); {
	}
	_ = r.Close()
	c := harness.Connect(t, addr)
	c.Want("LOCK k", ":1")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.Want("CONFIG SET log-level info", "+OK") // writes a line
	}
	c.Want("ISOWNER k", ":1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v, want an orderly stop", err)
	}
}
