package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestGoneWhileOutstanding: a client that goes away is seen at once, whatever the reader is doing.
func TestGoneWhileOutstanding(t *testing.T) {
	few := func(l *Limits) { l.PipelineCommands.Store(2) }
	bytes := func(l *Limits) { l.PipelineBytes.Store(100) }
	for name, c := range map[string]struct {
		change func(*Limits)
		send   string
	}{
		"reading":                  {nil, "HOLD\r\n"},
		"parked":                   {nil, "HOLD\r\nPING\r\n"},
		"parked with a part":       {nil, "HOLD\r\nPING\r\n*1\r\n$4\r\nPI"},
		"stopped by commands":      {few, strings.Repeat("HOLD\r\n", 10)},
		"stopped by bytes":         {bytes, strings.Repeat("HOLD\r\n", 100)},
		"stopped by unread bytes":  {bytes, "HOLD\r\n" + strings.Repeat("PING\r\n", 5000)},
		"protocol error is parked": {nil, "HOLD\r\n*x\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			_, tcp, unix := start(t, d, c.change)
			for i, a := range []net.Addr{tcp, unix} {
				cl := dial(t, a)
				cl.send(c.send)
				eventually(t, "an outstanding reply", func() bool { return d.conn(i) != nil && d.conn(i).Outstanding() > 0 })
				_ = cl.Close()
				eventually(t, "Closed", func() bool { ok, _ := d.why(d.conn(i)); return ok })
				answer(d.conn(i), 1, d.conn(i).Outstanding()) // too late; goes nowhere
			}
		})
	}
}

// TestPipelineStops: reading stops at the limit of outstanding commands and goes on when they are answered.
func TestPipelineStops(t *testing.T) {
	d := newDesk()
	_, tcp, _ := start(t, d, func(l *Limits) { l.PipelineCommands.Store(8) })
	c := dial(t, tcp)
	const all = 100
	go c.send(strings.Repeat("HOLD\r\n", all))
	var want strings.Builder
	for done := 0; done < all; {
		step := min(8, all-done)
		eventually(t, "a full pipeline", func() bool { return d.conn(0) != nil && d.conn(0).Outstanding() >= min(8, all-done) })
		if n := d.conn(0).Outstanding(); n > 8 {
			t.Fatalf("%d outstanding", n)
		}
		answer(d.conn(0), done, step)
		for i := range step {
			fmt.Fprintf(&want, ":%d\r\n", done+i)
		}
		done += step
	}
	c.want(want.String())
}

// TestSlowReader: a client that never reads is closed by the write deadline, and costs no more than the output's
// limit; another is served meanwhile.
func TestSlowReader(t *testing.T) {
	d := newDesk()
	s, tcp, _ := start(t, d, func(l *Limits) { l.WriteTimeout.Store(300 * time.Millisecond) })
	slow := dial(t, tcp)
	slow.send("PING\r\n")
	slow.want("+PONG\r\n")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 1000 {
			if _, err := io.WriteString(slow, strings.Repeat("BIG 50000\r\n", 10)); err != nil {
				return
			}
		}
	}()
	other := dial(t, tcp)
	eventually(t, "the end of the slow client", func() bool {
		other.send("PING\r\n")
		other.want("+PONG\r\n")
		if p := d.conn(0).Counters().Pending; p > s.Limits().Output.Load()+100_000 {
			t.Fatalf("%d bytes are pending", p)
		}
		ok, _ := d.why(d.conn(0))
		return ok
	})
	if _, err := d.why(d.conn(0)); !errors.Is(err, ErrWriteTimeout) {
		t.Errorf("closed because: %v", err)
	}
	<-sent
}

// TestSlowReaderCatchesUp: a client that reads late gets everything, in order.
func TestSlowReaderCatchesUp(t *testing.T) {
	d := newDesk()
	s, tcp, _ := start(t, d, nil)
	c := dial(t, tcp)
	const n = 200
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			c.send(fmt.Sprintf("ARGS %d\r\nBIG 100000\r\n", i))
		}
	}()
	eventually(t, "a slow write", func() bool { return s.Stats().SlowWrites.Load() > 0 })
	for i := range n {
		no := fmt.Sprint(i)
		c.want(fmt.Sprintf("*2\r\n$4\r\nARGS\r\n$%d\r\n%s\r\n$100000\r\n%s\r\n", len(no), no, strings.Repeat("x", 100000)))
	}
	<-sent
	c.send("PING\r\n")
	c.want("+PONG\r\n")
	// A client may have its reply before the server has counted that it was written.
	eventually(t, "nothing is pending", func() bool { return d.conn(0).Counters().Pending == 0 })
}

