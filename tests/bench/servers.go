package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// target is a server to measure.
type target struct {
	flavor  flavor
	addr    string
	version string
	proc    *harness.Process // nil: it ran before and goes on
	dir     string           // removed at the end; "" if it is not ours
}

func (t *target) stop() error {
	if t.proc == nil {
		return nil
	}
	_, err := t.proc.Stop(30 * time.Second)
	return errors.Join(err, os.RemoveAll(t.dir))
}

// startRedlockd starts a redlockd with a fresh data folder below dir.
func startRedlockd(ctx context.Context, bin, dir string, args ...string) (*target, error) {
	return startServer(dir, "redlockd-", func(root string) (*target, error) {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		addr := harness.Loopback(ports[0])
		proc, err := harness.Launch(ctx, harness.ProcessConfig{
			Path:    bin,
			Args:    append(harness.Flags(addr, harness.Loopback(ports[1]), filepath.Join(root, "data")), args...),
			Dir:     root,
			LogFile: filepath.Join(root, "server.log"),
			Ready:   harness.Serves(addr),
		})
		return &target{flavor: redlockdFlavor, addr: addr, proc: proc}, err
	})
}

// startRedis starts a redis-server that answers only what is on the disk.
func startRedis(ctx context.Context, dir string) (*target, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed (Debian: apt-get install redis-server): install it, or run with -redis=false")
	}
	t, err := startServer(dir, "redis-", func(root string) (*target, error) {
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		addr := harness.Loopback(ports[0])
		proc, err := harness.Launch(ctx, harness.ProcessConfig{
			Path: bin,
			Args: []string{
				"--bind", "127.0.0.1", "--port", strings.TrimPrefix(addr, "127.0.0.1:"), "--dir", root,
				"--appendonly", "yes", "--appendfsync", "always", "--save", "",
			},
			Dir:     root,
			LogFile: filepath.Join(root, "server.log"),
			Ready:   func(line string) bool { return strings.Contains(line, "Ready to accept connections") },
		})
		return &target{addr: addr, proc: proc}, err
	})
	if err != nil {
		return nil, err
	}
	sha, err := ask(t.addr, "SCRIPT", "LOAD", compareAndDelete)
	if err != nil {
		return nil, errors.Join(err, t.stop())
	}
	t.flavor = redisFlavor(sha.Text)
	return t, nil
}

// startServer makes a folder for a server and removes it if the start fails.
func startServer(dir, prefix string, start func(root string) (*target, error)) (*target, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(dir, prefix)
	if err != nil {
		return nil, err
	}
	t, err := start(root)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	t.dir = root
	t.version = versionOf(t.addr)
	return t, nil
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		var err error
		if ports[i], err = harness.FreePort(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// ask runs one command on a connection of its own.
func ask(addr string, args ...string) (harness.Value, error) {
	conn, err := harness.Dial(addr)
	if err != nil {
		return harness.Value{}, err
	}
	defer conn.Close()
	v, err := conn.Do(args...)
	if err == nil && v.Kind == harness.Error {
		err = fmt.Errorf("%s: %s", args[0], v.Text)
	}
	return v, err
}

// versionOf reads the version that a server tells in INFO; "" where it does not.
func versionOf(addr string) string {
	info, err := ask(addr, "INFO", "server")
	if err != nil {
		return ""
	}
	versions := map[string]string{}
	for line := range strings.Lines(info.Text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && strings.HasSuffix(name, "_version") {
			versions[name] = value
		}
	}
	if own := versions["redlockd_version"]; own != "" {
		return own
	}
	return versions["redis_version"]
}
