package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Link is a connection for frames in both directions.
type Link struct {
	n       *Network
	conn    net.Conn
	peer    Hello
	ctx     context.Context // ends with the link
	cancel  context.CancelFunc
	running sync.WaitGroup

	value atomic.Pointer[any]

	// heard is set by each read, handling while a Handler holds the reader up: the writer looks whether the other side
	// is alive.
	heard, handling atomic.Bool

	outlet
	calls calls
}

func newLink(n *Network, conn net.Conn, hello Hello) *Link {
	l := &Link{n: n, conn: conn, peer: hello}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.init(rawOf(conn))
	return l
}

// Peer is what the other side said of itself.
func (l *Link) Peer() Hello { return l.peer }

// Closed is closed when the link has ended; Handler.Closed follows.
func (l *Link) Closed() <-chan struct{} { return l.ctx.Done() }

// Err says why the link has ended; nil while it lives.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close ends the link. What is queued is lost.
func (l *Link) Close() { l.end(ErrClosed, false) }

// Attach keeps a value with the link, for the Handler; Attached returns it, nil if there is none.
func (l *Link) Attach(v any) { l.value.Store(&v) }

// Attached returns the value of the last Attach.
func (l *Link) Attached() any {
	if v := l.value.Load(); v != nil {
		return *v
	}
	return nil
}

func (l *Link) String() string {
	if l.peer.Dialed != "" {
		return fmt.Sprintf("link to %s at %s", l.peer.Node, l.peer.Dialed)
	}
	return fmt.Sprintf("link from %s at %s", l.peer.Node, l.conn.RemoteAddr())
}

// Send sends a frame of a type up to MaxType. It never waits: the frame is written at once if nothing else is being
// written, else it is queued. payload is copied. ErrTooBig
// leaves the link as it is; any other error is why the link has ended, a full queue included.
func (l *Link) Send(typ byte, payload []byte) error {
	if typ > MaxType {
		return fmt.Errorf("%w: frame type %#x is the link's own", ErrProtocol, typ)
	}
	return l.send(typ, nil, payload)
}

// end closes the link for a reason, once. reset throws away what the kernel still has to send: it could only come late.
func (l *Link) end(err error, reset bool) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	l.pending, l.spare = nil, nil
	l.mu.Unlock()
	l.cancel()
	p := plain(l.conn)
	if tc, ok := p.(*net.TCPConn); ok && reset {
		_ = tc.SetLinger(0)
	}
	_ = p.Close()
}

// run reads until the link ends; its other goroutines end with it.
func (l *Link) run() {
	l.running.Go(l.write)
	l.end(l.read(), false)
	l.running.Wait()
	l.n.handler.Closed(l, l.Err())
	l.n.mu.Lock()
	delete(l.n.links, l)
	l.n.mu.Unlock()
}

// read gives frames to the handler until the link ends, and says why it does.
func (l *Link) read() error {
	f := newFrameReader(listener{l}, l.n.o.MaxFrame)
	for {
		typ, payload, err := f.next()
		if err != nil {
			return l.broken(err)
		}
		switch typ {
		case framePing:
		case frameRequest:
			err = l.asked(payload)
		case frameAnswer:
			err = l.answered(payload)
		default:
			if typ > MaxType {
				return fmt.Errorf("%w: %s sent a frame of type %#x", ErrProtocol, l.peer.Node, typ)
			}
			l.handling.Store(true)
			l.n.handler.Frame(l, typ, payload)
			l.handling.Store(false)
		}
		if err != nil {
			return err
		}
	}
}

// broken makes an error of the connection one of ours.
func (l *Link) broken(err error) error {
	switch {
	case errors.Is(err, ErrProtocol), errors.Is(err, ErrTooBig):
		return fmt.Errorf("%s: %w", l.peer.Node, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: node %s closed it", ErrGone, l.peer.Node)
	}
	return fmt.Errorf("%w: %s: %w", ErrGone, l.peer.Node, err)
}

// listener notes that something was heard.
type listener struct{ l *Link }

func (r listener) Read(p []byte) (int, error) {
	n, err := r.l.conn.Read(p)
	r.l.heard.Store(true)
	return n, err
}