func TestOutputHardLimit(t *testing.T) {
	d := newDesk()
	_, tcp, _ := start(t, d, func(l *Limits) { l.OutputHard.Store(32 << 20) })
	c := dial(t, tcp)
	c.send("BIG 40000000\r\n")
	eventually(t, "Closed", func() bool { return d.conn(0) != nil && func() bool { ok, _ := d.why(d.conn(0)); return ok }() })
	if _, err := d.why(d.conn(0)); !errors.Is(err, ErrOutputLimit) {
		t.Errorf("closed because: %v", err)
	}
}

// TestLastReplyArrives: a client that sent much more than was read gets its last reply nevertheless.
func TestLastReplyArrives(t *testing.T) {
	_, tcp, _ := start(t, newDesk(), nil)
	for range 20 {
		c := dial(t, tcp)
		c.send("*1\r\n!" + strings.Repeat("x", 100_000))
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.wantClosed("-ERR Protocol error: expected '$', got '!'\r\n")
	}
}

// TestHalfClosed: what a client asked before it closed its side is answered, as for `printf ... | nc`.
func TestHalfClosed(t *testing.T) {
	_, tcp, _ := start(t, newDesk(), nil)
	c := dial(t, tcp)
	c.send("PING\r\nBIG 3000000\r\n")
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	c.wantClosed("+PONG\r\n$3000000\r\n" + strings.Repeat("x", 3000000) + "\r\n")
}

func TestKillFromEverywhere(t *testing.T) {
	d := newDesk()
	s, tcp, _ := start(t, d, nil)
	var clients []*client
	for i := range 20 {
		c := dial(t, tcp)
		c.send([]string{"HOLD\r\n", "HOLD\r\nPING\r\n", "PING\r\n", "BIG 9000000\r\n"}[i%4])
		clients = append(clients, c)
	}
	eventually(t, "all", func() bool { return s.Stats().Commands.Load() == 20 })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s.Each(func(c *Conn) bool {
				_ = c.Begin()
				c.Kill()
				c.End(1)
				c.Flush()
				c.FlushSoon()
				c.CloseAfterFlush()
				return true
			})
		})
	}
	wg.Wait()
	eventually(t, "the end of all", func() bool { return s.Stats().Clients.Load() == 0 })
	for i := range 20 {
		if ok, err := d.why(d.conn(i)); !ok || !errors.Is(err, ErrKilled) {
			t.Errorf("client %d: %v, %v", i, ok, err)
		}
	}
	for _, c := range clients {
		_, _ = io.Copy(io.Discard, c)
	}
}

// TestIdleTimeout, in simulated time: who has a reply outstanding is not idle.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		s := NewServer(Options{Handler: d, Logger: slog.New(slog.DiscardHandler)})
		s.Limits().IdleTimeout.Store(time.Minute)
		ours, theirs := net.Pipe()
		s.admit(theirs)
		c := &client{ours, t}
		c.send("HOLD\r\n")
		time.Sleep(10 * time.Minute)
		go answer(d.conn(0), 7, 1)
		c.want(":7\r\n")
		time.Sleep(50 * time.Second)
		c.send("PING\r\n")
		c.want("+PONG\r\n")
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if ok, err := d.why(d.conn(0)); ok {
			t.Errorf("closed too early: %v", err)
		}
		c.wantClosed("")
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := d.why(d.conn(0)); !errors.Is(err, ErrIdleTimeout) {
			t.Errorf("closed because: %v", err)
		}
	})
}

// TestFlushAll: many connections answered by one goroutine, over and over, in order.
func TestFlushAll(t *testing.T) {
	d := newDesk()
	s, tcp, _ := start(t, d, nil)
	const clients, rounds = 40, 50
	var cs []*client
	for range clients {
		cs = append(cs, dial(t, tcp))
	}
	eventually(t, "all", func() bool { return d.conn(clients-1) != nil })
	for r := range rounds {
		var conns []*Conn
		for i := range clients {
			c := d.conn(i)
			c.Begin().Int(int64(r))
			c.End(0)
			conns = append(conns, c)
		}
		s.FlushAll(conns)
		s.FlushAll(conns[:r%flushInline])
	}
	var want strings.Builder
	for r := range rounds {
		fmt.Fprintf(&want, ":%d\r\n", r)
	}
	for _, c := range cs {
		c.want(want.String())
	}
}
