package e2e

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// untilWaiters waits until so many wait for a key.
func untilWaiters(t *testing.T, c *harness.Client, key string, n int) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("%d wait for %s", n, key), func() bool {
		return len(c.Line("LOCKWAITERS "+key).Items) == n
	})
}

// TestHandOffOrder: the lock goes through the queue first come, first served.
func TestHandOffOrder(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	fence := control.Int("LOCK k")
	const n = 20
	clients := make([]*harness.Client, n)
	ids := make([]int64, n)
	for i := range clients {
		clients[i] = s.Client()
		ids[i] = clients[i].Int("CLIENT ID")
		clients[i].Send("LOCK k")
		untilWaiters(t, control, "k", i+1)
	}
	for i, waiter := range control.Line("LOCKWAITERS k").Items {
		if id, _ := waiter.Field("connection"); id.Int != ids[i] {
			t.Fatalf("place %d has connection %d, want %d", i+1, id.Int, ids[i])
		}
	}
	control.Want("UNLOCK k", ":0")
	for i, c := range clients {
		v := c.Receive()
		if v.Kind != harness.Int || v.Int <= fence {
			t.Fatalf("waiter %d: %v, want a fence above %d", i, v, fence)
		}
		fence = v.Int
		if holder := control.Field("LOCKINFO k", "connection"); holder.Int != ids[i] {
			t.Fatalf("after hand-off %d connection %d holds, want %d", i, holder.Int, ids[i])
		}
		for j := i + 1; j < n; j++ {
			if clients[j].Conn().Buffered() > 0 {
				t.Fatalf("waiter %d was answered before waiter %d released", j, i)
			}
		}
		c.Want("UNLOCK k", ":0")
	}
}

// TestBlockedLockHoldsNothingBack: what was sent before a LOCK that waits is answered at once, what came behind it
// after it, all of it sent in one piece.
func TestBlockedLockHoldsNothingBack(t *testing.T) {
	s := harness.Start(t)
	holder, c := s.Client(), s.Client()
	holder.Want("LOCK k", ":1")
	var in []byte
	for _, cmd := range [][]string{
		{"PING"}, {"LOCK", "other"}, {"ECHO", "before"}, {"LOCK", "k"}, {"ECHO", "behind"}, {"UNLOCK", "other"}, {"ISOWNER", "k"}, {"PING"},
	} {
		in = harness.AppendCommand(in, cmd...)
	}
	c.SendRaw(string(in))
	c.WantRaw("+PONG\r\n:2\r\n$6\r\nbefore\r\n")
	untilWaiters(t, holder, "k", 1)
	if c.Conn().Buffered() > 0 {
		t.Fatalf("answered behind the LOCK that waits: %v", c.Receive())
	}
	holder.Want("ISLOCKED other", ":1") // so UNLOCK behind the LOCK has not been done
	holder.Want("UNLOCK k", ":0")
	c.WantRaw(":3\r\n$6\r\nbehind\r\n:0\r\n:1\r\n+PONG\r\n")
}

// TestPipelineInOrder sends 10,000 commands without reading in between; each reply is its command's own.
func TestPipelineInOrder(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	const n = 2500
	var in []byte
	for i := range n {
		key := fmt.Sprintf("key:%d", i)
		in = harness.AppendCommand(in, "LOCK", key)
		in = harness.AppendCommand(in, "ECHO", key)
		in = harness.AppendCommand(in, "UNLOCK", key)
		in = harness.AppendCommand(in, "UNLOCK", key)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.Conn().SendRaw(in) }() // the server stops reading while too much is unanswered
	for i := range n {
		if v := c.Receive(); v.Kind != harness.Int || v.Int != int64(i+1) {
			t.Fatalf("LOCK %d: %v, want :%d", i, v, i+1)
		}
		if v := c.Receive(); v.Text != fmt.Sprintf("key:%d", i) {
			t.Fatalf("ECHO %d: %v", i, v)
		}
		if v := c.Receive(); v.String() != ":0" {
			t.Fatalf("UNLOCK %d: %v, want :0", i, v)
		}
		if v := c.Receive(); v.Code() != "NOTOWNER" {
			t.Fatalf("second UNLOCK %d: %v, want NOTOWNER", i, v)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.Want("PING", "+PONG")
}

// TestPipelineThatIsNotRead: a client that sends and never reads stops being read; it costs others nothing.
func TestPipelineThatIsNotRead(t *testing.T) {
	s := harness.Start(t)
	deaf, c := s.Client(), s.Client()
	in := bytes.Repeat(harness.AppendCommand(nil, "ECHO", string(bytes.Repeat([]byte("x"), 16<<10))), 64)
	before := s.RSS()
	done := make(chan error, 1)
	go func() {
		var err error
		for sent := 0; sent < 256<<20 && err == nil; sent += len(in) {
			_, err = deaf.Conn().Write(in)
		}
		done <- err
	}()
	// It blocks once the buffers are full, until the server gives up on it or the test closes it.
	for i := range 200 {
		c.Want("LOCK k", fmt.Sprintf(":%d", i+1))
		c.Want("UNLOCK k", ":0")
	}
	deaf.Close()
	if err := <-done; err == nil {
		t.Error("256 MB of commands were taken without one reply read")
	}
	if grown := s.RSS() - before; grown > 128<<20 {
		t.Errorf("the server grew by %d MB", grown>>20)
	}
	c.Want("PING", "+PONG")
}

// TestWaiterThatGoesAway: a client that disconnects while it waits is out of the queue, and the lock passes it by.
func TestWaiterThatGoesAway(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	for _, how := range []string{"close", "reset", "close with commands behind"} {
		t.Run(how, func(t *testing.T) {
			control := control.With(t)
			fence := control.Int("LOCK k")
			gone, next := s.Client().With(t), s.Client().With(t)
			gone.Want("LOCK mine-"+fmt.Sprint(fence), fmt.Sprintf(":%d", fence+1))
			gone.Send("LOCK k")
			untilWaiters(t, control, "k", 1)
			next.Send("LOCK k")
			untilWaiters(t, control, "k", 2)
			switch how {
			case "reset":
				setLinger(t, gone)
			case "close with commands behind":
				gone.SendRaw("PING\r\nUNLOCK k\r\nLOCK never\r\n")
			}
			gone.Close()
			untilWaiters(t, control, "k", 1)
			control.Want("UNLOCK k", ":0")
			if v := next.Receive(); v.Kind != harness.Int || v.Int <= fence {
				t.Fatalf("the next in line: %v", v)
			}
			harness.Until(t, "the hold of the gone client is released", func() bool {
				return control.Int("ISLOCKED mine-"+fmt.Sprint(fence)) == 0
			})
			control.Want("ISLOCKED never", ":0")
			next.Want("UNLOCK k", ":0")
		})
	}
}
