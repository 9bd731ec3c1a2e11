package resp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options make a server.
type Options struct {
	Handler Handler      // required
	Limits  *Limits      // nil: NewLimits()
	Logger  *slog.Logger // nil: slog.Default()

	// Quiet says, during Shutdown, that the replies still outstanding on c will not come (its client waits for a
	// lock) and need not be waited for. nil: every outstanding reply is waited for, until Shutdown's context ends.
	Quiet func(c *Conn) bool
}

// Server accepts clients on any number of listeners and runs their commands through its Handler.
type Server struct {
	handler Handler
	limits  *Limits
	log     *slog.Logger
	quiet   func(c *Conn) bool
	epoch   time.Time
	stats   Stats
	flush   flusher
	relief  relief

	foreignLog, acceptLog, fullLog logGate

	draining atomic.Bool // no further command runs
	readers  sync.WaitGroup

	mu        sync.Mutex
	conns     map[*Conn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool          // no further connection is taken
	stop      chan struct{} // closed with it
}

// NewServer returns a server that serves nobody yet.
func NewServer(o Options) *Server {
	if o.Handler == nil {
		panic("resp: NewServer without a Handler")
	}
	s := &Server{
		handler:   o.Handler,
		limits:    o.Limits,
		log:       o.Logger,
		quiet:     o.Quiet,
		epoch:     time.Now(),
		conns:     make(map[*Conn]struct{}),
		listeners: make(map[net.Listener]struct{}),
		stop:      make(chan struct{}),
	}
	if s.limits == nil {
		s.limits = NewLimits()
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.quiet == nil {
		s.quiet = func(*Conn) bool { return false }
	}
	s.flush.init()
	return s
}

// now is the time since the server was made, in nanoseconds, by the monotonic clock.
func (s *Server) now() int64 { return int64(time.Since(s.epoch)) }

// Limits returns the server's limits, to be read and set.
func (s *Server) Limits() *Limits { return s.limits }

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Each calls f for the connections of this moment, in no order, until f returns false. f may do anything with
// them, Kill included; some may have ended meanwhile.
func (s *Server) Each(f func(*Conn) bool) {
	for _, c := range s.all() {
		if !f(c) {
			return
		}
	}
}

func (s *Server) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// Serve accepts clients on the listeners, TCP or unix, until Shutdown or until one of the listeners fails for
// good. It closes them and returns nil after a Shutdown. It may be called several times.
func (s *Server) Serve(listeners ...net.Listener) error {
	if !s.adopt(listeners) {
		for _, l := range listeners {
			_ = l.Close()
		}
		return nil
	}
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { errs <- s.accept(l) }()
	}
	var first error
	for range listeners {
		if err := <-errs; err != nil && first == nil {
			first = err
			for _, l := range listeners {
				_ = l.Close() // one failed: the others end too
			}
		}
	}
	return first
}

func (s *Server) adopt(listeners []net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	for _, l := range listeners {
		s.listeners[l] = struct{}{}
	}
	return true
}

// Shutdown ends the server: it stops accepting and running further commands, waits until no connection has a
// reply outstanding that will still come (see Options.Quiet), or until ctx ends, then closes all connections
// after what was answered is written. It returns once every reader has ended and Handler.Closed was called for
// each; ctx's error says that not all replies could be waited for or written.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.draining.Store(true)
	err := s.settle(ctx)
	for _, c := range s.all() {
		c.closeWith(ErrShutdown)
	}
	gone := make(chan struct{})
	go func() { s.readers.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range s.all() {
			c.kill(ErrShutdown)
		}
		<-gone
	}
	s.flush.close()
	if err != nil {
		return fmt.Errorf("shutdown before every reply was written: %w", err)
	}
	return nil
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
}

// settle waits until every connection is quiet. Replies are written by others and tell nobody: so it looks.
func (s *Server) settle(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := false
		for _, c := range s.all() {
			busy = busy || (c.Outstanding() > 0 && !s.quiet(c))
		}
		if !busy {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logGate lets one line through per interval, so that a client cannot fill the log.
type logGate struct {
	next       atomic.Int64
	suppressed atomic.Int64
}

const logInterval = int64(10 * time.Second)

// open says whether a line may be written now, and how many were not since the last one.
func (g *logGate) open(now int64) (suppressed int64, ok bool) {
	next := g.next.Load()
	if now < next || !g.next.CompareAndSwap(next, now+logInterval) {
		g.suppressed.Add(1)
		return 0, false
	}
	return g.suppressed.Swap(0), true
}
