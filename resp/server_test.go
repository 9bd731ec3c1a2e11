package resp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestTCPAndUnix(t *testing.T) {
	d := newDesk()
	s, tcp, unix := start(t, d, nil)
	a, b := dial(t, tcp), dial(t, unix)
	a.send("PING\r\n")
	a.want("+PONG\r\n")
	b.send("PING\r\n")
	b.want("+PONG\r\n")
	for i, want := range []string{a.LocalAddr().String(), unix.String() + ":0"} {
		if got := d.conn(i).RemoteAddr(); got != want {
			t.Errorf("client %d: %s, want %s", i, got, want)
		}
	}
	if got := d.conn(0).State(); got != 1 {
		t.Errorf("state %v", got)
	}
	st := s.Stats()
	if st.Accepted.Load() != 2 || st.Clients.Load() != 2 || st.Commands.Load() != 2 || st.BytesIn.Load() != 12 {
		t.Errorf("accepted %d, clients %d, commands %d, bytes in %d",
			st.Accepted.Load(), st.Clients.Load(), st.Commands.Load(), st.BytesIn.Load())
	}
	n := d.conn(0).Counters()
	if n.Commands != 1 || n.BytesIn != 6 || n.BytesOut != 7 || n.Pending != 0 {
		t.Errorf("%+v", n)
	}
}

func TestTooManyClients(t *testing.T) {
	d := newDesk()
	s, tcp, _ := start(t, d, func(l *Limits) { l.Clients.Store(2) })
	a, b := dial(t, tcp), dial(t, tcp)
	a.send("PING\r\n")
	a.want("+PONG\r\n")
	b.send("PING\r\n")
	b.want("+PONG\r\n")
	dial(t, tcp).wantClosed("-ERR max number of clients reached\r\n")
	if n := s.Stats().Rejected.Load(); n != 1 {
		t.Errorf("%d rejected", n)
	}
	s.Limits().Clients.Store(3) // while it runs
	e := dial(t, tcp)
	e.send("PING\r\n")
	e.want("+PONG\r\n")
	_ = a.Close()
	eventually(t, "a place", func() bool { return s.Stats().Clients.Load() == 2 })
	g := dial(t, tcp)
	g.send("PING\r\n")
	g.want("+PONG\r\n")
}

// refuser refuses every client.
type refuser struct{ desk }

func (*refuser) Connect(*Conn) (any, error) { return nil, errors.New("LIMIT no more\r\nsessions") }

func TestConnectRefused(t *testing.T) {
	h := &refuser{*newDesk()}
	_, tcp, _ := start(t, h, nil)
	dial(t, tcp).wantClosed("-LIMIT no more  sessions\r\n")
	if len(h.closed) != 0 {
		t.Error("Closed was called for a client that was refused")
	}
}

// failing is a listener that has no file descriptors left for a while.
type failing struct {
	net.Listener
	left atomic.Int64
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptErrorsBackOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: l}
	f.left.Store(4)
	s := NewServer(Options{Handler: newDesk(), Logger: slog.New(slog.DiscardHandler)})
	served := make(chan error, 1)
	go func() { served <- s.Serve(f) }()
	c := dial(t, l.Addr())
	c.send("PING\r\n")
	c.want("+PONG\r\n")
	if n := s.Stats().AcceptErrors.Load(); n != 4 {
		t.Errorf("%d accept errors", n)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Serve(l); err != nil {
		t.Error(err) // a server that was shut down serves nobody
	}
}

func TestListenerClosedByOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Options{Handler: newDesk(), Logger: slog.New(slog.DiscardHandler)})
	_ = l.Close()
	if err := s.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	d := newDesk()
	s := NewServer(Options{Handler: d, Quiet: func(c *Conn) bool { return c == d.conn(1) }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	a := dial(t, l.Addr())
	a.send("HOLD\r\n")
	eventually(t, "a", func() bool { return d.conn(0) != nil && d.conn(0).Outstanding() == 1 })
	b := dial(t, l.Addr())
	b.send("HOLD\r\n")
	eventually(t, "b", func() bool { return d.conn(1) != nil && d.conn(1).Outstanding() == 1 })
	idle := dial(t, l.Addr())

	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Error(err)
	}
	a.send("PING\r\n") // too late to be run
	select {
	case err := <-down:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	answer(d.conn(0), 5, 1)
	if err := <-down; err != nil {
		t.Error(err)
	}
	got, _ := io.ReadAll(a) // the PING that was not read may reset the connection, after the reply
	if string(got) != ":5\r\n" {
		t.Errorf("a got %q", got)
	}
	b.wantClosed("")
	idle.wantClosed("")
	for i := range 2 {
		if _, err := d.why(d.conn(i)); !errors.Is(err, ErrShutdown) {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

func TestShutdownEndsWithContext(t *testing.T) {
	d := newDesk()
	s := NewServer(Options{Handler: d})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	a := dial(t, l.Addr())
	a.send("HOLD\r\n")
	eventually(t, "a", func() bool { return d.conn(0) != nil && d.conn(0).Outstanding() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	a.wantClosed("")
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestHostileClients: clients that do their worst, while another is served.
func TestHostileClients(t *testing.T) {
	_, tcp, _ := start(t, newDesk(), nil)
	var wg sync.WaitGroup
	for _, packet := range corpus {
		wg.Go(func() {
			for range 5 {
				c, err := net.Dial("tcp", tcp.String())
				if err != nil {
					t.Error(err)
					return
				}
				for i := range packet { // byte by byte; the server may close meanwhile
					if _, err := io.WriteString(c, packet[i:i+1]); err != nil {
						break
					}
				}
				_ = c.Close()
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	good := dial(t, tcp)
	for served := false; !served; {
		good.send("PING\r\n")
		good.want("+PONG\r\n")
		select {
		case <-over:
			served = true
		default:
		}
	}
	good.send("PING\r\n")
	good.want("+PONG\r\n")
}

func TestLogGate(t *testing.T) {
	var g logGate
	if n, ok := g.open(1); !ok || n != 0 {
		t.Error("the first line is held back")
	}
	for range 5 {
		if _, ok := g.open(2); ok {
			t.Error("a second line within the interval")
		}
	}
	if n, ok := g.open(1 + logInterval); !ok || n != 5 {
		t.Errorf("after the interval: %d, %v", n, ok)
	}
}
