package peertest

import (
	"net"
	"sync"
)

// Addr is an address in memory.
type Addr string

// Network is "mem", which package peer takes for local.
func (a Addr) Network() string { return "mem" }
func (a Addr) String() string  { return string(a) }

// Listener is where connections in memory arrive. Net has them, and the network of
// tests/sim, whose ways and connections are its own.
type Listener struct {
	addr   Addr
	come   chan net.Conn
	closed func()
	once   sync.Once
	done   chan struct{}
}

var _ net.Listener = (*Listener)(nil)

// NewListener returns one that calls closed, once, when it is closed.
func NewListener(addr Addr, closed func()) *Listener {
	return &Listener{addr: addr, come: make(chan net.Conn, 128), closed: closed, done: make(chan struct{})}
}

// Offer hands a connection to Accept; false: too many wait already.
func (l *Listener) Offer(c net.Conn) bool {
	select {
	case l.come <- c:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case c := <-l.come:
		return c, nil
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close implements net.Listener. Connections that nobody has accepted are closed.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.closed()
		close(l.done)
		for {
			select {
			case c := <-l.come:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}
