package commands

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// asked is an op that a connection gave to its session.
type asked struct {
	op  fsm.Op
	tag any
}

// fakeSession stands for a *sessions.Conn: the test answers its ops.
type fakeSession struct {
	out  sessions.Answerer
	id   fsm.ConnID
	asks chan asked

	mu      sync.Mutex
	name    string
	known   bool
	down    error // of ID and Alive
	waiting bool
	closed  bool
	flushes int
}

func (s *fakeSession) ID() (fsm.ConnID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return 0, s.down
	}
	return s.id, nil
}

func (s *fakeSession) Do(op fsm.Op, tag any) {
	for _, b := range []*[]byte{&op.Key, &op.Owner, &op.ID, &op.Note, &op.Name, &op.Value} {
		*b = append([]byte(nil), *b...)
	}
	s.mu.Lock()
	s.known = true
	s.mu.Unlock()
	s.asks <- asked{op, tag}
}

func (s *fakeSession) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
}

func (s *fakeSession) SetName(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
	return nil
}

func (s *fakeSession) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

func (s *fakeSession) Known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

func (s *fakeSession) Touch() {}

func (s *fakeSession) Alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *fakeSession) Info() sessions.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sessions.Info{ID: s.id, Name: s.name, Waiting: s.waiting}
}

func (s *fakeSession) Closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *fakeSession) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// next waits for the session's next op.
func (s *fakeSession) next(t testing.TB) asked {
	t.Helper()
	select {
	case a := <-s.asks:
		return a
	case <-time.After(patience):
		t.Fatal("no op came")
		panic("unreachable")
	}
}

// answer gives the reply to an op, as sessions would.
func (s *fakeSession) answer(a asked, r fsm.Reply) {
	s.out.Answer(&a.op, a.tag, &r)
	s.out.Flush()
}

// fakeState is a cluster of settings and counts.
type fakeState struct{ settings map[string]string }

func (f fakeState) Setting(name string) (string, bool) { v, ok := f.settings[name]; return v, ok }

func (f fakeState) Stats() fsm.Stats {
	return fsm.Stats{Sessions: 3, NamedSessions: 1, Connections: 2, Holds: 5, Waiters: 4, LastFence: 99, Grants: 7}
}

func (f fakeState) Now() int64 { return 123456 }

// fakeSettings are a node's own settings.
type fakeSettings struct {
	mu     sync.Mutex
	values map[string]string
}

func (f *fakeSettings) List() []string { return []string{"log-level", "max-clients", "data-dir"} }

func (f *fakeSettings) Get(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.values[name]
	return v, ok
}

func (f *fakeSettings) Set(name, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case name == "data-dir":
		return ErrImmutable
	case name == "max-clients" && strings.Trim(value, "0123456789") != "":
		return errors.New("argument couldn't be parsed into an integer")
	}
	f.values[name] = value
	return nil
}

// world is a server with a fake cluster behind it.
type world struct {
	t        testing.TB
	h        *Handler
	srv      *resp.Server
	addr     string
	sessions chan *fakeSession
	settings *fakeSettings
	stopped  chan struct{}
	backups  atomic.Int32 // files of backups that are open
	cluster  *fakeCluster // nil: a node alone
	sentinel *Sentinel    // nil but on a Sentinel port

	mu       sync.Mutex
	password string
	opened   int
	refuse   error
}

// newWorld is a node alone.
func newWorld(t testing.TB, password string) *world {
	t.Helper()
	return newWorldOf(t, password, nil, nil)
}

// newWorldOf is a node of a cluster (nil: none) with further options.
func newWorldOf(t testing.TB, password string, cluster *fakeCluster, more func(*Options)) *world {
	t.Helper()
	w := &world{
		t:        t,
		password: password,
		cluster:  cluster,
		sessions: make(chan *fakeSession, 64),
		stopped:  make(chan struct{}, 4),
		settings: &fakeSettings{values: map[string]string{"log-level": "info", "max-clients": "10000", "data-dir": "./redlockd-data"}},
	}
	values := map[string]string{}
	for _, name := range fsm.SettingNames() {
		values[name] = "10000"
	}
	o := Options{
		Version: "0.1.0-test", RunID: strings.Repeat("ab", 20), Open: w.open, State: fakeState{values}, Settings: w.settings,
		Password: w.pass, Shutdown: func() { w.stopped <- struct{}{} },
		Port:   func() int { return 7379 },
		Now:    wallClock,
		Status: cluster.status,
		Backup: w.backup,
		Net:    func() *resp.Stats { return w.srv.Stats() },
		Limits: resp.NewLimits(),
		Logger: slog.New(slog.DiscardHandler),
	}
	if cluster != nil {
		o.Cluster = cluster
	}
	if more != nil {
		more(&o)
	}
	w.h = NewHandler(o)
	w.serve(w.h)
	return w
}

// newSentinelWorld is a Sentinel port.
func newSentinelWorld(t testing.TB, password string, cluster *fakeCluster) *world {
	t.Helper()
	w := &world{t: t, password: password, cluster: cluster}
	w.sentinel = NewSentinel(SentinelOptions{
		Version: "0.1.0-test", RunID: strings.Repeat("cd", 20), Port: func() int { return 26379 }, Cluster: cluster, Status: cluster.status,
		Password: w.pass, Now: wallClock, Net: func() *resp.Stats { return w.srv.Stats() }, Limits: resp.NewLimits(),
		Logger: slog.New(slog.DiscardHandler),
	})
	w.h = w.sentinel.Handler
	w.serve(w.sentinel)
	return w
}

func wallClock() time.Time { return time.Unix(1_795_300_813, 221_241_000) }

// serve listens until the test ends.
func (w *world) serve(h resp.Handler) {
	t := w.t
	t.Helper()
	w.srv = resp.NewServer(resp.Options{Handler: h, Logger: slog.New(slog.DiscardHandler), Quiet: func(*resp.Conn) bool { return true }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.srv.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) pass() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.password
}

func (w *world) open(_ string, a sessions.Answerer) (Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return nil, w.refuse
	}
	w.opened++
	s := &fakeSession{out: a, id: fsm.Incarnation(1).Conn(uint32(w.opened)), asks: make(chan asked, 1024)}
	w.sessions <- s
	return s, nil
}
