package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Main runs the tests of a package and removes the binary that they built. Call it from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	buildMu.Lock()
	defer buildMu.Unlock()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	return code
}

var (
	buildMu  sync.Mutex
	buildDir string
	built    string
	buildErr error
)

// Binary returns the path of the redlockd under test. It is built once per test run, with the race detector where
// the test itself runs under it.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("LOCKTEST_BIN"); path != "" {
		return path
	}
	buildMu.Lock()
	defer buildMu.Unlock()
	if built == "" && buildErr == nil {
		if buildDir, buildErr = os.MkdirTemp("", "redlockd-bin-"); buildErr == nil {
			built, buildErr = Build(context.Background(), buildDir, Race)
		}
	}
	if buildErr != nil {
		t.Fatalf("building the server: %v", buildErr)
	}
	return built
}

// Tagged returns the path of a redlockd built with build tags, for as long as the test runs.
func Tagged(t testing.TB, tags ...string) string {
	t.Helper()
	path, err := Build(context.Background(), t.TempDir(), Race, tags...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build compiles cmd/redlockd of this repository into dir, with build tags if given, and returns its path.
func Build(ctx context.Context, dir string, race bool, tags ...string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "redlockd")
	args := []string{"build", "-o", path, "-tags", strings.Join(tags, ",")}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/redlockd")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/redlockd: %w\n%s", err, out)
	}
	return path, nil
}

// ModuleRoot returns the folder of this repository's go.mod, looking upwards from the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: run this inside the repository")
		}
		dir = up
	}
}

// OutDir returns the folder where the remains of failed tests and the bench's servers live.
func OutDir() (string, error) {
	if dir := os.Getenv("LOCKTEST_OUT"); dir != "" {
		return dir, nil
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "tests", "out"), nil
}
