package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Handler that notes what it is told.
type recorder struct {
	mu     sync.Mutex
	opened []*Link
	frames []string
	ended  []error
	change chan struct{}

	// onFrame and request may be nil.
	onFrame func(l *Link, typ byte, payload []byte)
	request func(ctx context.Context, l *Link, kind byte, payload []byte) ([]byte, error)
}

func newRecorder() *recorder { return &recorder{change: make(chan struct{})} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.change)
	r.change = make(chan struct{})
}

func (r *recorder) Opened(l *Link, _ Hello) { r.note(func() { r.opened = append(r.opened, l) }) }

func (r *recorder) Frame(l *Link, typ byte, payload []byte) {
	if r.onFrame != nil {
		r.onFrame(l, typ, payload)
		return
	}
	s := fmt.Sprintf("%d:%s", typ, payload)
	r.note(func() { r.frames = append(r.frames, s) })
}

func (r *recorder) Request(ctx context.Context, l *Link, kind byte, payload []byte) ([]byte, error) {
	if r.request == nil {
		return nil, errors.New("no requests here")
	}
	return r.request(ctx, l, kind, payload)
}

func (r *recorder) Closed(_ *Link, err error) { r.note(func() { r.ended = append(r.ended, err) }) }

// wait waits until ok, which runs under the lock, says yes.
func (r *recorder) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		r.mu.Lock()
		yes, change := ok(), r.change
		r.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-change:
		case <-late.C:
			t.Fatalf("waited a minute for: %s", what)
		}
	}
}

func (r *recorder) link(t testing.TB) *Link {
	t.Helper()
	var l *Link
	r.wait(t, "a link", func() bool {
		if len(r.opened) > 0 {
			l = r.opened[len(r.opened)-1]
		}
		return l != nil
	})
	return l
}

// end waits for the first Closed and returns its reason.
func (r *recorder) end(t testing.TB) error {
	t.Helper()
	r.wait(t, "the end of a link", func() bool { return len(r.ended) > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended[0]
}

// node is a Network with its recorder.
type node struct {
	*Network
	*recorder
	addr string

	refusedMu sync.Mutex
	refused   []Refusal
}

func (n *node) refusals() []Refusal {
	n.refusedMu.Lock()
	defer n.refusedMu.Unlock()
	return append([]Refusal(nil), n.refused...)
}

// start opens a node; change may alter its options. It is closed by the test's end at the latest.
func start(t testing.TB, id string, l net.Listener, change func(*Options)) *node {
	t.Helper()
	n := &node{recorder: newRecorder()}
	o := Options{
		NodeID: id, Listener: l, Logger: slog.New(slog.DiscardHandler),
		Hello: func() Hello { return Hello{Cluster: "c1", Disk: "disk-" + id} },
		Refused: func(_ string, r *Refusal) {
			n.refusedMu.Lock()
			defer n.refusedMu.Unlock()
			n.refused = append(n.refused, *r)
		},
	}
	if change != nil {
		change(&o)
	}
	net, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Network, n.addr = net, net.Addr()
	if err := n.Serve(n.recorder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// onLoopback opens a node on TCP.
func onLoopback(t testing.TB, id string, change func(*Options)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, id, l, change)
}

// inMemory opens a node on a network in memory, at its id as the address.
func inMemory(t testing.TB, m *peertest.Net, id string, change func(*Options)) *node {
	t.Helper()
	l, err := m.Listen(id)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, id, l, func(o *Options) {
		o.Dial = m.Dialer(id)
		if change != nil {
			change(o)
		}
	})
}

func connect(t testing.TB, from, to *node) *Link {
	t.Helper()
	l, err := from.Connect(context.Background(), to.addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// both runs a test over TCP, and in memory within a synctest bubble.
func both(t *testing.T, f func(t *testing.T, open func(id string, change func(*Options)) *node)) {
	t.Run("tcp", func(t *testing.T) {
		f(t, func(id string, change func(*Options)) *node { return onLoopback(t, id, change) })
	})
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			m := peertest.New()
			f(t, func(id string, change func(*Options)) *node { return inMemory(t, m, id, change) })
		})
	})
}
