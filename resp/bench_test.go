package resp

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// pong answers everything with +PONG, and HOLD by the benchmark.
type pong struct{ conns, held chan *Conn }

func newPong(n int) *pong { return &pong{make(chan *Conn, n), make(chan *Conn, n)} }

func (p *pong) Connect(c *Conn) (any, error) { p.conns <- c; return nil, nil }
func (*pong) Closed(*Conn, error)            {}
func (*pong) Burst(*Conn)                    {}
func (p *pong) Command(c *Conn, args [][]byte) bool {
	if len(args[0]) == len("HOLD") && args[0][0] == 'H' {
		c.Hold()
		p.held <- c
		return true
	}
	c.Begin().Simple("PONG")
	c.End(0)
	return true
}

// BenchmarkPing is one connection over loopback, client and server in one process.
func BenchmarkPing(b *testing.B) {
	for _, depth := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("pipeline=%d", depth), func(b *testing.B) {
			_, tcp, _ := start(b, newPong(1), nil)
			c := dial(b, tcp)
			send := []byte(strings.Repeat("*1\r\n$4\r\nPING\r\n", depth))
			got := make([]byte, depth*len("+PONG\r\n"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(send); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, got); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*depth)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkLater is a reply that another goroutine writes, as for every lock command.
func BenchmarkLater(b *testing.B) {
	h := newPong(1)
	_, tcp, _ := start(b, h, nil)
	c := dial(b, tcp)
	got, send := make([]byte, len(":1\r\n")), []byte("*1\r\n$4\r\nHOLD\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(send); err != nil {
			b.Fatal(err)
		}
		conn := <-h.held
		conn.Begin().Int(1)
		conn.End(1)
		conn.Flush()
		if _, err := io.ReadFull(c, got); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlush is one goroutine that answers many connections: how long it is held up, and how long until the
// clients have it all.
func BenchmarkFlush(b *testing.B) {
	flush := map[string]func(*Server, []*Conn){
		"inline": func(_ *Server, conns []*Conn) {
			for _, c := range conns {
				c.Flush()
			}
		},
		"workers": (*Server).FlushAll,
	}
	for _, n := range []int{4, 16, 64, 256} {
		for how, f := range flush {
			b.Run(fmt.Sprintf("conns=%d/%s", n, how), func(b *testing.B) { benchFlush(b, n, f) })
		}
	}
}

func benchFlush(b *testing.B, n int, flush func(*Server, []*Conn)) {
	h := newPong(n)
	s, tcp, _ := start(b, h, nil)
	var conns []*Conn
	var clients []*client
	for range n {
		clients = append(clients, dial(b, tcp))
		conns = append(conns, <-h.conns)
	}
	got := make([]byte, len(":1\r\n"))
	var held int64
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range conns {
			c.Begin().Int(1)
			c.End(0)
		}
		before := s.now()
		flush(s, conns)
		held += s.now() - before
		for _, c := range clients {
			if _, err := io.ReadFull(c, got); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(held)/float64(b.N)/1e3, "held-us/op")
}

func BenchmarkFramer(b *testing.B) {
	frame := []byte("*4\r\n$4\r\nLOCK\r\n$9\r\norders:42\r\n$5\r\nLEASE\r\n$5\r\n30000\r\n")
	in := intake{buf: &block{b: frame}, w: len(frame)}
	b.ReportAllocs()
	for b.Loop() {
		in.frame = framer{}
		n, err := in.frame.next(frame, roomy)
		if err != nil {
			b.Fatal(err)
		}
		if args, err := in.split(n, roomy); err != nil || len(args) != 4 {
			b.Fatal(err)
		}
	}
}

// TestIdleConnectionsAreCheap bounds what idle connections cost, each one having been used: goroutine stack,
// buffers and the net package's own, without the kernel's.
func TestIdleConnectionsAreCheap(t *testing.T) {
	const n, limit = 500, 10 << 10
	h := newPong(n)
	_, tcp, _ := start(t, h, nil)
	clients := make([]*client, n)
	var none, fresh, used runtime.MemStats
	measure := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC() // the second one empties the pools
		runtime.ReadMemStats(m)
	}
	per := func(a, b *runtime.MemStats) int64 {
		return (int64(b.HeapAlloc+b.StackInuse) - int64(a.HeapAlloc+a.StackInuse)) / n
	}
	measure(&none)
	for i := range clients {
		clients[i] = dial(t, tcp)
		<-h.conns
	}
	measure(&fresh)
	request := strings.Repeat("*1\r\n$4\r\nPING\r\n", 500)
	for _, c := range clients {
		c.send(request)
		c.want(strings.Repeat("+PONG\r\n", 500))
	}
	measure(&used)
	t.Logf("an idle connection costs %d bytes, after use %d; its client in this process included", per(&none, &fresh),
		per(&none, &used))
	if got := per(&none, &used); got > limit {
		t.Errorf("an idle connection costs %d bytes", got)
	}
}
