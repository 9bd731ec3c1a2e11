package commands

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestPipelineKeepsOrder: ops fly together, and what is answered here waits
// for the replies ahead of it.
func TestPipelineKeepsOrder(t *testing.T) {
	p := newWorld(t, "").dial(t)
	p.send([]string{"LOCK", "a"}, []string{"LOCK", "b"}, []string{"PING"}, []string{"UNLOCK", "a"}, []string{"LOCK", "c", "NONSENSE"}, []string{"ECHO", "x"})
	first, second := p.s.next(t), p.s.next(t)
	if string(first.op.Key) != "a" || string(second.op.Key) != "b" {
		t.Fatalf("ops %s, %s", describeOp(&first.op), describeOp(&second.op))
	}
	select {
	case a := <-p.s.asks:
		t.Fatalf("%s overtook PING", describeOp(&a.op))
	default:
	}
	p.s.answer(first, fsm.Reply{Int: 1})
	if got := p.read(); got != ":1" {
		t.Fatal(got)
	}
	p.s.answer(second, fsm.Reply{Int: 2})
	p.s.answer(p.s.next(t), fsm.Reply{Int: 0})
	for _, want := range []string{":2", "+PONG", ":0", "-ERR syntax error", `"x"`} {
		if got := p.read(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestAnswersOfOneDelivery come with one Flush.
func TestAnswersOfOneDelivery(t *testing.T) {
	p := newWorld(t, "").dial(t)
	p.send([]string{"LOCK", "a"}, []string{"LOCK", "b"})
	a, b := p.s.next(t), p.s.next(t)
	p.s.out.Answer(&a.op, a.tag, &fsm.Reply{Int: 1})
	p.s.out.Answer(&b.op, b.tag, &fsm.Reply{Int: 2})
	FlushAll(p.server())([]sessionsAnswerer{p.s.out})
	for _, want := range []string{":1", ":2"} {
		if got := p.read(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestResetIsABarrier: ops behind RESET wait until the machine has done it.
func TestResetIsABarrier(t *testing.T) {
	p := newWorld(t, "").dial(t)
	p.send([]string{"LOCK", "a"}, []string{"RESET"}, []string{"LOCK", "b"}, []string{"LOCK", "c"})
	p.s.answer(p.s.next(t), fsm.Reply{Int: 1})
	reset := p.s.next(t)
	if reset.op.Code != fsm.OpReset {
		t.Fatal(describeOp(&reset.op))
	}
	if got := p.read(); got != ":1" {
		t.Fatal(got)
	}
	select {
	case a := <-p.s.asks:
		t.Fatalf("%s passed RESET", describeOp(&a.op))
	default:
	}
	p.s.answer(reset, fsm.Reply{})
	p.s.answer(p.s.next(t), fsm.Reply{Int: 2})
	p.s.answer(p.s.next(t), fsm.Reply{Int: 3})
	for _, want := range []string{"+RESET", ":2", ":3"} {
		if got := p.read(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestResetDeauthenticatesBeforeWhatFollows: an op pipelined behind RESET is refused.
func TestResetDeauthenticatesBeforeWhatFollows(t *testing.T) {
	p := newWorld(t, "secret").dial(t)
	p.send([]string{"AUTH", "secret"}, []string{"LOCK", "a"}, []string{"RESET"}, []string{"LOCK", "b"})
	p.s.answer(p.s.next(t), fsm.Reply{Int: 1})
	p.s.answer(p.s.next(t), fsm.Reply{})
	for _, want := range []string{"+OK", ":1", "+RESET", "-NOAUTH Authentication required."} {
		if got := p.read(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestNothingRunsBehindMulti: the connection closes, and an op behind never came.
func TestNothingRunsBehindMulti(t *testing.T) {
	for _, word := range []string{"MULTI", "QUIT", "SHUTDOWN"} {
		p := newWorld(t, "").dial(t)
		p.send([]string{word}, []string{"LOCK", "a"}, []string{"UNLOCK", "a"})
		if word != "SHUTDOWN" {
			p.read()
		}
		p.gone()
		select {
		case a := <-p.s.asks:
			t.Errorf("%s ran behind %s", describeOp(&a.op), word)
		default:
		}
	}
}

func TestShutdownCallsTheProcess(t *testing.T) {
	w := newWorld(t, "")
	p := w.dial(t)
	p.send([]string{"SHUTDOWN", "NOSAVE"})
	select {
	case <-w.stopped:
	case <-time.After(patience):
		t.Fatal("Shutdown was not called")
	}
	p.gone()
}

// TestClusterDown: what needs the node's incarnation says so where there is none.
func TestClusterDown(t *testing.T) {
	p := newWorld(t, "").dial(t)
	p.s.setDown(errors.New("this node is not registered"))
	for _, line := range []string{"PING", "PING x", "CLIENT ID", "HELLO 3"} {
		if got := p.do(line); got != "-CLUSTERDOWN this node is not registered" {
			t.Errorf("%s: %s", line, got)
		}
	}
	if got := p.do("ECHO x"); got != `"x"` {
		t.Error(got)
	}
	if got := p.do("CLIENT INFO"); !strings.Contains(got, "id=0 ") {
		t.Error(got)
	}
}

// TestPasswordComesAndGoes while the server runs.
func TestPasswordComesAndGoes(t *testing.T) {
	w := newWorld(t, "")
	p := w.dial(t)
	w.setPassword("secret")
	if got := p.do("PING"); got != "+PONG" {
		t.Errorf("a connection that was let in is asked again: %s", got)
	}
	late := w.dial(t)
	if got := late.do("PING"); got != "-NOAUTH Authentication required." {
		t.Error(got)
	}
	w.setPassword("")
	late.send([]string{"LOCK", "a"})
	late.s.answer(late.s.next(t), fsm.Reply{Int: 1})
	if got := late.read(); got != ":1" {
		t.Error(got)
	}
}

// TestKillByAddress is the old form of CLIENT KILL, oneself included.
func TestKillByAddress(t *testing.T) {
	w := newWorld(t, "")
	p, other := w.dial(t), w.dial(t)
	p.do("PING")
	other.do("PING")
	if got := p.do("CLIENT KILL " + other.nc.LocalAddr().String()); got != "+OK" {
		t.Fatal(got)
	}
	other.gone()
	if got := p.do("CLIENT KILL " + p.nc.LocalAddr().String()); got != "+OK" {
		t.Fatal(got)
	}
	p.gone()
}

// TestUncertainCloses: the answer is written, then the connection ends.
func TestUncertainCloses(t *testing.T) {
	p := newWorld(t, "").dial(t)
	p.send([]string{"LOCK", "a"})
	a := p.s.next(t)
	p.s.answer(a, fsm.Reply{Code: fsm.CodeUncertain})
	p.s.out.Close(errors.New("uncertain"))
	if got := p.read(); !strings.HasPrefix(got, "-UNCERTAIN ") {
		t.Fatal(got)
	}
	p.gone()
}

// TestClosedReachesTheSession when a client goes away.
func TestClosedReachesTheSession(t *testing.T) {
	w := newWorld(t, "")
	p := w.dial(t)
	p.do("PING")
	if err := p.nc.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		return p.s.closed && w.h.count() == 0
	})
}

// TestRefusedClient hears why.
func TestRefusedClient(t *testing.T) {
	w := newWorld(t, "")
	w.mu.Lock()
	w.refuse = errors.New("LIMIT no more sessions")
	w.mu.Unlock()
	p := w.dialRefused(t)
	if got := p.read(); got != "-LIMIT no more sessions" {
		t.Error(got)
	}
	p.gone()
}

// TestListIsSorted by id, whatever the order in which clients came.
func TestListIsSorted(t *testing.T) {
	w := newWorld(t, "")
	var p *peer
	for range 20 {
		p = w.dial(t)
		p.do("PING")
	}
	lines := strings.Split(p.do("CLIENT LIST"), `\n`)
	if len(lines) != 21 {
		t.Fatalf("%d lines", len(lines))
	}
	for i := 1; i < 20; i++ {
		if lines[i-1][:20] >= lines[i][:20] && i > 1 {
			t.Errorf("%s before %s", lines[i-1], lines[i])
		}
	}
}

// until waits for a condition.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not come true")
		}
	}
}
