package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers each line with the same line; it counts the connections that reached it.
type echo struct {
	l        net.Listener
	accepted atomic.Int32
	serving  sync.WaitGroup
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{l: l}
	e.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.accepted.Add(1)
			e.serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until the caller has closed its side
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		e.serving.Wait()
	})
	return e
}

// rig is wires with an echo as node b, and a caller that counts as node a.
func rig(t *testing.T) (*Wires, *echo, func() *caller) {
	t.Helper()
	e := startEcho(t)
	w := NewWires(func(net.Conn) string { return "a" })
	addr, err := w.Add("b", e.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add("a", e.l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, e, func() *caller {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return &caller{t: t, Conn: c, r: bufio.NewReader(c)}
	}
}

type caller struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (c *caller) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) hears(line string) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		c.t.Fatal(err)
	}
	got, err := c.r.ReadString('\n')
	if err != nil || got != line+"\n" {
		c.t.Fatalf("heard %q, %v; want %q", got, err, line)
	}
}

func (c *caller) hearsNothing() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		c.t.Fatal(err)
	}
	_, err := c.r.Peek(1)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		c.t.Fatalf("heard something through a cut: %v", err)
	}
}

func (c *caller) isBroken() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		c.t.Fatal(err)
	}
	_, err := io.ReadAll(c.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

func TestWiresPass(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	c.say("one")
	c.hears("one")
	if there, back := w.Passed("a", "b"), w.Passed("b", "a"); there != 4 || back != 4 {
		t.Errorf("%d bytes there, %d back, want 4 and 4", there, back)
	}
	c.say("two")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.hears("two") // a closed side lets the answer through
	c.isBroken()
	Until(t, "the connection is forgotten", func() bool { return w.Cables("a", "b") == 0 })
}

func TestWiresCarryMuch(t *testing.T) {
	_, _, call := rig(t)
	c := call()
	const size = 20 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		sent <- errors.Join(err, c.Conn.(*net.TCPConn).CloseWrite())
	}()
	n, err := io.Copy(io.Discard, c.r)
	if err != nil || n != size {
		t.Errorf("%d bytes came back, %v; want %d", n, err, size)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestWiresCutAndHeal(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	c.say("before")
	c.hears("before")
	w.Cut("a", "b")
	c.say("during")
	c.hearsNothing()
	w.Heal()
	c.hears("during")
	w.Isolate("b")
	c.say("again")
	c.hearsNothing()
	w.Mend("b", "a")
	c.hears("again")
}

func TestWiresCutOneWay(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	c.say("before")
	c.hears("before")

	w.CutOneWay("b", "a") // questions arrive, answers do not
	passed := w.Passed("a", "b")
	c.say("asked")
	Until(t, "the question is there", func() bool { return w.Passed("a", "b") > passed })
	c.hearsNothing()
	w.Heal()
	c.hears("asked")

	w.CutOneWay("a", "b") // questions do not arrive
	passed = w.Passed("a", "b")
	c.say("lost")
	c.hearsNothing()
	if w.Passed("a", "b") != passed {
		t.Error("bytes passed a cut")
	}
	w.Heal()
	c.hears("lost")
}

func TestWiresCutAfter(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	w.CutAfter("a", "b", 6)
	for _, word := range []string{"one", "two"} { // four bytes each: the second one is on its way when the cut comes
		c.say(word)
		c.hears(word)
	}
	c.say("three")
	c.hearsNothing()
	w.Heal()
	c.hears("three")
}

func TestWiresNewConnectionsDuringACut(t *testing.T) {
	w, e, call := rig(t)
	w.Cut("a", "b")
	gaveUp, waits := call(), call()
	gaveUp.say("nobody")
	waits.say("late")
	if err := gaveUp.Close(); err != nil {
		t.Fatal(err)
	}
	waits.hearsNothing()
	if n := e.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the far side of a cut", n)
	}
	w.Heal()
	waits.hears("late")
}

func TestWiresDelay(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	const delay = 40 * time.Millisecond
	w.Delay("a", "b", delay)
	w.Delay("b", "a", delay)
	began := time.Now()
	c.say("one")
	c.say("two")
	c.hears("one")
	c.hears("two")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %v, less than %v", took, 2*delay)
	}
	w.Delay("a", "b", time.Hour)
	c.say("three")
	c.hearsNothing()
	w.Delay("a", "b", 0)
	c.hears("three")
}

func TestWiresReset(t *testing.T) {
	w, _, call := rig(t)
	c := call()
	c.say("one")
	c.hears("one")
	w.Reset("b", "a")
	c.isBroken()
	again := call()
	again.say("two")
	again.hears("two")
}

func TestWiresRefuse(t *testing.T) {
	e := startEcho(t)
	w := NewWires(func(net.Conn) string { return "" })
	addr, err := w.Add("b", e.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	(&caller{t: t, Conn: conn, r: bufio.NewReader(conn)}).isBroken()
	if n := w.Strangers(); n != 1 {
		t.Errorf("%d strangers, want 1", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Add("c", addr); err == nil {
		t.Error("a node joined closed wires")
	}
}

// TestWiresTargetGone: the far node's end is told to the caller, and a node that does not run refuses.
func TestWiresTargetGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWires(func(net.Conn) string { return "a" })
	defer w.Close()
	addr, err := w.Add("b", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := func() *caller {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		c := &caller{t: t, Conn: conn, r: bufio.NewReader(conn)}
		c.say("hello")
		return c
	}
	c := dial()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := far.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = far.Close() // a reset, as by a killed process
	c.isBroken()
	_ = l.Close() // nothing listens from now on
	dial().isBroken()
}

func TestWiresKnowTheProcess(t *testing.T) {
	if !CanTellPeers {
		t.Skip("the far end of a connection is told on Linux only")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	useFake(t, "serves")
	s := Start(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The connection's far end belongs to the server's process, and its near end does not.
	Until(t, "the server has accepted", func() bool {
		socket := socketOf(conn)
		return socket != "" && s.Process().owns(socket)
	})
	mine, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if socket := socketOf(accepted); socket == "" || s.Process().owns(socket) {
		t.Errorf("socket %q of this process is said to be the server's", socket)
	}
}
