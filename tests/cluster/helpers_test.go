package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// Times of the clusters under test. Where sessions must live through a fault, session-timeout is the default; where
// their end is waited for, it is short.
const (
	longTimeout  = 10 * time.Second
	shortTimeout = 3 * time.Second
	// lateEnd is the contract: sessions of a dead node have ended so long after session-timeout, in time with a leader.
	lateEnd = 3 * time.Second
	// machineSlack is what a busy machine may take on top of a limit of the contract.
	machineSlack = 2 * time.Second
)

// patient has calls that are under way while a leader is missing wait rather than give up.
func patient(session time.Duration) []string {
	return []string{"--session-timeout", session.String(), "--request-timeout", "25s", "--log-level", "debug"}
}

// hasty has them give up soon.
func hasty(session, request time.Duration) []string {
	return []string{"--session-timeout", session.String(), "--request-timeout", request.String(), "--log-level", "debug"}
}

// start starts three nodes and waits until the session-timeout among their flags is in force. The first incarnations
// were registered under the default one; where the flag's is shorter, all nodes register anew.
func start(t *testing.T, flags []string) *harness.Cluster {
	t.Helper()
	c := harness.StartCluster(t, 3, flags...)
	timeout, err := time.ParseDuration(flags[1])
	if err != nil || flags[0] != "--session-timeout" {
		t.Fatalf("flags %v: %v", flags, err)
	}
	for _, n := range c.Nodes() {
		harness.Until(t, "session-timeout is in force", func() bool {
			return n.InfoField("sessions", "session_timeout_ms") == fmt.Sprint(timeout.Milliseconds())
		})
	}
	if timeout < longTimeout {
		for _, n := range c.Nodes() {
			n.Restart()
		}
	}
	return c
}

// long skips what takes too long for every change.
func long(t *testing.T, why string) {
	t.Helper()
	if testing.Short() || os.Getenv("LOCKTEST_LONG") == "" {
		t.Skip(why + ": skipped; make cluster-tests runs it")
	}
}

// inLine waits until a lock has so many waiters, by what a node says.
func inLine(t *testing.T, n *harness.Node, key string, waiters int) {
	t.Helper()
	c := n.Client()
	harness.Until(t, fmt.Sprintf("%d wait for %s", waiters, key), func() bool {
		return len(c.Line("LOCKWAITERS "+key).Items) == waiters
	})
	c.Close()
}

// waits has a client wait for a lock behind those that are in line already.
func waits(t *testing.T, n *harness.Node, c *harness.Client, command string) {
	t.Helper()
	key := strings.Fields(command)[1]
	look := n.Client()
	before := len(look.Line("LOCKWAITERS " + key).Items)
	look.Close()
	c.Send(command)
	inLine(t, n, key, before+1)
}

// fenceOf takes the grant that a client waits for.
func fenceOf(t *testing.T, c *harness.Client) int64 {
	t.Helper()
	v := c.Receive()
	if v.Kind != harness.Int || v.Int <= 0 {
		t.Fatalf("%v, want a fence", v)
	}
	return v.Int
}

// whenGranted begins to wait for a grant; what it returns tells which fence came, and when.
func whenGranted(t *testing.T, c *harness.Client) func() (int64, time.Time) {
	t.Helper()
	type grant struct {
		v   harness.Value
		at  time.Time
		err error
	}
	came := make(chan grant, 1)
	go func() {
		v, err := c.Conn().ReceiveWithin(2 * harness.Patience)
		came <- grant{v, time.Now(), err}
	}()
	return func() (int64, time.Time) {
		t.Helper()
		g := <-came
		if g.err != nil || g.v.Kind != harness.Int || g.v.Int <= 0 {
			t.Fatalf("%v, %v, want a fence", g.v, g.err)
		}
		return g.v.Int, g.at
	}
}

// whenClosed begins to wait until the server closes a connection, without a word before; what it returns tells when.
func whenClosed(t *testing.T, what string, c *harness.Client) func() time.Time {
	t.Helper()
	type end struct {
		got []byte
		at  time.Time
		err error
	}
	came := make(chan end, 1)
	go func() {
		got, err := c.Conn().AwaitClose()
		came <- end{got, time.Now(), err}
	}()
	return func() time.Time {
		t.Helper()
		e := <-came
		if e.err != nil || len(e.got) > 0 {
			t.Errorf("%s: %v, after %q; want it closed without a word", what, e.err, e.got)
		}
		return e.at
	}
}

// silent checks that nothing has come to a client that waits.
func silent(t *testing.T, c *harness.Client) {
	t.Helper()
	if v, err := c.Conn().ReceiveWithin(20 * time.Millisecond); err == nil {
		t.Fatalf("%v came to a client whose turn it is not", v)
	} else if !isTimeout(err) {
		t.Fatalf("the connection of a waiting client: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// closedUnanswered waits until the server has closed a connection; nothing may have come before that.
func closedUnanswered(t *testing.T, what string, c *harness.Client) {
	t.Helper()
	if got, err := c.Conn().AwaitClose(); err != nil || len(got) > 0 {
		t.Errorf("%s: %v, after %q; want it closed without a word", what, err, got)
	}
}

func rising(t *testing.T, fences ...int64) {
	t.Helper()
	for i := 1; i < len(fences); i++ {
		if fences[i] <= fences[i-1] {
			t.Fatalf("fences %v do not rise", fences)
		}
	}
}

// seeded returns the random numbers of a test and logs their seed; LOCKTEST_SEED repeats one.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LOCKTEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LOCKTEST_SEED: %v", err)
		}
	}
	t.Logf("LOCKTEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// faults are the three ways in which a node goes. Each returns what brings it back.
var faults = []struct {
	name string
	hit  func(n *harness.Node)
	// kept reports whether the sessions of the node's clients live on for session-timeout: a stop ends them at once.
	kept bool
	back func(n *harness.Node)
}{
	{"killed", func(n *harness.Node) { n.Kill() }, true, (*harness.Node).Start},
	{"frozen", (*harness.Node).Pause, true, (*harness.Node).Continue},
	{"stopped", (*harness.Node).Terminate, false, func(n *harness.Node) {
		n.AwaitEnd(0)
		n.Start()
	}},
}
