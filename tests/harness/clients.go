package harness

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// GoRedis returns a go-redis client that never retries and lets LOCK wait: nothing but the caller's context ends a
// command. It is closed when the test ends.
func GoRedis(t testing.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	opts := &redis.Options{
		Addr:                  addr,
		MaxRetries:            -1,
		ReadTimeout:           -1,
		WriteTimeout:          Patience,
		DialTimeout:           Patience,
		PoolTimeout:           Patience,
		ContextTimeoutEnabled: true,
	}
	for _, f := range change {
		f(opts)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() }) // closed by the test already, or ended here
	return client
}

// RedisCLI runs Debian's redis-cli against the server.
type RedisCLI struct {
	t    testing.TB
	path string
	port string
}

// RedisCLI skips the test where redis-cli is not installed.
func (s *Server) RedisCLI() *RedisCLI {
	s.t.Helper()
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		s.t.Skip("redis-cli is not installed (Debian: apt-get install redis-tools): skipped")
	}
	return &RedisCLI{t: s.t, path: path, port: s.Port()}
}

// Run runs redis-cli with arguments and input and returns its output (stdout, then stderr) and exit code.
func (r *RedisCLI) Run(stdin string, args ...string) (string, int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.path, append([]string{"-p", r.port}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		r.t.Fatalf("redis-cli %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String() + stderr.String(), cmd.ProcessState.ExitCode()
}
