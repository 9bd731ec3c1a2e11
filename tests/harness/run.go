package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Outcome is how a run of the binary ended.
type Outcome struct {
	Code   int
	Output string // stdout and stderr
}

// Run runs the binary to its end, as for `redlockd version` or a start that must be refused. One that does not end is
// killed and fails the test.
func Run(t testing.TB, args ...string) Outcome {
	t.Helper()
	return RunEnv(t, nil, args...)
}

// RunEnv is Run with more environment.
func RunEnv(t testing.TB, env []string, args ...string) Outcome {
	t.Helper()
	dir := t.TempDir()
	p, err := Spawn(ProcessConfig{Path: Binary(t), Args: args, Env: append(env, raceOptions), Dir: dir, LogFile: filepath.Join(dir, "run.log")})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(Patience); err != nil {
		p.Kill()
		t.Fatalf("redlockd %s: %v; killed\n%s", strings.Join(args, " "), err, p.Log().Tail(20))
	}
	out, err := os.ReadFile(filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	return Outcome{Code: p.ExitCode(), Output: string(out)}
}
