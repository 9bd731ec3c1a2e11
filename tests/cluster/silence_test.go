package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// seats are who a fault can befall.
var seats = []struct {
	name string
	pick func(c *harness.Cluster) *harness.Node
}{
	{"leader", func(c *harness.Cluster) *harness.Node { return c.Leader() }},
	{"follower", func(c *harness.Cluster) *harness.Node { return c.Followers()[0] }},
}

// endsInTime waits for the grant of what a client of a silent node held, and checks when it comes.
func endsInTime(t *testing.T, heir *harness.Client, seat string, fence int64, silentSince time.Time) {
	t.Helper()
	next := fenceOf(t, heir)
	took := time.Since(silentSince)
	rising(t, fence, next)
	t.Logf("the hold ended %v after its node fell silent, with a session-timeout of %v", took.Round(time.Millisecond), shortTimeout)
	// The newest keepalive may be a third of session-timeout old; a new term gives a whole one.
	least, most := shortTimeout-shortTimeout/3-100*time.Millisecond, shortTimeout+lateEnd+machineSlack
	if seat == "leader" {
		least, most = shortTimeout, most+3*time.Second
	}
	if took < least || took > most {
		t.Errorf("the hold ended %v after its node fell silent, want %v to %v", took, least, most)
	}
}

// TestDeadNodesSessionsEnd: the holds and waits of a dead node's anonymous sessions end after session-timeout.
func TestDeadNodesSessionsEnd(t *testing.T) {
	t.Parallel()
	for _, seat := range seats {
		t.Run(seat.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, patient(shortTimeout))
			victim := seat.pick(c)
			others := c.Others(victim)
			holder := victim.Client()
			fence := holder.Int("LOCK held")
			heir := others[0].Client()
			waits(t, others[1], heir, "LOCK held")
			// A dead waiter's place goes to the next in line.
			front := others[1].Client()
			front.Int("LOCK line")
			dead, behind := victim.Client(), others[0].Client()
			waits(t, others[1], dead, "LOCK line")
			waits(t, others[1], behind, "LOCK line")
			at := time.Now()
			victim.Kill()
			front.Want("UNLOCK line", ":0") // to the dead session, whose time is not over
			endsInTime(t, heir, seat.name, fence, at)
			fenceOf(t, behind)
			victim.Start()
			again := victim.Client()
			again.WantCode("UNLOCK held", "NOTOWNER")
			again.Want("FENCE held", fmt.Sprintf(":%d", others[0].Client().Int("FENCE held")))
		})
	}
}

// TestFrozenNodeThaws: a node that was frozen for longer than session-timeout closes its clients' connections and
// answers nothing from before.
func TestFrozenNodeThaws(t *testing.T) {
	t.Parallel()
	for _, seat := range seats {
		t.Run(seat.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, patient(shortTimeout))
			victim := seat.pick(c)
			others := c.Others(victim)
			holder, waiter, asker := victim.Client(), victim.Client(), victim.Client()
			fence := holder.Int("LOCK held")
			asker.Int("LOCK own")
			front := others[0].Client()
			front.Int("LOCK line")
			waits(t, others[0], waiter, "LOCK line")
			heir := others[1].Client()
			waits(t, others[0], heir, "LOCK held")

			at := time.Now()
			victim.Pause()
			holder.Send("ISOWNER held")
			holder.Send("UNLOCK held")
			asker.Send("PING")
			asker.Send("LOCK from-before")
			endsInTime(t, heir, seat.name, fence, at)
			front.Want("UNLOCK line", ":0")
			rising(t, 0, others[1].Client().Int("TRYLOCK line TIMEOUT 10000"))
			victim.Continue()

			closedUnanswered(t, "the holder", holder)
			closedUnanswered(t, "the waiter", waiter)
			closedUnanswered(t, "one that asked while the node was frozen", asker)
			victim.AwaitServing()
			back := victim.Client()
			back.Want("ISLOCKED from-before", ":0")
			back.Want("ISLOCKED own", ":0")
			back.Want("ISLOCKED held", ":1")
			back.WantCode("UNLOCK held", "NOTOWNER")
			heir.Want("UNLOCK held", ":0")
		})
	}
}

// TestFollowerGoes: a follower is lost and comes back; nobody else notices.
func TestFollowerGoes(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			c := start(t, patient(longTimeout))
			victim := c.Followers()[1]
			others := c.Others(victim)
			w := newWorld(t, c, longTimeout, seeded(t))
			w.start(2, 1, c.Nodes()...)
			holder, waiter := others[0].Client(), others[1].Client()
			fence := holder.Int("LOCK held")
			waits(t, others[0], waiter, "LOCK held")
			w.hurts(victim, 0) // the node registers anew as it starts, which ends the sessions of its former process
			f.hit(victim)
			// Shared locks may be held by the lost node's clients: only what others hold goes on at once.
			holder.Want("LOCKCOUNT held", ":1")
			holder.Want("UNLOCK held", ":0")
			rising(t, fence, fenceOf(t, waiter))
			f.back(victim)
			victim.AwaitServing()
			w.healed(victim)
			w.progress(c.Nodes()...)
			w.finish()
		})
	}
}

// TestFrozenWhileWriting: a node that is frozen in the middle of its writes, for longer than a hung disk is borne with,
// goes on when it thaws: its disk did not hang.
func TestFrozenWhileWriting(t *testing.T) {
	c := start(t, append(patient(shortTimeout), "--disk-timeout", "1s"))
	victim := c.Leader()
	others := c.Others(victim)
	w := newWorld(t, c, shortTimeout, seeded(t))
	w.apart = true
	w.start(6, 0, c.Nodes()...)
	for range 3 {
		holder, heir := victim.Client(), others[0].Client()
		fence := holder.Int("LOCK held")
		waits(t, others[1], heir, "LOCK held")
		w.hurts(victim, shortTimeout/2)
		victim.Pause()
		rising(t, fence, fenceOf(t, heir)) // after session-timeout
		victim.Continue()
		closedUnanswered(t, "the holder", holder)
		victim.AwaitServing()
		w.healed(victim)
		heir.Want("UNLOCK held", ":0")
		w.progress(c.Nodes()...)
		victim = c.Leader()
		others = c.Others(victim)
	}
	w.finish()
}
