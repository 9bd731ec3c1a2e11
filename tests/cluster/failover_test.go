package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestLeaderLost: the leader goes. Clients of the other nodes keep their connections, their holds and their places in
// line, calls under way finish, and each has taken effect once.
func TestLeaderLost(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if f.name == "frozen" {
				long(t, "waits for session-timeout")
			}
			c := start(t, patient(longTimeout))
			leader := c.Leader()
			others := c.Others(leader)
			one, two := others[0], others[1]
			w := newWorld(t, c, longTimeout, seeded(t))
			w.start(2, 1, c.Nodes()...)

			// A hold, re-entered, and a line of three behind it.
			holder := one.Client()
			first := holder.Int("LOCK held")
			holder.Want("LOCK held", fmt.Sprintf(":%d", first))
			line := []*harness.Client{two.Client(), one.Client(), two.Client()}
			for _, waiter := range line {
				waits(t, one, waiter, "LOCK held")
			}
			// What clients of the leader hold and wait for.
			doomed, heir, gone := leader.Client(), one.Client(), leader.Client()
			doomedFence := doomed.Int("LOCK doomed")
			waits(t, two, heir, "LOCK doomed")
			waits(t, two, gone, "LOCK held")
			// Calls under way when it happens.
			const calls = 400
			counter := two.Client()
			for range calls / 2 {
				counter.Send("LOCK counted")
			}

			grace := longTimeout / 2
			if !f.kept {
				grace = 0
			}
			inherited := whenGranted(t, heir)
			w.hurts(leader, grace)
			hit := time.Now()
			f.hit(leader)
			for range calls / 2 {
				counter.Send("LOCK counted")
			}

			fence := fenceOf(t, counter)
			for i := 1; i < calls; i++ {
				if again := fenceOf(t, counter); again != fence {
					t.Fatalf("call %d answered fence %d, the first one %d", i+1, again, fence)
				}
			}
			t.Logf("calls under way were answered %v after it", time.Since(hit).Round(time.Millisecond))
			counter.Want("LOCKCOUNT counted", fmt.Sprintf(":%d", calls))
			if led := c.LeaderOf(others...); led == leader {
				t.Fatal("it still leads")
			}
			w.progress(others...)
			t.Logf("all clients of the other nodes have gone on %v after it", time.Since(hit).Round(time.Millisecond))

			for _, waiter := range line {
				silent(t, waiter)
			}
			holder.Want("LOCKCOUNT held", ":2")
			holder.Want("UNLOCK held", ":1")
			silent(t, line[0])
			holder.Want("UNLOCK held", ":0")
			fence = first
			for i, waiter := range line {
				got := fenceOf(t, waiter)
				rising(t, fence, got)
				fence = got
				if i+1 < len(line) {
					silent(t, line[i+1])
				}
				waiter.Want("UNLOCK held", ":0")
			}

			v, at := inherited()
			took := at.Sub(hit)
			rising(t, doomedFence, v)
			t.Logf("the holds of its clients ended %v after it", took.Round(time.Millisecond))
			// A new term gives every node a whole session-timeout.
			if f.kept && took < longTimeout {
				t.Errorf("a hold ended %v after its node was %s, before session-timeout (%v)", took, f.name, longTimeout)
			}
			if limit := longTimeout + lateEnd + 5*time.Second; took > limit {
				t.Errorf("a hold ended %v after its node was %s, later than %v", took, f.name, limit)
			}

			f.back(leader)
			leader.AwaitServing()
			w.healed(leader)
			closedUnanswered(t, "a holder on the lost node", doomed)
			closedUnanswered(t, "a waiter on the lost node", gone)
			w.progress(c.Nodes()...)
			w.finish()
		})
	}
}

// TestLeadershipMoves: CLUSTER FAILOVER moves it, and no client notices more than a pause.
func TestLeadershipMoves(t *testing.T) {
	c := start(t, patient(longTimeout))
	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(2, 1, c.Nodes()...)
	holder := c.Node(1).Client()
	fence := holder.Int("LOCK held")
	next := c.Node(2).Client()
	waits(t, c.Node(3), next, "LOCK held")
	for i := range 4 {
		target := c.Followers()[i%2]
		v := c.Node(i%3 + 1).Client().Line("CLUSTER FAILOVER " + target.ID)
		if v.String() != "+OK" {
			t.Fatalf("CLUSTER FAILOVER %s: %v", target.ID, v)
		}
		harness.Until(t, target.ID+" leads", func() bool { return c.Leader() == target })
		w.progress(c.Nodes()...)
	}
	silent(t, next)
	holder.Want("UNLOCK held", ":0")
	rising(t, fence, fenceOf(t, next))
	w.finish()
}

// TestStopHandsOver: by the time that a stopped leader has ended, another one has been asked to lead already, and needs
// no election timeout for it.
func TestStopHandsOver(t *testing.T) {
	c := start(t, patient(longTimeout))
	leader := c.Leader()
	others := c.Others(leader)
	term := number(t, leader, "term")
	leader.Terminate()
	leader.AwaitEnd(0)
	var terms []uint64
	for _, n := range others {
		terms = append(terms, number(t, n, "term"))
	}
	if max(terms[0], terms[1]) <= term {
		t.Errorf("when the leader of term %d has ended, the others are in terms %v", term, terms)
	}
	c.LeaderOf(others...)
}

// TestLeaderBackBeforeTimeout: a leader that is frozen for less than it can vouch for loses its office and nothing else.
func TestLeaderBackBeforeTimeout(t *testing.T) {
	c := start(t, patient(longTimeout))
	leader := c.Leader()
	others := c.Others(leader)
	w := newWorld(t, c, longTimeout, seeded(t))
	w.apart = true // or they would wait for those on the frozen node
	w.start(2, 0, c.Nodes()...)
	holder, waiter, caller := leader.Client(), leader.Client(), leader.Client()
	fence := holder.Int("LOCK held")
	waits(t, others[0], waiter, "LOCK held")
	began := time.Now()
	leader.Pause()
	caller.Send("LOCK asked-in-the-cold")
	c.LeaderOf(others...)
	w.progress(others...)
	leader.Continue()
	if away := time.Since(began); away > longTimeout/2 {
		t.Skipf("the machine took %v for what must take less than %v: skipped", away, longTimeout/2)
	}
	fenceOf(t, caller)
	silent(t, waiter)
	holder.Want("LOCKCOUNT held", ":1")
	holder.Want("UNLOCK held", ":0")
	rising(t, fence, fenceOf(t, waiter))
	w.progress(c.Nodes()...)
	w.finish()
}
