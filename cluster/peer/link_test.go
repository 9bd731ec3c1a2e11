package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func TestFramesArriveInOrderBothWays(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		a, b := open("n1", nil), open("n2", nil)
		l := connect(t, a, b)
		back := b.link(t)
		var want []string
		for i := range 500 {
			s := fmt.Sprintf("%d", i)
			want = append(want, fmt.Sprintf("%d:%s", i%(MaxType+1), s))
			if err := errors.Join(l.Send(byte(i%(MaxType+1)), []byte(s)), back.Send(byte(i%(MaxType+1)), []byte(s))); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []*node{a, b} {
			n.wait(t, "all frames", func() bool { return len(n.frames) == len(want) })
			if !slices.Equal(n.frames, want) {
				t.Errorf("got %q", n.frames)
			}
		}
		l.Close()
		if err := b.end(t); !errors.Is(err, ErrGone) {
			t.Errorf("the other side: %v", err)
		}
		if err := a.end(t); !errors.Is(err, ErrClosed) || !errors.Is(l.Err(), ErrClosed) {
			t.Errorf("our side: %v, Err %v", err, l.Err())
		}
		<-l.Closed()
		if err := l.Send(1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
	})
}

func TestFramesOfEverySize(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		const most = 1<<20 + 64<<10
		sizes := []int{0, 1, 65530, 65531, 65532, 64 << 10, 200_000, most - 1, most, 3}
		arrived := make(chan int, len(sizes))
		a, b := open("n1", nil), open("n2", nil)
		b.onFrame = func(_ *Link, _ byte, p []byte) {
			for i, c := range p {
				if c != byte(i*7) {
					t.Errorf("byte %d of %d is %d", i, len(p), c)
					break
				}
			}
			arrived <- len(p)
		}
		l := connect(t, a, b)
		for _, size := range sizes {
			p := make([]byte, size)
			for i := range p {
				p[i] = byte(i * 7)
			}
			if err := l.Send(1, p); err != nil {
				t.Fatal(err)
			}
			clear(p) // Send has copied it
		}
		for _, size := range sizes {
			if got := <-arrived; got != size {
				t.Errorf("%d bytes arrived, want %d", got, size)
			}
		}
		if err := l.Send(1, make([]byte, most+1)); !errors.Is(err, ErrTooBig) || l.Err() != nil {
			t.Errorf("over the limit: %v, link %v", err, l.Err())
		}
		if err := l.Send(MaxType+1, nil); !errors.Is(err, ErrProtocol) || l.Err() != nil {
			t.Errorf("a type of the link's own: %v, link %v", err, l.Err())
		}
		if err := l.Send(1, nil); err != nil {
			t.Errorf("after refused ones: %v", err)
		}
		<-arrived
	})
}

func TestBadFramesEndTheLink(t *testing.T) {
	head := func(size uint32, typ byte) []byte { return append(binary.BigEndian.AppendUint32(nil, size), typ) }
	for _, c := range []struct {
		name string
		sent []byte
		want error
	}{
		{"oversized", head(1000+2, 1), ErrTooBig},
		{"the largest number", head(1<<32-1, 1), ErrTooBig},
		{"empty", head(0, 1), ErrProtocol},
		{"unknown own type", head(1, 0xff), ErrProtocol},
		{"request without kind", append(head(2, frameRequest), 7), ErrProtocol},
		{"request without id", append(head(2, frameRequest), 0x80), ErrProtocol},
		{"answer without status", append(head(2, frameAnswer), 7), ErrProtocol},
		{"answer of no status", append(head(3, frameAnswer), 7, 7), ErrProtocol},
		{"refusal that is none", append(head(4, frameAnswer), 7, '-', 9), ErrProtocol},
		{"cut short", head(9, 1), ErrGone},
		{"cut in the head", head(9, 1)[:3], ErrGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := peertest.New()
				b := inMemory(t, m, "n2", func(o *Options) { o.MaxFrame = 1000 })
				conn := rawLink(t, m, b)
				write(t, conn, string(c.sent))
				if errors.Is(c.want, ErrGone) {
					conn.Close()
				}
				if err := b.end(t); !errors.Is(err, c.want) {
					t.Errorf("ended with %v, want %v", err, c.want)
				}
				conn.Close()
			})
		})
	}
}

// rawLink does the handshake of a link by hand.
func rawLink(t *testing.T, m *peertest.Net, to *node) net.Conn {
	t.Helper()
	conn := dialRaw(t, m, "raw", to.addr)
	send(t, conn, "Frlkd", appendHello(nil, &Hello{Node: "raw", Addr: "raw", Version: versionNewest, Oldest: versionOldest}))
	if status, body := receive(t, conn); status != accepted {
		t.Fatalf("refused: %q", body)
	}
	send(t, conn, "+", nil)
	to.link(t)
	return conn
}

