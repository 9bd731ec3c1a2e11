package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

func attach(t *testing.T, n *harness.Node, name, want string, more ...string) *harness.Client {
	t.Helper()
	c := n.Client()
	v := c.Do(append([]string{"SESSION", "ATTACH", name}, more...)...)
	if len(v.Items) != 2 || v.Items[1].Text != want {
		t.Fatalf("%s: SESSION ATTACH %s: %v, want it %s", n.ID, name, v, want)
	}
	return c
}

// TestNamedSessionMoves: a named session survives the death of the node that it was attached at, with its holds, its
// counts and its places in line, and goes on at another node.
func TestNamedSessionMoves(t *testing.T) {
	t.Parallel()
	for _, seat := range seats {
		t.Run(seat.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, patient(shortTimeout))
			victim := seat.pick(c)
			others := c.Others(victim)
			at := attach(t, victim, "moving", "created", "TTL", "60000")
			fence := at.Int("LOCK held OWNER o")
			at.Want("LOCK held OWNER o", fmt.Sprintf(":%d", fence))
			retried := at.Int("LOCK retried OWNER o ID r1")
			front := others[0].Client()
			front.Int("LOCK line")
			waiting := attach(t, victim, "moving", "resumed")
			waits(t, others[0], waiting, "LOCK line OWNER o ID r2")
			behind := others[1].Client()
			waits(t, others[0], behind, "LOCK line")
			thief := others[0].Client()
			waits(t, others[1], thief, "LOCK held")

			victim.Kill()
			back := attach(t, others[1], "moving", "resumed")
			back.Want("ISOWNER held OWNER o", ":1")
			back.Want("LOCKCOUNT held OWNER o", ":2")
			back.Want("FENCE held", fmt.Sprintf(":%d", fence))
			// The retry of a call that had its answer does nothing more.
			back.Want("LOCK retried OWNER o ID r1", fmt.Sprintf(":%d", retried))
			back.Want("LOCKCOUNT retried OWNER o", ":1")
			// The wait is where it was.
			again := attach(t, others[0], "moving", "resumed")
			again.Send("LOCK line OWNER o ID r2")
			look := others[1].Client()
			if v := look.Line("LOCKWAITERS line"); len(v.Items) != 2 {
				t.Errorf("in line: %v, want two", v)
			}
			front.Want("UNLOCK line", ":0")
			got := fenceOf(t, again)
			silent(t, behind)
			again.Want("UNLOCK line OWNER o", ":0")
			rising(t, got, fenceOf(t, behind))

			// With the dead node's own attachments gone, nothing has changed.
			waitForEnd(t, c, victim)
			look.Want("ISLOCKED held", ":1")
			silent(t, thief)
			back.Want("UNLOCK held OWNER o", ":1")
			back.Want("UNLOCK held OWNER o", ":0")
			rising(t, fence, fenceOf(t, thief))
		})
	}
}

// waitForEnd waits until the cluster has given up the sessions of a dead node: no connection of it is listed.
func waitForEnd(t *testing.T, c *harness.Cluster, dead *harness.Node) {
	t.Helper()
	look := c.Up()[0].Client()
	harness.Until(t, "the sessions of "+dead.ID+" have ended", func() bool {
		v := look.Line("SESSION LIST")
		for _, s := range v.Items {
			if n, ok := s.Field("node"); ok && n.Text == dead.ID {
				return false
			}
		}
		return v.Kind == harness.Array
	})
}

// TestNamedSessionEnds: a named session whose node died, and to which nobody comes back, ends after its TTL, counted
// from the loss of its last connection.
func TestNamedSessionEnds(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	c := start(t, patient(shortTimeout))
	victim := c.Followers()[0]
	others := c.Others(victim)
	at := attach(t, victim, "lonely", "created", "TTL", fmt.Sprint(ttl.Milliseconds()))
	fence := at.Int("LOCK held OWNER o")
	heir := others[0].Client()
	waits(t, others[1], heir, "LOCK held")
	killed := time.Now()
	victim.Kill()
	rising(t, fence, fenceOf(t, heir))
	took := time.Since(killed)
	t.Logf("the session ended %v after its node was killed", took.Round(time.Millisecond))
	if least := shortTimeout - shortTimeout/3 - 100*time.Millisecond + ttl; took < least {
		t.Errorf("the session ended %v after its node was killed, want at least %v", took, least)
	}
	if most := shortTimeout + lateEnd + ttl + machineSlack; took > most {
		t.Errorf("the session ended %v after its node was killed, want at most %v", took, most)
	}
	back := attach(t, others[0], "lonely", "created")
	back.WantCode("UNLOCK held OWNER o", "LOCKLOST")
}

// TestAllKilled: kill -9 of all three. Named holds are there with fence, count and lease, anonymous ones are not, and
// fences go on.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	c := start(t, patient(longTimeout))
	named := attach(t, c.Node(1), "survivor", "created", "TTL", "600000")
	fence := named.Int("LOCK named OWNER o")
	named.Int("LOCK named OWNER o")
	leased := named.Int("LOCK leased LEASE 600000 OWNER o")
	kept := c.Node(2).Client().Int("LOCK kept LEASE 600000 KEEP")
	anonymous := c.Node(3).Client()
	last := anonymous.Int("LOCK anonymous")
	for _, n := range c.Nodes() {
		n.Kill()
	}
	c.StartAll()
	for _, n := range c.Nodes() {
		look := n.Client()
		look.Want("LOCKCOUNT named", ":2")
		look.Want("FENCE named", fmt.Sprintf(":%d", fence))
		look.Want("FENCE leased", fmt.Sprintf(":%d", leased))
		look.Want("FENCE kept", fmt.Sprintf(":%d", kept))
		if left := look.Int("LEASETIME leased"); left <= 0 || left > 600_000 {
			t.Errorf("%s: %d ms of the lease are left", n.ID, left)
		}
	}
	// Each node registers anew as it starts, which ends the sessions of its former process.
	next := c.Node(1).Client().Int("LOCK anonymous")
	rising(t, last, next)
	back := attach(t, c.Node(3), "survivor", "resumed")
	back.Want("UNLOCK named OWNER o", ":1")
	back.Want("UNLOCK named OWNER o", ":0")
	rising(t, next, c.Node(2).Client().Int("LOCK named"))
}

// TestAllKilledUnderLoad does that over and over under load: what was answered stays so.
func TestAllKilledUnderLoad(t *testing.T) {
	long(t, "kills all nodes again and again")
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(3, 2, c.Nodes()...)
	for range 5 {
		w.progress(c.Nodes()...)
		for _, n := range c.Nodes() {
			w.hurts(n, 0) // a node that starts anew ends the sessions of its former process
		}
		for _, n := range c.Nodes() {
			n.Kill()
		}
		c.StartAll()
		for _, n := range c.Nodes() {
			w.healed(n)
		}
	}
	w.progress(c.Nodes()...)
	w.finish()
}
