package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// served is a whole node inside the test's process.
type served struct {
	t       *testing.T
	addr    string
	stop    context.CancelFunc
	done    chan error
	serving chan string
	logged  chan struct{}
	log     []string // all lines so far; complete once done has answered
}

// configure loads a configuration from flags, on a free port and in a directory
// of the test's own unless the flags say otherwise.
func configure(t *testing.T, args ...string) *options.Config {
	t.Helper()
	flags := pflag.NewFlagSet("redlockd", pflag.ContinueOnError)
	for _, group := range options.Groups() {
		options.Register(flags, group)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg, err := options.Load(flags, []string{"REDLOCKD_LISTEN=127.0.0.1:0", "REDLOCKD_DATA_DIR=" + filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

var servingLine = regexp.MustCompile(`level=INFO msg=serving listen="?\[([^ \]]+).*\]"? node=\S+ data=\S+ version=` + regexp.QuoteMeta(version) + `$`)

// start runs a node until it serves.
func start(t *testing.T, cfg *options.Config) *served {
	t.Helper()
	s := begin(t, cfg)
	s.serves()
	return s
}

// begin runs a node.
func begin(t *testing.T, cfg *options.Config) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{t: t, stop: cancel, done: make(chan error, 1), serving: make(chan string, 1), logged: make(chan struct{})}
	r, w := io.Pipe()
	go func() {
		err := serve(ctx, cfg, w)
		_ = w.Close()
		s.done <- err
	}()
	go func() {
		defer close(s.logged)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			s.log = append(s.log, lines.Text())
			if m := servingLine.FindStringSubmatch(lines.Text()); m != nil {
				s.serving <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-s.logged
	})
	return s
}

// serves waits until the node serves.
func (s *served) serves() {
	s.t.Helper()
	select {
	case s.addr = <-s.serving:
	case err := <-s.done:
		<-s.logged
		s.t.Fatalf("it ended before it served: %v\n%s", err, strings.Join(s.log, "\n"))
	case <-time.After(patience):
		s.t.Fatal("it does not serve")
	}
}

// ends waits for the end of the node.
func (s *served) ends() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(patience):
		s.t.Fatal("it does not end")
		return nil
	}
}

// say sends a line on a connection and returns the next line of the answer.
func say(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(answer)
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestServeAndStop(t *testing.T) {
	cfg := configure(t)
	s := start(t, cfg)
	c := dial(t, "tcp", s.addr)
	for _, step := range []struct{ line, want string }{
		{"PING", "+PONG"},
		{"LOCK orders:42", ":1"},
		{"UNLOCK orders:42", ":0"},
		{"SESSION ATTACH job TTL 60000", "*2"},
	} {
		if got := say(t, c, step.line); got != step.want {
			t.Fatalf("%s: %s, want %s", step.line, got, step.want)
		}
	}
	c = dial(t, "tcp", s.addr)
	if got := say(t, c, "CLIENT SETNAME session:job"); got != "+OK" {
		t.Fatal(got)
	}
	if got := say(t, c, "LOCK kept"); got != ":2" {
		t.Fatal(got)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Fatal(err)
	}
	if len(s.log) != 1 {
		t.Errorf("it logged more than that it serves:\n%s", strings.Join(s.log, "\n"))
	}

	// What the named session held is there after the next start.
	again := *cfg
	s = start(t, &again)
	if got := say(t, dial(t, "tcp", s.addr), "FENCE kept"); got != ":2" {
		t.Errorf("the hold of a named session is %s after a restart", got)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestShutdownCommand(t *testing.T) {
	s := start(t, configure(t))
	c := dial(t, "tcp", s.addr)
	if _, err := fmt.Fprint(c, "SHUTDOWN\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestAWaitDoesNotHoldUpTheStop(t *testing.T) {
	s := start(t, configure(t))
	holder, waiter := dial(t, "tcp", s.addr), dial(t, "tcp", s.addr)
	if got := say(t, holder, "LOCK k"); got != ":1" {
		t.Fatal(got)
	}
	if _, err := fmt.Fprint(waiter, "LOCK k\r\n"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestListenTwiceAndUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.sock")
	s := start(t, configure(t, "--listen=127.0.0.1:0", "--listen=unix:"+path))
	for network, addr := range map[string]string{"tcp": s.addr, "unix": path} {
		if got := say(t, dial(t, network, addr), "PING"); got != "+PONG" {
			t.Errorf("%s: %s", addr, got)
		}
	}
	_, err := bind("--listen", []string{"unix:" + path})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the socket of a living server: %v", err)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestBusyPortTouchesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg := configure(t, "--listen", taken.Addr().String())
	err = serve(t.Context(), cfg, io.Discard)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "choose another with --listen") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

func TestSecondStartOnTheSameData(t *testing.T) {
	cfg := configure(t)
	s := start(t, cfg)
	second := *cfg
	err := serve(t.Context(), &second, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("%v", err)
	}
	if got := say(t, dial(t, "tcp", s.addr), "PING"); got != "+PONG" {
		t.Errorf("the first one answers %s", got)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestLiveSettingsAct(t *testing.T) {
	s := start(t, configure(t))
	c := dial(t, "tcp", s.addr)
	if got := say(t, c, "CONFIG SET requirepass s3cret"); got != "+OK" {
		t.Fatal(got)
	}
	other := dial(t, "tcp", s.addr)
	if got := say(t, other, "LOCK k"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without the new password: %s", got)
	}
	if got := say(t, other, "AUTH s3cret"); got != "+OK" {
		t.Errorf("with it: %s", got)
	}
	if got := say(t, c, "CONFIG SET data-dir /elsewhere"); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("a setting of the start: %s", got)
	}
	if got := say(t, c, "CONFIG SET max-client 5"); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("a setting that does not exist: %s", got)
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

func TestStaleSocketIsCleared(t *testing.T) {
	dir := t.TempDir()
	stale, file := filepath.Join(dir, "stale"), filepath.Join(dir, "file")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a killed process leaves it
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	bound, err := bind("--listen", []string{"unix:" + stale})
	if err != nil {
		t.Fatal(err)
	}
	unbind(bound)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bind("--listen", []string{"127.0.0.1:0", "unix:" + file}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file was touched: %q, %v", data, err)
	}
}

// TestMoreClientsThanFiles: clients never take the files that the store needs, without
// which it ends the process; also not when CONFIG SET lets more of them in.
func TestMoreClientsThanFiles(t *testing.T) {
	if n, err := fitFiles(1, 2); n != 1 || err != nil {
		t.Error(n, err)
	}
	if _, err := fitFiles(1<<40, 1); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("%v", err)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := syscall.Rlimit{Cur: 2 * spareFiles, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) })
	n := start(t, configure(t))
	c := dial(t, "tcp", n.addr)
	if got := say(t, c, "CONFIG SET max-clients 5000"); got != "+OK" {
		t.Error(got)
	}
	if got := infoLine(t, c, "clients", "maxclients"); got != strconv.Itoa(spareFiles) {
		t.Errorf("of %d files clients may take %s", few.Cur, got)
	}
	n.stop()
	if err := n.ends(); err != nil {
		t.Error(err)
	}
}

// infoLine returns one value of a section of INFO.
func infoLine(t *testing.T, c net.Conn, section, name string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The PING behind it marks the end.
	if _, err := fmt.Fprintf(c, "INFO %s\r\nPING\r\n", section); err != nil {
		t.Fatal(err)
	}
	value := ""
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != "+PONG"; {
		if v, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			value = v
		}
	}
	return value
}

// TestAStalledClientLeavesTheClusterTime: a client that reads none of its replies holds
// up the stop; when its time is over, the cluster still has some to hand over.
func TestAStalledClientLeavesTheClusterTime(t *testing.T) {
	cfg := configure(t)
	listeners, err := bindAll(cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := newLines(io.Discard, "text")
	defer out.close()
	log, threshold := newLogger(out, "text", "info")
	ctx, stop := context.WithCancelCause(context.Background())
	n, err := open(cfg, listeners, log, threshold, stop, out)
	if err != nil {
		t.Fatal(err)
	}
	served, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- n.run(ctx, cfg, listeners, log, func() { close(served) }) }()
	<-served
	c := dial(t, "tcp", names(listeners.clients)[0])
	if got := say(t, c, "LOCK k"); got != ":1" {
		t.Fatal(got)
	}
	for n.server.Stats().Unread.Load() == 0 {
		if _, err := fmt.Fprint(c, "COMMAND DOCS\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	stop(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	limited, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	if err := n.stopClients(limited); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the client was not waited for: %v", err)
	}
	if err := limited.Err(); err != nil {
		t.Errorf("nothing is left for the cluster: %v", err)
	}
	if err := n.close(context.Background()); err != nil {
		t.Error(err)
	}
}
