package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func transport(n *node) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.StreamLayer(), MaxPool: 2, Timeout: 10 * time.Second, Logger: hclog.NewNullLogger(),
	})
}

// answerRaft answers what comes to a transport until it is closed; installed gets snapshots.
func answerRaft(tr *raft.NetworkTransport, stop <-chan struct{}, installed chan<- []byte) {
	for {
		select {
		case <-stop:
			return
		case rpc := <-tr.Consumer():
			switch c := rpc.Command.(type) {
			case *raft.AppendEntriesRequest:
				rpc.Respond(&raft.AppendEntriesResponse{Term: c.Term, LastLog: uint64(len(c.Entries)), Success: true}, nil)
			case *raft.InstallSnapshotRequest:
				b, err := io.ReadAll(rpc.Reader)
				installed <- b
				rpc.Respond(&raft.InstallSnapshotResponse{Term: c.Term, Success: err == nil}, err)
			default:
				rpc.Respond(nil, fmt.Errorf("unexpected %T", c))
			}
		}
	}
}

func TestRaftOverTheStreamLayer(t *testing.T) {
	rpcs := func(t *testing.T, a, b *node) {
		one, two := transport(a), transport(b)
		stop := make(chan struct{})
		installed := make(chan []byte, 1)
		answering := make(chan struct{})
		go func() { defer close(answering); answerRaft(two, stop, installed) }()
		if got := one.LocalAddr(); string(got) != a.addr {
			t.Errorf("LocalAddr %q", got)
		}
		to := raft.ServerAddress(b.addr)
		big := bytes.Repeat([]byte("e"), 1<<20)
		req := &raft.AppendEntriesRequest{Term: 7, Entries: []*raft.Log{{Index: 1, Data: big}, {Index: 2, Data: []byte("x")}}}
		var resp raft.AppendEntriesResponse
		for range 3 {
			if err := one.AppendEntries("n2", to, req, &resp); err != nil || !resp.Success || resp.Term != 7 || resp.LastLog != 2 {
				t.Fatalf("AppendEntries: %+v %v", resp, err)
			}
		}
		pipe, err := one.AppendEntriesPipeline("n2", to)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := pipe.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				t.Fatal(err)
			}
			if f := <-pipe.Consumer(); f.Error() != nil || !f.Response().Success {
				t.Errorf("pipelined: %v", f.Error())
			}
		}
		if err := pipe.Close(); err != nil {
			t.Error(err)
		}
		snapshot := bytes.Repeat([]byte("s"), 3<<20)
		var inst raft.InstallSnapshotResponse
		if err := one.InstallSnapshot("n2", to, &raft.InstallSnapshotRequest{Term: 7, Size: int64(len(snapshot))}, &inst, bytes.NewReader(snapshot)); err != nil || !inst.Success {
			t.Errorf("InstallSnapshot: %v", err)
		}
		if !bytes.Equal(<-installed, snapshot) {
			t.Error("the snapshot arrived changed")
		}
		// A link beside it, on the same port.
		l := connect(t, a, b)
		if err := l.Send(1, []byte("beside")); err != nil {
			t.Error(err)
		}
		b.wait(t, "a frame", func() bool { return len(b.frames) == 1 })

		close(stop)
		<-answering
		if err := errors.Join(one.Close(), two.Close()); err != nil {
			t.Error(err)
		}
	}
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		rpcs(t, open("n1", nil), open("n2", nil))
	})
	t.Run("tls", func(t *testing.T) {
		ca := newAuthority(t)
		rpcs(t, onLoopback(t, "n1", with(ca.issue("n1", "127.0.0.1", nil))), onLoopback(t, "n2", with(ca.issue("n2", "127.0.0.1", nil))))
	})
}

