package peertest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection from "a" to "b" with both its ends.
func pair(t *testing.T, m *peertest.Net) (a, b net.Conn) {
	t.Helper()
	l, err := m.Listen("b")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = m.Dialer("a")(context.Background(), "b"); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestCutHoldsAndHealDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := peertest.New()
		a, b := pair(t, m)
		m.Cut("a", "b")
		if _, err := a.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = b.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over a cut way: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		// The way back is open.
		if _, err := b.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		begin := time.Now()
		time.AfterFunc(time.Minute, func() { m.Heal("a", "b") })
		got, err := io.ReadAll(b)
		if string(got) != "hello" || err != nil || time.Since(begin) != time.Minute {
			t.Errorf("%q %v after %s", got, err, time.Since(begin))
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed one: %v", err)
		}
	})
}

func TestDelayAndBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := peertest.New()
		a, b := pair(t, m)
		m.Delay("a", "b", 30*time.Millisecond)
		begin := time.Now()
		if _, err := a.Write([]byte("1")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(make([]byte, 1)); err != nil || time.Since(begin) != 30*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		m.Break("a", "b")
		for _, c := range []net.Conn{a, b} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read of a broken one: %v", err)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("write to a broken one")
			}
		}
	})
}

func TestWindowAndDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := peertest.New()
		a, b := pair(t, m)
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20))
		if n != 256<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", n, err)
		}
		_ = a.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() { _, err := a.Write(make([]byte, 1<<20)); a.Close(); done <- err }()
		got, err := io.ReadAll(b)
		if len(got) != 256<<10+1<<20 || err != nil || <-done != nil {
			t.Errorf("read %d, %v", len(got), err)
		}
		time.AfterFunc(time.Second, func() { b.Close() })
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Error("read after the end")
		}
	})
}

func TestDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := peertest.New()
		dial := m.Dialer("a")
		if _, err := dial(context.Background(), "b"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody there: %v", err)
		}
		l, err := m.Listen("b")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Listen("b"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		m.Isolate("a", "b", "c")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := dial(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("over a cut way: %v", err)
		}
		begin := time.Now()
		time.AfterFunc(time.Minute, func() { m.Rejoin("a", "b", "c") })
		c, err := dial(context.Background(), "b")
		if err != nil || time.Since(begin) != time.Minute {
			t.Fatalf("%v after %s", err, time.Since(begin))
		}
		l.Close() // nobody accepted it
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		c.Close()
		if len(m.Listening()) != 0 {
			t.Error(m.Listening())
		}
	})
}
