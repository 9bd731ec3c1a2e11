package resp

import (
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// accept takes clients from one listener until it is closed. An error that may pass, such as no file descriptor
// left, makes it pause, longer each time: without that the loop would spin.
func (s *Server) accept(l net.Listener) error {
	defer s.forget(l)
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.admit(nc)
			continue
		}
		if s.stopped() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("listener %s was closed by somebody else: %w", l.Addr(), err)
		}
		s.stats.AcceptErrors.Add(1)
		if n, ok := s.acceptLog.open(s.now()); ok {
			s.log.Warn("cannot accept a client; trying again", "listen", l.Addr().String(), "error", err, "suppressed", n)
		}
		pause = min(max(pause*2, minAcceptPause), maxAcceptPause)
		if !s.pause(pause) {
			return nil
		}
	}
}

// pause waits for d and says whether the server still runs.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop:
		return false
	}
}

func (s *Server) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *Server) forget(l net.Listener) {
	_ = l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

var tooManyClients = []byte("-ERR max number of clients reached\r\n")

// admit starts a connection's reader, or turns the client away. It runs in the accept loop and so never waits.
func (s *Server) admit(nc net.Conn) {
	c, full := s.enter(nc)
	if c != nil {
		s.stats.Accepted.Add(1)
		go c.serve()
		return
	}
	if full {
		s.stats.Rejected.Add(1)
		if n, ok := s.fullLog.open(s.now()); ok {
			s.log.Warn("refused a client: max number of clients reached", "limit", s.limits.Clients.Load(),
				"client", addr(nc.RemoteAddr(), nc.LocalAddr()), "suppressed", n)
		}
		// A socket's buffer is empty at first, so this does not wait; the deadline is for what is not a socket.
		_ = nc.SetWriteDeadline(time.Now().Add(minAcceptPause))
		_, _ = nc.Write(tooManyClients)
	}
	_ = nc.Close()
}

// enter makes nc a connection of the server, unless that is full or stopped.
func (s *Server) enter(nc net.Conn) (c *Conn, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	if int64(len(s.conns)) >= s.limits.Clients.Load() {
		return nil, true
	}
	c = newConn(s, nc)
	s.conns[c] = struct{}{}
	s.readers.Add(1)
	s.stats.Clients.Add(1)
	return c, false
}

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{srv: s, nc: nc, raw: rawOf(nc), opened: s.now()}
	c.remote = addr(nc.RemoteAddr(), nc.LocalAddr())
	c.local = addr(nc.LocalAddr(), nc.LocalAddr())
	c.lastRead.Store(c.opened)
	c.proto.Store(2)
	c.out.writeFn = c.out.writeNow
	if c.raw == nil {
		c.wake = make(chan struct{}, 1)
	} else {
		c.in.readFn = c.in.readNow
		c.in.goneFn = goneNow
	}
	return c
}

// leave is the last thing that a connection does.
func (s *Server) leave(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.stats.Clients.Add(-1)
	s.readers.Done()
}