func TestSlowReaderResetsTheLinkAndSendNeverWaits(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		a := open("n1", func(o *Options) { o.WriteTimeout = time.Hour })
		stop := make(chan struct{})
		b := open("n2", nil)
		b.onFrame = func(l *Link, _ byte, _ []byte) {
			select {
			case <-stop:
			case <-l.Closed():
			}
		}
		l := connect(t, a, b)
		var err error
		frames := 0
		for payload := make([]byte, 100_000); err == nil; frames++ {
			err = l.Send(1, payload)
			if frames > 100_000 {
				t.Fatal("it takes 10 GB")
			}
		}
		if !errors.Is(err, ErrQueueFull) || !errors.Is(a.end(t), ErrQueueFull) || !errors.Is(l.Send(1, nil), ErrQueueFull) {
			t.Errorf("Send: %v", err)
		}
		if frames < 80 {
			t.Errorf("only %d frames of 100 kB were kept", frames)
		}
		close(stop)
		if err := b.end(t); !errors.Is(err, ErrGone) {
			t.Errorf("the slow side: %v", err)
		}
	})
}

func TestReaderThatStopsEndsTheLinkInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a := inMemory(t, m, "n1", nil)
		l, err := m.Listen("n2")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var other sync.WaitGroup
		defer other.Wait()
		other.Go(func() { // n2: a handshake, pings, and no reading
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			send(t, conn, "+", appendHello(nil, &Hello{Node: "n2", Version: versionNewest, Oldest: versionOldest}))
			for {
				if _, err := conn.Write([]byte{0, 0, 0, 1, framePing}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		link, err := a.Connect(context.Background(), "n2")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if link.Err() != nil {
			t.Fatalf("with little to write it ended: %v", link.Err())
		}
		begin := time.Now()
		if err := link.Send(1, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := a.end(t); !errors.Is(err, ErrGone) || time.Since(begin) != 5*time.Second {
			t.Errorf("ended with %v after %s", err, time.Since(begin))
		}
	})
}

func TestIdleLinkLivesAndSilentOneEnds(t *testing.T) {
	for _, way := range [][2]string{{"n1", "n2"}, {"n2", "n1"}} {
		bubble(t, func(t *testing.T) {
			m := peertest.New()
			a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
			l := connect(t, a, b)
			time.Sleep(time.Hour)
			if l.Err() != nil || b.link(t).Err() != nil {
				t.Fatalf("idle for an hour: %v, %v", l.Err(), b.link(t).Err())
			}
			m.Delay("n1", "n2", time.Second)
			m.Delay("n2", "n1", 2*time.Second)
			time.Sleep(time.Hour)
			if l.Err() != nil || b.link(t).Err() != nil {
				t.Fatalf("slow ways: %v, %v", l.Err(), b.link(t).Err())
			}
			m.Delay("n1", "n2", 0)
			m.Delay("n2", "n1", 0)
			time.Sleep(time.Hour)
			begin := time.Now()
			m.Cut(way[0], way[1])
			deaf, other := b, a
			if way[0] == "n2" {
				deaf, other = a, b
			}
			if err := deaf.end(t); !errors.Is(err, ErrSilent) || time.Since(begin) > 5*time.Second {
				t.Errorf("the deaf side: %v after %s", err, time.Since(begin))
			}
			if err := other.end(t); !errors.Is(err, ErrGone) {
				t.Errorf("the other side: %v", err)
			}
			m.Heal(way[0], way[1])
			connect(t, a, b)
		})
	}
}

func TestBusyHandlerIsNotSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
		b.onFrame = func(*Link, byte, []byte) { time.Sleep(time.Hour) }
		l := connect(t, a, b)
		if err := l.Send(1, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		if l.Err() != nil || b.link(t).Err() != nil {
			t.Errorf("ended: %v, %v", l.Err(), b.link(t).Err())
		}
	})
}

// gate is a connection that notes its writes and lets them pass one by one.
type gate struct {
	net.Conn
	wrote chan int
	pass  chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.pass != nil {
		g.wrote <- len(p)
		<-g.pass
	}
	return g.Conn.Write(p)
}

func TestWhatIsQueuedGoesOutInOneWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		g := &gate{wrote: make(chan int)}
		b := inMemory(t, m, "n2", nil)
		a := inMemory(t, m, "n1", func(o *Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := dial(ctx, addr)
				g.Conn = c
				return g, err
			}
		})
		l := connect(t, a, b)
		synctest.Wait()
		g.pass = make(chan struct{})
		for i := range 100 {
			if err := l.Send(1, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if n := <-g.wrote; n != frameHead+1 {
					t.Fatalf("the first write has %d bytes", n)
				}
			}
		}
		g.pass <- struct{}{}
		if n := <-g.wrote; n != 99*(frameHead+1) {
			t.Errorf("the second write has %d bytes", n)
		}
		close(g.pass)
		b.wait(t, "all frames", func() bool { return len(b.frames) == 100 })
		go func() {
			for range g.wrote {
			}
		}()
		a.Close()
		synctest.Wait()
		close(g.wrote)
	})
}

