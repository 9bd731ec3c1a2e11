package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testClock is the process's clock (virtual in a synctest bubble), or one that
// stands still, plus what the test adds: a freeze moves both readings, but fires
// no timer.
type testClock struct {
	mu    sync.Mutex
	start time.Time
	still bool
	skew  time.Duration
	// asleep is how long the machine was suspended: only one clock runs on then.
	asleep time.Duration
}

func newTestClock() *testClock { return &testClock{start: time.Now()} }

func (c *testClock) freeze(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += d
}

func (c *testClock) suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep += d
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still {
		return c.start.Add(c.skew)
	}
	return time.Now().Add(c.skew)
}

func (c *testClock) Boot() time.Duration {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.start) + c.asleep + time.Hour
}

var starts atomic.Uint32

// seeded gives random bytes that no other start of a node gets: a nonce that comes
// again is the same registration.
func seeded() io.Reader {
	n := starts.Add(1)
	return rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
}

// testHost notes what it is told, in order, and keeps replies.
type testHost struct {
	mu       sync.Mutex
	log      []string
	inc      fsm.Incarnation
	node     *Node
	conns    uint32
	waiting  map[fsm.Address]chan fsm.Reply
	contacts []fsm.SessionID
	down     []*fsm.Op
	late     []fsm.Address
	// onDeliver is called ahead of everything else; may be nil.
	onDeliver func(eff *fsm.Effects)
	replies   int
	began     chan fsm.Incarnation
}

func newTestHost() *testHost {
	return &testHost{waiting: map[fsm.Address]chan fsm.Reply{}, began: make(chan fsm.Incarnation, 100)}
}

func (h *testHost) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *testHost) Begin(inc fsm.Incarnation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("begin %d", inc)
	h.inc, h.conns = inc, 0
	h.began <- inc
}

func (h *testHost) End(inc fsm.Incarnation, reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("end %d: %v", inc, reason)
	h.inc = 0
	for a, c := range h.waiting {
		close(c)
		delete(h.waiting, a)
	}
}

func (h *testHost) Deliver(eff *fsm.Effects) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.onDeliver != nil {
		h.onDeliver(eff)
	}
	for _, r := range eff.Replies {
		a := fsm.Address{Conn: r.Conn, Seq: r.Seq}
		c, ok := h.waiting[a]
		if !ok {
			continue
		}
		h.note("reply %d/%d", r.Conn.Number(), r.Seq)
		h.replies++
		delete(h.waiting, a)
		c <- r
	}
}

func (h *testHost) Fast(replies []fsm.Reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range replies {
		a := fsm.Address{Conn: r.Conn, Seq: r.Seq}
		if c, ok := h.waiting[a]; ok {
			h.note("fast %d/%d", r.Conn.Number(), r.Seq)
			h.replies++
			delete(h.waiting, a)
			c <- r
		}
	}
}

func (h *testHost) Installed(look func(fsm.ConnID) fsm.Standing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("installed")
	for a, c := range h.waiting {
		if s := look(a.Conn); s.Expected && (!s.There || s.Seq >= a.Seq && s.Waits != a.Seq || s.Sent > s.Seq) {
			h.note("uncertain %d/%d", a.Conn.Number(), a.Seq)
			close(c)
			delete(h.waiting, a)
		}
	}
}

func (h *testHost) Down(ops []*fsm.Op, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = append(h.down, ops...)
	h.note("down %d: %v", len(ops), err)
}

func (h *testHost) Uncertain(ops []fsm.Address, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = append(h.late, ops...)
	h.note("uncertain %d: %v", len(ops), err)
}

func (h *testHost) Contacts() []fsm.SessionID {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.contacts
	h.contacts = nil
	return c
}

func (h *testHost) events() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

// testConn is a client connection on a testHost.
type testConn struct {
	h   *testHost
	id  fsm.ConnID
	seq uint64
}

func (h *testHost) connect() *testConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns++
	return &testConn{h: h, id: h.inc.Conn(h.conns)}
}

// ops makes ops of the connection, the first one led by OpOpen, and a channel for the last reply.
func (c *testConn) ops(op fsm.Op) ([]*fsm.Op, chan fsm.Reply) {
	var ops []*fsm.Op
	if c.seq == 0 {
		ops = append(ops, &fsm.Op{Code: fsm.OpOpen, Name: []byte("test"), Value: []byte("addr")})
	}
	ops = append(ops, &op)
	var ch chan fsm.Reply
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	for _, o := range ops {
		c.seq++
		o.Conn, o.Seq = c.id, c.seq
		ch = make(chan fsm.Reply, 1)
		c.h.waiting[fsm.Address{Conn: c.id, Seq: c.seq}] = ch
	}
	return ops, ch
}

