package peer

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer gives raft.NetworkTransport its connections.
type streamLayer struct {
	n    *Network
	come chan net.Conn
	done chan struct{}

	mu     sync.Mutex
	closed bool
	conns  map[*streamConn]struct{}
}

var _ raft.StreamLayer = (*streamLayer)(nil)

// StreamLayer returns a new layer for a raft.NetworkTransport. Raft's incoming connections go to the newest one that is
// open, so Raft can be shut down and started again on the same Network. Closing a layer, which the transport does when it
// is closed, closes its connections in both directions and nothing else; the transport alone would leave them open.
func (n *Network) StreamLayer() raft.StreamLayer {
	s := &streamLayer{n: n, come: make(chan net.Conn), done: make(chan struct{}), conns: map[*streamConn]struct{}{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		s.closed = true
		close(s.done)
		return s
	}
	n.layers = append(n.layers, s)
	return s
}

// layer is the newest open one, or nil.
func (n *Network) layer() *streamLayer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.layers) == 0 {
		return nil
	}
	return n.layers[len(n.layers)-1]
}

// give hands a connection that came in to Raft and waits for its end, so that it counts as incoming until then.
func (s *streamLayer) give(plainConn, conn net.Conn) error {
	c, err := s.keep(plainConn, conn, true)
	if err != nil {
		return err
	}
	select {
	case s.come <- c:
		<-c.done
		return nil
	case <-s.done:
		return ErrClosed
	}
}

// keep makes the connection one that ends with the layer.
func (s *streamLayer) keep(plainConn, conn net.Conn, came bool) (*streamConn, error) {
	c := &streamConn{Conn: conn, plain: plainConn, layer: s, came: came, done: make(chan struct{})}
	c.next.Store(true)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	s.n.untrack(plainConn)
	if closed {
		_ = plainConn.Close()
		return nil, ErrClosed
	}
	return c, nil
}

// Accept waits for the next connection of Raft's.
func (s *streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.come:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Dial opens a connection to the Raft of another node.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	dialed := make(chan struct{})
	defer close(dialed)
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-dialed:
		}
	}()
	conn, _, err := s.n.dial(ctx, StreamRaft, string(address))
	if err != nil {
		return nil, err
	}
	c, err := s.keep(plain(conn), conn, false)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Addr is the advertised address: Raft gives it to others as its own.
func (s *streamLayer) Addr() net.Addr { return advertised(s.n.o.Advertise) }

// Close ends the layer and its connections.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	s.n.mu.Lock()
	s.n.layers = slices.DeleteFunc(s.n.layers, func(o *streamLayer) bool { return o == s })
	s.n.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	return nil
}

type advertised string

func (a advertised) Network() string { return "tcp" }
func (a advertised) String() string  { return string(a) }

// streamConn is a connection of Raft's.
type streamConn struct {
	net.Conn
	plain net.Conn
	layer *streamLayer
	came  bool // to us; else we dialed
	once  sync.Once
	done  chan struct{}

	// next: what comes is the beginning of a request. snapshot: the one under way
	// carries one. (Where many requests are under way at once, snapshot may be wrong;
	// then something is sent all the time, and its deadlines are never reached.)
	next, snapshot atomic.Bool
}

// A snapshot may take hours, but not stand still. Raft's main loop reads it as it
// comes, without a deadline: a leader that is frozen in the middle would keep a node from
// voting for the next one for as long. And who sends has a deadline only for all of it,
// two seconds for each 256 KiB: one that has gone without a word would be waited for
// until TCP gives up, a quarter of an hour, also when it is back at another address.
const (
	snapshotRead  = 5 * time.Second
	snapshotWrite = 15 * time.Second
	// snapshotRequest is the first byte of such a request of raft.NetworkTransport.
	snapshotRequest = 2
)

// Read gives a snapshot a deadline for each part of it.
func (c *streamConn) Read(p []byte) (int, error) {
	if c.snapshot.Load() && c.came {
		_ = c.SetReadDeadline(time.Now().Add(snapshotRead))
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.turn(!c.came, p[0])
	}
	if err != nil && c.came {
		_ = c.Close() // Raft reads what is left of a snapshot, also behind an error
	}
	return n, err
}

// Write gives a snapshot a deadline for each part of it.
func (c *streamConn) Write(p []byte) (sent int, err error) {
	if len(p) > 0 && c.turn(c.came, p[0]) && c.came {
		_ = c.SetReadDeadline(time.Time{})
	}
	if c.came || !c.snapshot.Load() {
		return c.Conn.Write(p)
	}
	for n := 0; sent < len(p) && err == nil; sent += n {
		_ = c.SetWriteDeadline(time.Now().Add(snapshotWrite))
		n, err = c.Conn.Write(p[sent:min(len(p), sent+chunk)])
	}
	_ = c.SetWriteDeadline(time.Time{})
	return sent, err
}

// turn takes in the first byte of a part of a request or of an answer. It reports
// whether it was the answer to a snapshot.
func (c *streamConn) turn(answer bool, first byte) bool {
	switch {
	case answer:
		c.next.Store(true)
		return c.snapshot.Swap(false)
	case c.next.Swap(false):
		c.snapshot.Store(first == snapshotRequest)
	}
	return false
}

// Close closes below TLS: a TLS farewell could wait five seconds for a peer that does not read.
func (c *streamConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.plain.Close()
		c.layer.mu.Lock()
		delete(c.layer.conns, c)
		c.layer.mu.Unlock()
		close(c.done)
	})
	return err
}
