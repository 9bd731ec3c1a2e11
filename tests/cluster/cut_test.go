package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

const shortRequest = 5 * time.Second

// refused begins to wait for the answer to a call on a cut-off node; what it returns checks it: nothing was done, or
// nobody knows.
func refused(t *testing.T, what string, c *harness.Client, since time.Time, codes ...string) func() {
	t.Helper()
	type answer struct {
		v    harness.Value
		err  error
		took time.Duration
	}
	came := make(chan answer, 1)
	go func() {
		v, err := c.Conn().ReceiveWithin(harness.Patience)
		came <- answer{v, err, time.Since(since)}
	}()
	return func() {
		t.Helper()
		a := <-came
		if a.err != nil || !slices.Contains(codes, a.v.Code()) {
			t.Errorf("%s: %v, %v after %v; want %v", what, a.v, a.err, a.took, codes)
		}
		if a.took > shortRequest+machineSlack {
			t.Errorf("%s: answered after %v, want request-timeout (%v)", what, a.took, shortRequest)
		}
	}
}

// TestMinority: a node that is cut off says so and does nothing, the others go on, and healing needs no hand.
func TestMinority(t *testing.T) {
	for _, seat := range seats {
		t.Run(seat.name, func(t *testing.T) {
			if seat.name == "leader" {
				long(t, "waits for session-timeout")
			}
			c := start(t, hasty(longTimeout, shortRequest))
			victim := seat.pick(c)
			others := c.Others(victim)
			w := newWorld(t, c, longTimeout, seeded(t))
			w.apart = true // or all would wait for those on the cut-off node
			w.start(2, 1, c.Nodes()...)
			holder, heir, waiter := victim.Client(), others[0].Client(), victim.Client()
			fence := holder.Int("LOCK held")
			waits(t, others[1], heir, "LOCK held")
			front := others[1].Client()
			front.Int("LOCK line")
			waits(t, others[1], waiter, "LOCK line")
			harness.Until(t, "the node itself knows that they wait", func() bool { return victim.InfoField("locks", "locks_waiters") == "2" })
			var under, after []*harness.Client
			for range 4 {
				under, after = append(under, victim.Client()), append(after, victim.Client())
			}

			w.hurts(victim, 0)
			at := time.Now()
			c.Wires.Isolate(victim.ID)
			inherited, closed := whenGranted(t, heir), whenClosed(t, "the holder", holder)
			var checks []func()
			for i, u := range under {
				u.Send(fmt.Sprintf("TRYLOCK under:%d", i))
				checks = append(checks, refused(t, fmt.Sprintf("call %d at the time of the cut", i), u, at, "CLUSTERDOWN", "UNCERTAIN"))
			}
			harness.Until(t, "the cut-off node knows of no leader", func() bool {
				info, err := victim.Info("raft")
				return err == nil && info["leader"] == "" && info["raft_role"] != "leader"
			})
			t.Logf("the cut-off node knows of it %v after the cut", time.Since(at).Round(time.Millisecond))
			for i, a := range after {
				a.Send(fmt.Sprintf("TRYLOCK after:%d", i))
				checks = append(checks, refused(t, fmt.Sprintf("call %d after the cut", i), a, time.Now(), "CLUSTERDOWN"))
			}
			fresh := victim.Client()
			fresh.Send("LOCK fresh")
			checks = append(checks, refused(t, "a new client", fresh, time.Now(), "CLUSTERDOWN"))
			c.LeaderOf(others...)
			w.progress(others...)
			t.Logf("the others have gone on %v after the cut", time.Since(at).Round(time.Millisecond))
			for _, check := range checks {
				check()
			}

			closedAfter := closed().Sub(at)
			if closedAfter > longTimeout+machineSlack {
				t.Errorf("the holder's connection was closed %v after the cut", closedAfter)
			}
			closedUnanswered(t, "the waiter", waiter)
			next, granted := inherited()
			rising(t, fence, next)
			took := granted.Sub(at)
			t.Logf("the holder's connection was closed %v after the cut, its lock passed on after %v", closedAfter.Round(time.Millisecond), took.Round(time.Millisecond))
			if took <= closedAfter {
				t.Error("the hold was passed on before its node had closed the connection of the holder")
			}
			if took > longTimeout+lateEnd+5*time.Second {
				t.Errorf("the hold was passed on %v after the cut", took)
			}
			front.Want("UNLOCK line", ":0")

			c.Wires.Heal()
			victim.AwaitServing()
			w.healed(victim)
			look := victim.Client()
			for i := range under {
				look.Want(fmt.Sprintf("ISLOCKED under:%d", i), ":0")
				look.Want(fmt.Sprintf("ISLOCKED after:%d", i), ":0")
			}
			look.Want("ISLOCKED fresh", ":0")
			look.Want("ISLOCKED line", ":0")
			c.Leader()
			w.progress(c.Nodes()...)
			w.finish()
		})
	}
}

