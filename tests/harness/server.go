package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one redlockd of a test: a data folder, a port, and the process that runs on them now. Its methods fail
// the test; call them from the test's goroutine.
type Server struct {
	t        testing.TB
	root     string // holds data/ and server.log; kept when the test fails
	data     string
	addr     string
	peerAddr string
	args     []string
	env      []string // added to the process's environment
	alone    bool     // without a peer port
	binary   string   // empty: that under test
	proc     *Process
	// expectKill is set once the test itself ended the process by force, so its exit code means nothing.
	expectKill bool
}

// Start starts a redlockd on a fresh data folder and a free port, with more flags if given, and returns once it
// serves. When the test ends it is stopped by SIGTERM, which must give exit code 0 and a log without a panic or a
// data race.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := Prepare(t, args...)
	s.Start()
	return s
}

// StartAlone is Start without a port for peers, as who just runs redlockd has it.
func StartAlone(t testing.TB, args ...string) *Server {
	t.Helper()
	s := Prepare(t, args...)
	s.alone = true
	s.Start()
	return s
}

// raceOptions spares the second that the race detector sleeps at a process's end.
const raceOptions = "GORACE=atexit_sleep_ms=0"

// Prepare makes the folders of a server and does not start it yet.
func Prepare(t testing.TB, args ...string) *Server {
	t.Helper()
	root, err := os.MkdirTemp("", "redlockd-test-")
	if err != nil {
		t.Fatalf("folder for the server: %v", err)
	}
	s := &Server{t: t, root: root, data: filepath.Join(root, "data"), args: args}
	t.Cleanup(s.cleanup)
	return s
}

// Start starts the process on this server's data folder, on the port that it had before, and waits until it serves.
func (s *Server) Start() {
	s.t.Helper()
	if s.proc != nil && s.proc.Running() {
		s.t.Fatal("the server runs already")
	}
	path := Binary(s.t)
	fresh := s.addr == ""
	for try := 1; ; try++ {
		if fresh {
			s.addr, s.peerAddr = s.freeAddr(), s.freeAddr()
		}
		proc, err := Launch(context.Background(), s.config(path))
		if err == nil {
			s.proc, s.expectKill = proc, false
			return
		}
		// Another process took the port between our look at it and the start: try another.
		if fresh && try < 5 && strings.Contains(err.Error(), "cannot listen on "+s.addr) {
			continue
		}
		s.t.Fatalf("start the server: %v", err)
	}
}

func (s *Server) config(path string) ProcessConfig {
	peerAddr := s.peerAddr
	if s.alone {
		peerAddr = ""
	}
	if s.binary != "" {
		path = s.binary
	}
	return ProcessConfig{
		Path:    path,
		Args:    append(Flags(s.addr, peerAddr, s.data), s.args...),
		Dir:     s.root,
		Env:     append([]string{raceOptions}, s.env...),
		LogFile: filepath.Join(s.root, "server.log"),
		Ready:   Serves(s.addr),
	}
}

func (s *Server) freeAddr() string {
	s.t.Helper()
	port, err := FreePort()
	if err != nil {
		s.t.Fatal(err)
	}
	return Loopback(port)
}

// Addr is where clients connect.
func (s *Server) Addr() string { return s.addr }

// Port is the port of Addr.
func (s *Server) Port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// Data is the data folder.
func (s *Server) Data() string { return s.data }

// Process is the present, or last, process.
func (s *Server) Process() *Process { return s.proc }

// Wipe empties the data folder of a server that does not run.
func (s *Server) Wipe() {
	s.t.Helper()
	if s.proc != nil && s.proc.Running() {
		s.t.Fatal("the server runs: its data stay")
	}
	if err := os.RemoveAll(s.data); err != nil {
		s.t.Fatal(err)
	}
}

// SetBinary gives the next Start another redlockd; "" the usual one.
func (s *Server) SetBinary(path string) { s.binary = path }

// PeerListen is where the process itself listens for its peers.
func (s *Server) PeerListen() string { return s.peerAddr }