func TestSendOnAnIdleLinkWritesByItself(t *testing.T) {
	n := onLoopback(t, "n1", nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l := newLink(n.Network, conn, Hello{Node: "n2"}) // its goroutines do not run: only the caller can write
	defer l.Close()
	if l.raw == nil {
		t.Skip("no writes without waiting on this system")
	}
	p := make([]byte, 1000)
	for range 100 {
		if err := l.Send(1, p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(other, make([]byte, frameHead+len(p))); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, frameHead+len(p))
	if n := testing.AllocsPerRun(1000, func() { _ = l.Send(1, p); _, _ = io.ReadFull(other, buf) }); n >= 1 {
		t.Errorf("a Send allocates %.1f times", n)
	}
	// Nobody reads: the rest is left to the writer goroutine, and Send still returns.
	for range 100 {
		if err := l.Send(1, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.wake) != 1 || len(l.rest) == 0 {
		t.Error("the rest was not left to the writer goroutine")
	}
}

func TestManySendersLoseAndMixNothing(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		const senders, each = 8, 500
		a, b := open("n1", nil), open("n2", nil)
		var next [senders]int
		var got atomic.Int64
		done := make(chan struct{})
		b.onFrame = func(_ *Link, typ byte, p []byte) {
			if int(typ) >= senders || len(p) < 2 || !bytes.Equal(p[2:], bytes.Repeat([]byte{typ}, len(p)-2)) {
				t.Errorf("type %d, %d bytes: mixed up", typ, len(p))
				return
			}
			if i := int(binary.BigEndian.Uint16(p)); i != next[typ] {
				t.Errorf("sender %d: frame %d, want %d", typ, i, next[typ])
			}
			next[typ]++
			if got.Add(1) == senders*each {
				close(done)
			}
		}
		l := connect(t, a, b)
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					p := binary.BigEndian.AppendUint16(nil, uint16(i))
					if err := l.Send(byte(s), append(p, bytes.Repeat([]byte{byte(s)}, i*7%1500)...)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		<-done
	})
}

func TestCloseOfANetworkEndsAll(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		a, b := open("n1", nil), open("n2", nil)
		for range 3 {
			connect(t, a, b)
			connect(t, b, a)
		}
		b.wait(t, "six links", func() bool { return len(b.opened) == 6 })
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if len(b.ended) != 6 {
			t.Errorf("%d links closed when Close returned", len(b.ended))
		}
		a.wait(t, "six ends", func() bool { return len(a.ended) == 6 })
		if _, err := b.Connect(context.Background(), a.addr); !errors.Is(err, ErrClosed) {
			t.Errorf("Connect: %v", err)
		}
		if _, err := a.Connect(context.Background(), b.addr); err == nil || errors.Is(err, ErrClosed) {
			t.Errorf("Connect to a closed one: %v", err)
		}
		if err := b.Serve(b.recorder); !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestConnectEndsWhenTheNetworkCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a := inMemory(t, m, "n1", nil)
		l, err := m.Listen("n2") // takes connections and says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m.Isolate("n1", "n3") // a dial there waits
		done := make(chan error)
		for _, to := range []string{"n2", "n3"} {
			go func() {
				_, err := a.Connect(context.Background(), to)
				done <- err
			}()
		}
		synctest.Wait()
		begin := time.Now()
		a.Close()
		for range 2 {
			if err := <-done; !errors.Is(err, ErrClosed) || time.Since(begin) != 0 {
				t.Errorf("%v after %s", err, time.Since(begin))
			}
		}
	})
}

func TestAttach(t *testing.T) {
	l := &Link{}
	if l.Attached() != nil {
		t.Error("something is attached")
	}
	l.Attach(7)
	l.Attach("a")
	if l.Attached() != "a" {
		t.Error(l.Attached())
	}
}

func TestSendAfterTheWriterGoroutineHasWaited(t *testing.T) {
	// The deadline of the writer goroutine must not be left on the connection.
	const limit = 250 * time.Millisecond
	a := onLoopback(t, "n1", func(o *Options) { o.WriteTimeout = limit })
	b := onLoopback(t, "n2", nil)
	arrived := make(chan int, 1000)
	hold := make(chan struct{})
	b.onFrame = func(_ *Link, typ byte, p []byte) {
		if typ == 1 {
			<-hold
		}
		arrived <- len(p)
	}
	l := connect(t, a, b)
	// Hold the reader until the sockets are full and the writer goroutine has to wait.
	if err := l.Send(1, nil); err != nil {
		t.Fatal(err)
	}
	frames := 1
	for waits := false; !waits; frames++ {
		if err := l.Send(2, make([]byte, 256<<10)); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		waits = l.writing
		l.mu.Unlock()
	}
	close(hold)
	for range frames {
		<-arrived
	}
	for begin := time.Now(); time.Since(begin) < 2*limit; {
		if err := l.Send(3, []byte("x")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-arrived:
		case <-l.Closed():
			t.Fatal(l.Err())
		}
	}
}