// TestOneWayCut: one direction between the leader and a follower is silent. The two others lose nothing.
func TestOneWayCut(t *testing.T) {
	for _, toLeader := range []bool{true, false} {
		name := "from the leader"
		if toLeader {
			name = "to the leader"
		}
		t.Run(name, func(t *testing.T) {
			c := start(t, hasty(shortTimeout, shortRequest))
			leader := c.Leader()
			victim := c.Followers()[0]
			var good []*harness.Node
			for _, n := range c.Nodes() {
				if n != victim {
					good = append(good, n)
				}
			}
			w := newWorld(t, c, shortTimeout, seeded(t))
			w.start(2, 1, c.Nodes()...)
			holder, heir := victim.Client(), good[1].Client()
			fence := holder.Int("LOCK held")
			waits(t, good[0], heir, "LOCK held")
			bystander, next := good[0].Client(), good[1].Client()
			kept := bystander.Int("LOCK kept")
			waits(t, good[0], next, "LOCK kept")

			w.hurts(victim, 0)
			from, to := leader.ID, victim.ID
			if toLeader {
				from, to = to, from
			}
			c.Wires.CutOneWay(from, to)
			// Either the node is served by another way, or its sessions end in time.
			began := time.Now()
			granted := make(chan harness.Value, 1)
			go func() {
				v, err := heir.Conn().ReceiveWithin(harness.Patience)
				if err == nil {
					granted <- v
				}
				close(granted)
			}()
			var passed *harness.Value
			harness.Until(t, "the cut node serves, or its client's lock has been passed on", func() bool {
				select {
				case v, ok := <-granted:
					if ok {
						passed = &v
					}
					return true
				default:
				}
				return time.Since(began) > shortTimeout+lateEnd && victim.Probe(time.Second) == nil
			})
			w.progress(good...)
			c.Wires.Heal()
			victim.AwaitServing()
			w.healed(victim)
			if passed != nil {
				t.Logf("the lock of the cut node's client was passed on after %v", time.Since(began).Round(time.Millisecond))
				rising(t, fence, passed.Int)
				closedUnanswered(t, "the holder", holder)
			} else {
				t.Log("the cut node was served by another way")
				holder.Want("UNLOCK held", ":0")
				if v, ok := <-granted; ok {
					rising(t, fence, v.Int)
				}
			}
			silent(t, next)
			bystander.Want("UNLOCK kept", ":0")
			rising(t, kept, fenceOf(t, next))
			w.progress(c.Nodes()...)
			w.finish()
		})
	}
}

// TestSlowWires: all wires are slow, and one of a follower slower; everything takes longer and nothing is lost.
func TestSlowWires(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(2, 1, c.Nodes()...)
	slow := c.Followers()[0]
	for _, a := range c.Nodes() {
		for _, b := range c.Nodes() {
			if a != b {
				c.Wires.Delay(a.ID, b.ID, 5*time.Millisecond)
			}
		}
	}
	w.progress(c.Nodes()...)
	for _, n := range c.Others(slow) {
		c.Wires.Delay(slow.ID, n.ID, 60*time.Millisecond)
		c.Wires.Delay(n.ID, slow.ID, 60*time.Millisecond)
	}
	w.progress(c.Nodes()...)
	c.Wires.Heal()
	w.progress(c.Nodes()...)
	w.finish()
}

// TestBrokenConnections: all connections between nodes break, again and again; no client notices more than a pause.
func TestBrokenConnections(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(2, 1, c.Nodes()...)
	holder, waiter := c.Node(1).Client(), c.Node(2).Client()
	fence := holder.Int("LOCK held")
	waits(t, c.Node(3), waiter, "LOCK held")
	for range 10 {
		c.Wires.Reset("n1", "n2")
		c.Wires.Reset("n2", "n3")
		c.Wires.Reset("n3", "n1")
		w.progress(c.Nodes()...)
	}
	silent(t, waiter)
	holder.Want("UNLOCK held", ":0")
	rising(t, fence, fenceOf(t, waiter))
	w.finish()
}