// SetArgs replaces the flags of the next Start.
func (s *Server) SetArgs(args ...string) { s.args = args }

// SetEnv replaces what the next Start adds to the environment, as NAME=value.
func (s *Server) SetEnv(pairs ...string) { s.env = pairs }

// Kill ends the process with SIGKILL.
func (s *Server) Kill() {
	s.expectKill = true
	s.proc.Kill()
}

// Stop ends the process with SIGTERM and returns its exit code.
func (s *Server) Stop() int {
	s.t.Helper()
	code, err := s.proc.Stop(Patience)
	if err != nil {
		s.expectKill = true
		s.t.Fatalf("stop the server: %v\n%s", err, s.proc.Log().Tail(20))
	}
	return code
}

// Restart stops the process by SIGTERM, unless it has ended, and starts it again on the same data and port.
func (s *Server) Restart() {
	s.t.Helper()
	if s.proc.Running() {
		if code := s.Stop(); code != 0 {
			s.t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
	}
	s.Start()
}

// Pause freezes the process (SIGSTOP) until Continue, and returns when all its threads stand still.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	Until(s.t, "the server is frozen", s.proc.Frozen)
}

// Continue lets a paused process go on.
func (s *Server) Continue() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.proc.Signal(sig); err != nil {
		s.t.Fatalf("%v to the server: %v", sig, err)
	}
}

// RSS returns the resident memory of the process in bytes.
func (s *Server) RSS() int64 {
	s.t.Helper()
	rss, err := s.proc.RSS()
	if err != nil {
		s.t.Fatal(err)
	}
	return rss
}

// CPU returns the processor time that the process has used.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	cpu, err := s.proc.CPU()
	if err != nil {
		s.t.Fatal(err)
	}
	return cpu
}

// badSigns are words in a server's log that no test provokes.
var badSigns = []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "goroutine stack exceeds"}

func (s *Server) cleanup() {
	if s.proc != nil {
		if s.proc.Running() {
			if code, err := s.proc.Stop(Patience); err != nil || code != 0 {
				s.t.Errorf("stop the server at the end of the test: exit code %d, %v\n%s", code, err, s.proc.Log().Tail(20))
			}
		} else if code := s.proc.ExitCode(); !s.expectKill && code != 0 {
			s.t.Errorf("the server ended by itself: exit code %d\n%s", code, s.proc.Log().Tail(20))
		}
		s.checkLog()
	}
	if s.t.Failed() || os.Getenv("LOCKTEST_KEEP") != "" {
		s.keep()
		return
	}
	if err := os.RemoveAll(s.root); err != nil {
		s.t.Logf("remove the folder of the server: %v", err)
	}
}

// checkLog looks through the log of all the processes that this server had.
func (s *Server) checkLog() {
	log, err := os.ReadFile(filepath.Join(s.root, "server.log"))
	if err != nil {
		s.t.Errorf("log of the server: %v", err)
		return
	}
	for _, sign := range badSigns {
		if _, after, found := strings.Cut(string(log), sign); found {
			s.t.Errorf("the server's log has %q:\n%s%.2000s", sign, sign, after)
		}
	}
}

// keep moves the folder of a failed test to tests/out.
func (s *Server) keep() {
	out, err := OutDir()
	if err == nil {
		name := strings.Map(func(r rune) rune {
			if strings.ContainsRune(`/\:*?"<>| `, r) {
				return '_'
			}
			return r
		}, s.t.Name())
		out = filepath.Join(out, fmt.Sprintf("%s-%s", name, filepath.Base(s.root)))
		err = os.MkdirAll(filepath.Dir(out), 0o755)
	}
	if err == nil && os.Rename(s.root, out) != nil { // another file system: copy
		if err = os.CopyFS(out, os.DirFS(s.root)); err == nil {
			err = os.RemoveAll(s.root)
		}
	}
	if err != nil {
		s.t.Logf("the data and log of the server stay in %s: %v", s.root, err)
		return
	}
	s.t.Logf("the data and log of the server are kept in %s", out)
}