// A snapshot that stands still in the middle is given up, on both sides: the one that
// takes it could not vote, and the one that sends it would send nothing else.
func TestSnapshotThatStandsStill(t *testing.T) {
	snapshot := bytes.Repeat([]byte("s"), 100<<20)
	req := &raft.InstallSnapshotRequest{Term: 7, Size: int64(len(snapshot))} // for Raft it may take more than an hour
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
		one, two := transport(a), transport(b)
		send := func(from io.Reader) error {
			var resp raft.InstallSnapshotResponse
			return one.InstallSnapshot("n2", "n2", req, &resp, from)
		}
		sent := make(chan error)

		// The leader is frozen.
		frozen, freeze := io.Pipe()
		go func() { sent <- send(frozen) }()
		go func() { _, _ = freeze.Write(snapshot[:3<<20]) }()
		rpc := <-two.Consumer()
		began := time.Now()
		_, err := io.ReadAll(rpc.Reader)
		_, _ = io.Copy(io.Discard, rpc.Reader) // as Raft does
		if err == nil || time.Since(began) > snapshotRead+time.Second {
			t.Errorf("the follower waited %v for a leader that is frozen: %v", time.Since(began), err)
		}
		rpc.Respond(nil, errors.New("broken"))
		freeze.Close()
		if err := <-sent; err == nil {
			t.Error("half a snapshot was sent without an error")
		}

		// The follower has gone without a word.
		go func() { sent <- send(bytes.NewReader(snapshot)) }()
		rpc = <-two.Consumer()
		m.Isolate("n1", "n2")
		began = time.Now()
		if err := <-sent; err == nil || time.Since(began) > time.Minute {
			t.Errorf("the leader waited %v for a follower that has gone: %v", time.Since(began), err)
		}
		rpc.Respond(nil, errors.New("gone"))
		if err := errors.Join(one.Close(), two.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestRaftCanStartAgainOnTheSameNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
		from := a.StreamLayer()
		var r *Refusal
		if _, err := from.Dial("n2", time.Second); !errors.As(err, &r) || r.Code != CodeBusy {
			t.Errorf("no raft there: %v", err)
		}
		old := b.StreamLayer()
		first, err := from.Dial("n2", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := old.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(accepted, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		waiting, err := from.Dial("n2", time.Second) // nobody accepts it
		if err != nil {
			t.Fatal(err)
		}
		l := connect(t, a, b)

		// The old layer ends with all it has; the link lives.
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range []net.Conn{first, waiting} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a connection of the old layer lives")
			}
		}
		if _, err := old.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		if _, err := old.Dial("n1", time.Second); err == nil {
			t.Error("a closed layer dials")
		}
		if l.Err() != nil {
			t.Errorf("the link ended: %v", l.Err())
		}
		b.StreamLayer() // one that nobody closed
		next := b.StreamLayer()
		if _, err := from.Dial("n2", time.Second); err != nil {
			t.Error(err)
		}
		if _, err := next.Accept(); err != nil {
			t.Error(err)
		}
		a.Close()
		b.Close()
		if _, err := next.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := a.StreamLayer().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept of a layer made after Close: %v", err)
		}
	})
}

// counter is a raft.FSM that counts.
type counter struct{ applied chan uint64 }

func (c counter) Apply(l *raft.Log) any               { c.applied <- l.Index; return nil }
func (c counter) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (c counter) Restore(io.ReadCloser) error         { return errors.New("none") }

func TestThreeRaftNodesInMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		ids := []string{"n1", "n2", "n3"}
		rafts := map[string]*raft.Raft{}
		var conf raft.Configuration
		for _, id := range ids {
			conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		}
		var closers []func() error
		for _, id := range ids {
			n := inMemory(t, m, id, nil)
			tr := transport(n)
			c := raft.DefaultConfig()
			c.LocalID, c.Logger = raft.ServerID(id), hclog.NewNullLogger()
			store := raft.NewInmemStore()
			r, err := raft.NewRaft(c, counter{make(chan uint64, 1000)}, store, store, raft.NewDiscardSnapshotStore(), tr)
			if err != nil {
				t.Fatal(err)
			}
			r.BootstrapCluster(conf)
			rafts[id] = r
			closers = append(closers, func() error { return r.Shutdown().Error() }, tr.Close, n.Close)
		}
		leader := func(among ...string) string {
			for range 3000 {
				for _, id := range among {
					if rafts[id].State() == raft.Leader {
						return id
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Fatal("no leader in 30 s")
			return ""
		}
		apply := func(id string) {
			t.Helper()
			if err := rafts[id].Apply([]byte("x"), time.Second).Error(); err != nil {
				t.Errorf("apply at %s: %v", id, err)
			}
		}
		first := leader(ids...)
		apply(first)
		var rest []string
		for _, id := range ids {
			if id != first {
				rest = append(rest, id)
			}
		}
		m.Isolate(first, rest...)
		second := leader(rest...)
		apply(second)
		m.Rejoin(first, rest...)
		apply(leader(rest...))
		time.Sleep(5 * time.Second)
		if a, b := rafts[first].AppliedIndex(), rafts[second].AppliedIndex(); a != b {
			t.Errorf("the one that was away has applied %d, the leader %d", a, b)
		}
		for _, f := range closers {
			if err := f(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

func TestRefusedRaftStreamIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		seen := make(chan Hello, 1)
		a := inMemory(t, m, "n1", nil)
		b := inMemory(t, m, "n2", func(o *Options) {
			o.Check = func(h Hello) error { seen <- h; return &Refusal{Code: "REMOVED", Text: "n1 was removed"} }
		})
		b.StreamLayer()
		if _, err := a.StreamLayer().Dial("n2", 0); err == nil {
			t.Error("not refused")
		}
		if h := <-seen; h.Stream != StreamRaft || h.Node != "n1" || h.Dialed != "" {
			t.Errorf("Check saw %+v", h)
		}
		if r := a.refusals(); len(r) != 1 || r[0].Code != "REMOVED" {
			t.Errorf("Refused was told %+v", r)
		}
		if _, err := a.Connect(context.Background(), "n2"); err == nil {
			t.Error("not refused")
		}
	})
}
