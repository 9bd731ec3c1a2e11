package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Connect opens a link to addr; Handler.Opened was called when it returns. Only after Serve. It ends with ctx, but not
// later than after two HandshakeTimeouts. A refusal by the other side, or by our Check, is a *Refusal.
func (n *Network) Connect(ctx context.Context, addr string) (*Link, error) {
	conn, hello, err := n.dial(ctx, StreamForward, addr)
	if err != nil {
		return nil, err
	}
	l, err := n.open(conn, hello)
	if err != nil {
		return nil, err
	}
	defer n.all.Done()
	n.handler.Opened(l, hello)
	n.all.Go(l.run)
	return l, nil
}

// dial opens a connection for stream and does its handshake.
func (n *Network) dial(ctx context.Context, stream Stream, addr string) (net.Conn, Hello, error) {
	if n.tls == nil && !n.o.Insecure && !localName(addr) {
		return nil, Hello{}, fmt.Errorf("peer: %s is not a loopback address: %w", addr, ErrInsecure)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*n.o.HandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	plainConn, err := n.o.Dial(ctx, addr)
	if err != nil {
		return nil, Hello{}, n.because(ctx, fmt.Errorf("peer: reach %s: %w", addr, err))
	}
	conn, hello, err := n.introduce(ctx, plainConn, stream, addr)
	if err != nil {
		n.untrack(plainConn)
		_ = plainConn.Close()
		var r *Refusal
		switch {
		case errors.As(err, &r) && r.Remote:
			n.o.Refused(addr, r)
			return nil, Hello{}, fmt.Errorf("peer: the node at %s refused the connection: %w", addr, err)
		case errors.As(err, &r):
			return nil, Hello{}, fmt.Errorf("peer: refused the node at %s: %w", addr, err)
		}
		return nil, Hello{}, n.because(ctx, fmt.Errorf("peer: handshake with %s: %w", addr, err))
	}
	return conn, hello, nil
}

// introduce does the handshake of a connection that we dialed.
func (n *Network) introduce(ctx context.Context, plainConn net.Conn, stream Stream, addr string) (net.Conn, Hello, error) {
	if err := n.admit(plainConn); err != nil {
		return nil, Hello{}, err
	}
	if err := n.track(plainConn); err != nil {
		return nil, Hello{}, err
	}
	tune(plainConn)
	_ = plainConn.SetDeadline(time.Now().Add(n.o.HandshakeTimeout))
	ended := context.AfterFunc(ctx, func() { _ = plainConn.Close() })
	conn, err := n.secure(plainConn, addr)
	var hello Hello
	if err == nil {
		hello, err = n.handshaker(conn).dialed(stream, addr)
	}
	if !ended() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, Hello{}, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, hello, nil
}

// because says that a dial failed since the Network was closed or its time was over, if so.
func (n *Network) because(ctx context.Context, err error) error {
	switch {
	case n.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}