// send proposes an op and returns where its reply will come; closed if its incarnation ends.
func (c *testConn) send(op fsm.Op) chan fsm.Reply {
	ops, ch := c.ops(op)
	c.h.node.Propose(ops)
	return ch
}

func (c *testConn) do(t *testing.T, op fsm.Op) fsm.Reply {
	t.Helper()
	return reply(t, c.send(op))
}

func (c *testConn) end() {
	c.h.node.Propose([]*fsm.Op{{Conn: c.id, Code: fsm.OpEnd}})
}

func reply(t *testing.T, ch chan fsm.Reply) fsm.Reply {
	t.Helper()
	select {
	case r, ok := <-ch:
		if !ok {
			t.Fatal("the connection was closed in place of a reply")
		}
		return r
	case <-time.After(time.Minute):
		t.Fatal("no reply")
	}
	panic("unreachable")
}

func lock(key string) fsm.Op   { return fsm.Op{Code: fsm.OpLock, Key: []byte(key)} }
func unlock(key string) fsm.Op { return fsm.Op{Code: fsm.OpUnlock, Key: []byte(key)} }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openStore(t testing.TB, fs vfs.FS) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{Dir: "data", FS: fs, Logger: quiet(), OnFatal: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testNode is a node with its host, clock and store in memory.
type testNode struct {
	*Node
	h     *testHost
	clock *testClock
	store *store.Store
	fatal chan error

	stopMu sync.Mutex
	ended  chan struct{} // nil: it has not been asked to stop
}

// open starts a node on fs; change may alter its options.
func open(t *testing.T, fs vfs.FS, change func(o *Options)) *testNode {
	t.Helper()
	n, err := tryOpen(t, fs, change)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryOpen(t *testing.T, fs vfs.FS, change func(o *Options)) (*testNode, error) {
	t.Helper()
	n := &testNode{h: newTestHost(), clock: newTestClock(), store: openStore(t, fs), fatal: make(chan error, 1)}
	o := Options{
		NodeID: "n1", PeerAddr: "n1:7380", Storage: n.store, Host: n.h, Logger: quiet(), Clock: n.clock, Rand: seeded(),
		OnFatal: func(err error) { n.fatal <- err },
	}
	if change != nil {
		change(&o)
	}
	return n, n.begin(context.Background(), t, o)
}

// begin opens the node and waits until it serves.
func (n *testNode) begin(ctx context.Context, t *testing.T, o Options) error {
	t.Helper()
	err := n.launch(t, o)
	if err == nil {
		if err = n.Serving(ctx); err != nil {
			n.stop(t)
		}
	}
	return err
}

// launch opens the node.
func (n *testNode) launch(t *testing.T, o Options) error {
	t.Helper()
	node, err := Open(o)
	if err != nil {
		if cerr := n.store.Close(); cerr != nil {
			t.Error(cerr)
		}
		return err
	}
	n.h.mu.Lock()
	n.Node, n.h.node = node, node
	n.h.mu.Unlock()
	t.Cleanup(func() { n.stop(t) })
	return nil
}

// stop closes node and store in order, once.
func (n *testNode) stop(t *testing.T) {
	t.Helper()
	n.stopMu.Lock()
	ended := n.ended
	if ended == nil {
		n.ended = make(chan struct{})
	}
	n.stopMu.Unlock()
	if ended != nil {
		<-ended // not a sync.Once: in a bubble, time must go on for who waits here
		return
	}
	n.closeBoth(t)
	close(n.ended)
}

func (n *testNode) closeBoth(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := n.store.Close(); err != nil {
		t.Error(err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// slowLog is a log store whose appends wait while the gate is shut.
type slowLog struct {
	raft.LogStore
	gate *gate
}

func (l slowLog) StoreLogs(logs []*raft.Log) error {
	l.gate.pass()
	return l.LogStore.StoreLogs(logs)
}

type gatedStorage struct {
	Storage
	gate *gate
}

func (s gatedStorage) Log() raft.LogStore { return slowLog{s.Storage.Log(), s.gate} }

// gate holds back whoever passes while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = nil
}

// release opens the gate if it is shut.
func (g *gate) release() {
	g.mu.Lock()
	shut := g.open != nil
	g.mu.Unlock()
	if shut {
		g.lift()
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open != nil {
		<-open
	}
}
