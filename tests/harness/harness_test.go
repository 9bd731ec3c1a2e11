package harness

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServerLife(t *testing.T) {
	useFake(t, "serves")
	s := Start(t)
	ping := func() {
		t.Helper()
		s.Client().SendRaw("PING\r\n")
	}
	ping()
	addr, first := s.Addr(), s.Process().PID()

	s.Kill()
	if code := s.Process().ExitCode(); code != -1 {
		t.Errorf("exit code %d after SIGKILL, want -1", code)
	}
	s.Start()
	if s.Addr() != addr {
		t.Errorf("address %s after a restart, want %s", s.Addr(), addr)
	}
	if s.Process().PID() == first {
		t.Error("the same process after a restart")
	}
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	s.Restart()

	starts, err := os.ReadFile(s.Data() + ".starts")
	if err != nil || string(starts) != "xxx" {
		t.Errorf("starts %q, %v; want 3 on the same folder", starts, err)
	}
}

func TestServerPause(t *testing.T) {
	useFake(t, "serves")
	s := Start(t)
	c := s.Client()
	c.SendRaw("PING\r\n")
	c.WantRaw("+PONG\r\n")
	s.Pause()
	c.SendRaw("PING\r\n")
	if v, err := c.Conn().ReceiveWithin(50 * time.Millisecond); err == nil {
		t.Errorf("a paused server answered %v", v)
	}
	s.Continue()
	c.WantRaw("+PONG\r\n")
}

func TestServerMeasures(t *testing.T) {
	useFake(t, "serves")
	s := Start(t)
	if rss := s.RSS(); rss < 1<<20 || rss > 1<<32 {
		t.Errorf("resident memory of %d bytes", rss)
	}
	if cpu := s.CPU(); cpu < 0 || cpu > time.Minute {
		t.Errorf("processor time %v", cpu)
	}
}

func TestRunToItsEnd(t *testing.T) {
	useFake(t, "refuses")
	if got := Run(t); got.Code != 3 || got.Output != "refused: this is why\n" {
		t.Errorf("got %+v", got)
	}
}

func TestLaunchTellsWhyNot(t *testing.T) {
	useFake(t, "refuses")
	_, err := Launch(context.Background(), ProcessConfig{
		Path: Binary(t), LogFile: filepath.Join(t.TempDir(), "log"), Ready: func(string) bool { return false },
	})
	if err == nil || !strings.Contains(err.Error(), "this is why") || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("got %v", err)
	}
}

func TestLaunchGivesUp(t *testing.T) {
	useFake(t, "serves")
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = Launch(context.Background(), ProcessConfig{
		Path: Binary(t), LogFile: filepath.Join(dir, "log"), Patience: 20 * time.Millisecond,
		Args:  Flags(Loopback(port), Loopback(port), filepath.Join(dir, "data")),
		Ready: func(string) bool { return false },
	})
	if err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
	if l, err := net.Listen("tcp", Loopback(port)); err != nil {
		t.Errorf("the process was left behind: %v", err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// recorder is a testing.TB that notes failures in place of failing.
type recorder struct {
	testing.TB
	failed   bool
	cleanups []func()
}

func (r *recorder) Helper()               {}
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }
func (r *recorder) finish() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestFailedTestKeepsItsFolder(t *testing.T) {
	useFake(t, "panics")
	out := t.TempDir()
	t.Setenv("LOCKTEST_OUT", out)
	r := &recorder{TB: t}
	s := Start(r)
	root := filepath.Dir(s.Data())
	r.finish()
	if !r.failed {
		t.Error("a panic in the log did not fail the test")
	}
	kept, err := filepath.Glob(filepath.Join(out, "TestFailedTestKeepsItsFolder-*", "server.log"))
	if err != nil || len(kept) != 1 {
		t.Errorf("kept %v, %v; want one server.log", kept, err)
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("the folder is still in its first place: %v", err)
	}
}

func TestPassedTestLeavesNothing(t *testing.T) {
	useFake(t, "serves")
	r := &recorder{TB: t}
	s := Start(r)
	r.finish()
	if _, err := os.Stat(filepath.Dir(s.Data())); r.failed || !os.IsNotExist(err) {
		t.Errorf("failed %v, folder: %v", r.failed, err)
	}
}

func TestLogLines(t *testing.T) {
	l := NewLog(io.Discard)
	found := make(chan string)
	go func() {
		line, err := l.Wait(context.Background(), func(line string) bool { return strings.HasPrefix(line, "b") })
		if err != nil {
			line = err.Error()
		}
		found <- line
	}()
	for _, part := range []string{"a1\nb", "2", "3\nb4", "\n"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-found; got != "b23" {
		t.Errorf("found %q, want b23", got)
	}
	l.end()
	if _, err := l.Wait(context.Background(), func(string) bool { return false }); !errors.Is(err, errLogEnded) {
		t.Errorf("waiting on an ended log: %v", err)
	}
}

func TestReadValue(t *testing.T) {
	for _, c := range []struct{ wire, want string }{
		{":5\r\n", ":5"},
		{":9223372036854775807\r\n", ":9223372036854775807"},
		{"+OK\r\n", "+OK"},
		{"-NOTOWNER lock\r\n", "-NOTOWNER lock"},
		{"$3\r\na\r\n\r\n", `"a\r\n"`},
		{"$0\r\n\r\n", `""`},
		{"$-1\r\n", "_"},
		{"*-1\r\n", "_"},
		{"_\r\n", "_"},
		{"*2\r\n:1\r\n*0\r\n", "[:1 []]"},
		{"%1\r\n$1\r\nk\r\n:1\r\n", "{k=:1}"},
		{"~1\r\n#t\r\n", "~[#1]"},
		{">1\r\n#f\r\n", ">[#0]"},
		{",1.5\r\n", ",1.5"},
		{"=5\r\ntxt:a\r\n", `"txt:a"`},
	} {
		r := bufio.NewReader(strings.NewReader(c.wire))
		v, err := ReadValue(r)
		if err != nil || v.String() != c.want {
			t.Errorf("%q: %v, %v; want %s", c.wire, v, err, c.want)
		}
		if n := r.Buffered(); n != 0 {
			t.Errorf("%q: %d bytes left", c.wire, n)
		}
	}
	for _, wire := range []string{
		":x\r\n", ":5\n", "?\r\n", "\r\n", "$2\r\nabcd", "$2\r\na", "*2\r\n:1\r\n", "$-2\r\n", "$99999999999\r\n", "#x\r\n", "#\r\n",
		"+a\rb\r\n", "+abc", strings.Repeat("*1\r\n", 100),
	} {
		if v, err := ReadValue(bufio.NewReader(strings.NewReader(wire))); err == nil {
			t.Errorf("%q: %v, want an error", wire, v)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	if got := string(AppendCommand(nil, "LOCK", "")); got != "*2\r\n$4\r\nLOCK\r\n$0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestServesLine(t *testing.T) {
	serves := Serves("127.0.0.1:7379")
	for line, want := range map[string]bool{
		`level=INFO msg=serving address=127.0.0.1:7379`:         true,
		`level=INFO msg="redlockd serves" addr=127.0.0.1:7379`:  true,
		`level=INFO msg=serving address=127.0.0.1:7380`:         false,
		`level=INFO msg=listening address=127.0.0.1:7379`:       false,
		`level=INFO msg="opened server" address=127.0.0.1:7379`: false,
	} {
		if serves(line) != want {
			t.Errorf("%s: %v, want %v", line, !want, want)
		}
	}
}
