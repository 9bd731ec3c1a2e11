package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/tests/harness"
)

func TestMain(m *testing.M) {
	code := harness.Main(m)
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var (
	builtDir  string
	buildOnce = sync.OnceValue(buildServer)
)

// useFaultyServer lets the harness run a server with package inject in it. Neither it nor the clients have the race
// detector, for speed and memory count here: tests/cluster runs both with it.
func useFaultyServer(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("some minutes of faults: skipped by -short")
	}
	if harness.Race {
		t.Skip("times and memory mean nothing under the race detector: skipped; make faults runs it without")
	}
	if err := buildOnce(); err != nil {
		t.Fatalf("building the server: %v", err)
	}
	t.Setenv("LOCKTEST_BIN", filepath.Join(builtDir, "redlockd"))
}

// buildServer builds redlockd with changes, see there and package inject.
func buildServer() error {
	root, err := harness.ModuleRoot()
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	goroot := strings.TrimSpace(string(out))
	if builtDir, err = os.MkdirTemp("", "redlockd-faulty-"); err != nil {
		return err
	}
	overlay, err := writeOverlay(root, goroot)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "go", "build", "-overlay", overlay, "-tags", os.Getenv("LOCKTEST_TAGS"), "-o", filepath.Join(builtDir, "redlockd"), "./cmd/redlockd")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build -overlay %s ./cmd/redlockd: %w\n%s", overlay, err, out)
	}
	return nil
}

// changes are what is different in the servers of these tests: the wall clock can be stepped, and the log is cut soon, so
// that nodes which were away, or join, are sent snapshots.
var changes = []struct{ dir, file, was, is string }{
	{
		"GOROOT", "src/time/time.go",
		"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n",
		"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += wallStepNow()\n",
	},
	{"", "cluster/options.go", "DefaultSnapshotEntries = 1 << 16", "DefaultSnapshotEntries = 1 << 11"},
	{"", "cluster/options.go", "DefaultTrailingLogs    = 1 << 12", "DefaultTrailingLogs    = 1 << 8"},
}

// writeOverlay writes the files that take the place of others, or stand beside them, and the list of them.
func writeOverlay(root, goroot string) (string, error) {
	instead := map[string]string{
		filepath.Join(goroot, "src", "time", "zz_faults.go"): filepath.Join(root, "tests", "fault", "inject", "clock.go.txt"),
	}
	write := func(path, text string) error {
		to := filepath.Join(builtDir, fmt.Sprintf("%d.go", len(instead)))
		if instead[path] != "" {
			to = instead[path]
		}
		instead[path] = to
		return os.WriteFile(to, []byte(text), 0o644)
	}
	for _, c := range changes {
		path := filepath.Join(root, c.file)
		if c.dir != "" {
			path = filepath.Join(goroot, c.file)
		}
		from := path
		if instead[path] != "" {
			from = instead[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if strings.Count(string(text), c.was) != 1 {
			return "", fmt.Errorf("%s is not as it was when the faults were written: it has to have\n%s", path, c.was)
		}
		if err := write(path, strings.Replace(string(text), c.was, c.is, 1)); err != nil {
			return "", err
		}
	}
	const main = "package main\n\nimport _ \"github.com/redlockd/redlockd/tests/fault/inject\"\n"
	if err := write(filepath.Join(root, "cmd", "redlockd", "zz_with_faults.go"), main); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": instead})
	if err != nil {
		return "", err
	}
	path := filepath.Join(builtDir, "overlay.json")
	return path, os.WriteFile(path, list, 0o644)
}
