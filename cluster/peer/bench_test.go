package peer

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
)

// BenchmarkRoundTrip sends a frame and waits for the one that the other side's handler sends back: what a follower's
// batch and its fast answer cost over loopback, beside the entry. "bare" is a TCP connection without this package.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{64, 1024, 16 << 10} {
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) { bareRoundTrip(b, size) })
		b.Run(fmt.Sprintf("link/%d", size), func(b *testing.B) {
			x, y := onLoopback(b, "n1", nil), onLoopback(b, "n2", nil)
			linkRoundTrip(b, x, y, size)
		})
		b.Run(fmt.Sprintf("goroutine/%d", size), func(b *testing.B) {
			// As over TLS, without TLS: the writer goroutine writes.
			x, y := onLoopback(b, "n1", wrapped), start(b, "n2", wrapping{loopback(b)}, nil)
			linkRoundTrip(b, x, y, size)
		})
	}
}

func linkRoundTrip(b *testing.B, x, y *node, size int) {
	b.Helper()
	// The next one goes from the handler: a hop to the benchmark's goroutine would cost as much as the link.
	left := 0
	done := make(chan struct{})
	y.onFrame = func(l *Link, typ byte, p []byte) { _ = l.Send(typ, p) }
	x.onFrame = func(l *Link, typ byte, p []byte) {
		if left--; left > 0 {
			_ = l.Send(typ, p)
			return
		}
		done <- struct{}{}
	}
	l := connect(b, x, y)
	left = b.N
	b.ReportAllocs()
	b.ResetTimer()
	if err := l.Send(1, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	<-done
}

// BenchmarkSend is the throughput one way, frames of 100 bytes; the sender waits only for every 1,000th.
func BenchmarkSend(b *testing.B) {
	x, y := onLoopback(b, "n1", nil), onLoopback(b, "n2", nil)
	got := make(chan struct{}, 16)
	n := 0
	y.onFrame = func(*Link, byte, []byte) {
		if n++; n%1000 == 0 {
			got <- struct{}{}
		}
	}
	l := connect(b, x, y)
	p := make([]byte, 100)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := l.Send(1, p); err != nil {
			b.Fatal(err)
		}
		if i++; i%1000 == 0 && i >= 8000 {
			<-got
		}
	}
}

func loopback(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// opaque hides the socket, as TLS does.
type opaque struct{ net.Conn }

type wrapping struct{ net.Listener }

func (w wrapping) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return opaque{c}, nil
}

func wrapped(o *Options) {
	o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return opaque{c}, err
	}
}

func bareRoundTrip(b *testing.B, size int) {
	b.Helper()
	l := loopback(b)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		p := make([]byte, size)
		for {
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, size)
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}
