package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Handler is told what happens on forward links. Of one link it is told Opened, then each Frame in order, then Closed,
// one at a time, from the link's own goroutine; Opened of a link that we dialed comes from Connect, before it returns.
// Different links call at the same time. While a call lasts, its link reads nothing: do not wait in one.
// None may call Network.Close.
type Handler interface {
	// Opened says that a link is up. A node that has lost its link opens another, and we may hear of the new one first.
	Opened(l *Link, from Hello)
	// Frame brings a frame of a type up to MaxType. payload is valid during the call.
	Frame(l *Link, typ byte, payload []byte)
	// Request answers a Link.Request of the other side; its error goes there as a *Refusal. It runs in a goroutine of its
	// own and may wait; ctx ends with the link. payload is the handler's to keep.
	Request(ctx context.Context, l *Link, kind byte, payload []byte) ([]byte, error)
	// Closed says that the link has ended and why. Every Request of it has returned.
	Closed(l *Link, err error)
}

// Network is a node's port to its peers.
type Network struct {
	o   Options
	log *slog.Logger
	tls *identity

	ctx  context.Context
	stop context.CancelFunc
	// all counts the goroutines and the handler calls that Close waits for.
	all sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	handler Handler
	// raw has the connections in a handshake, links and layers what came of the others.
	raw    map[net.Conn]struct{}
	links  map[*Link]struct{}
	layers []*streamLayer
	// incoming counts accepted connections.
	incoming int

	said said
}

// New checks the options and reads the TLS files. The listener belongs to the Network from then on, unless New fails;
// nobody is accepted before Serve.
func New(o Options) (*Network, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	n := &Network{o: o, log: o.Logger, raw: map[net.Conn]struct{}{}, links: map[*Link]struct{}{}}
	if o.TLS != nil {
		id, err := loadTLS(*o.TLS, o.Advertise, o.Logger)
		if err != nil {
			return nil, err
		}
		n.tls = id
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n, nil
}

// Addr is the advertised address.
func (n *Network) Addr() string { return n.o.Advertise }

// Serve accepts peers from now on, in goroutines of its own, and returns at once; h gets the frames of all links. To be
// called once; an error means that the Network is closed.
func (n *Network) Serve(h Handler) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.handler = h
	n.all.Go(n.accept)
	return nil
}

// Close ends the listener, all links and all of raft's connections, and waits for every goroutine and Handler call. Shut
// Raft and its transport down before: its transport logs an error for each connection that it loses.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.all.Wait()
		return nil
	}
	n.closed = true
	n.stop()
	for c := range n.raw {
		_ = c.Close()
	}
	links := make([]*Link, 0, len(n.links))
	for l := range n.links {
		links = append(links, l)
	}
	layers := n.layers
	n.layers = nil
	n.mu.Unlock()
	err := n.o.Listener.Close()
	for _, s := range layers {
		_ = s.Close()
	}
	for _, l := range links {
		l.end(ErrClosed, false)
	}
	n.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (n *Network) accept() {
	const slowest = time.Second
	wait := 5 * time.Millisecond
	for {
		conn, err := n.o.Listener.Accept()
		if err == nil {
			wait = 5 * time.Millisecond
			n.take(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) || n.ctx.Err() != nil {
			return
		}
		// Out of descriptors, most likely: that passes.
		n.log.Error("accepting a peer failed, trying again", "error", err)
		t := time.NewTimer(wait)
		select {
		case <-n.ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, slowest)
	}
}

// take starts the handshake of a connection that came in.
func (n *Network) take(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.incoming >= n.o.MaxConns {
		_ = conn.Close()
		if !n.closed {
			n.refusal("a peer was turned away: too many connections", conn.RemoteAddr(), nil)
		}
		return
	}
	n.incoming++
	n.raw[conn] = struct{}{}
	n.all.Go(func() {
		defer n.left()
		if err := n.serve(conn); err != nil {
			n.untrack(conn)
			_ = conn.Close()
			n.failed(conn.RemoteAddr(), err)
		}
	})
}

func (n *Network) left() {
	n.mu.Lock()
	n.incoming--
	n.mu.Unlock()
}

// serve does the handshake of a connection that came in, and then stays with it until its end. An error says that
// nothing came of it.
func (n *Network) serve(plainConn net.Conn) error {
	if err := n.admit(plainConn); err != nil {
		return err
	}
	tune(plainConn)
	_ = plainConn.SetDeadline(time.Now().Add(n.o.HandshakeTimeout))
	conn, err := n.secure(plainConn, "")
	if err != nil {
		return err
	}
	var layer *streamLayer
	hello, err := n.handshaker(conn).came(func(s Stream) error {
		if s != StreamRaft {
			return nil
		}
		if layer = n.layer(); layer == nil {
			return &Refusal{Code: CodeBusy, Text: fmt.Sprintf("no raft is running on node %s now", n.o.NodeID)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	if hello.Stream == StreamRaft {
		return layer.give(plainConn, conn)
	}
	l, err := n.open(conn, hello)
	if err != nil {
		return err
	}
	defer n.all.Done()
	n.handler.Opened(l, hello)
	l.run()
	return nil
}

// open makes a link of a connection whose handshake is done. The caller calls Opened, run, and all.Done.
func (n *Network) open(conn net.Conn, hello Hello) (*Link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.raw, plain(conn))
	if n.closed || n.handler == nil {
		_ = conn.Close()
		if n.closed {
			return nil, ErrClosed
		}
		return nil, errors.New("peer: Connect before Serve")
	}
	l := newLink(n, conn, hello)
	n.links[l] = struct{}{}
	n.all.Add(1)
	return l, nil
}

func (n *Network) track(conn net.Conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.raw[conn] = struct{}{}
	return nil
}

func (n *Network) untrack(conn net.Conn) {
	n.mu.Lock()
	delete(n.raw, conn)
	n.mu.Unlock()
}

// failed logs why nothing came of a connection that came in.
func (n *Network) failed(from net.Addr, err error) {
	var r *Refusal
	switch {
	case n.ctx.Err() != nil, errors.Is(err, ErrClosed):
	case errors.As(err, &r) && r.Remote:
		n.refusal("a peer that connected refused this node", from, err)
		n.o.Refused(from.String(), r)
	case errors.As(err, &r):
		n.refusal("a peer was refused", from, err)
	case errors.Is(err, io.EOF):
		// Somebody looked whether the port is open.
		n.log.Debug("a connection to the peers' port ended before it said anything", "from", from)
	default:
		n.refusal("the handshake with a peer failed", from, err)
	}
}
