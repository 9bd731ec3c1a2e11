package sim

import (
	"testing"
	"time"
)

// found are worlds with what once went wrong in a seed, as short as it goes. A seed
// is no test for ever: it means other faults when the way they are drawn changes.
var found = []struct {
	name string
	// why says what was wrong.
	why    string
	change func(c *config)
	plan   func() []event
}{
	{
		name: "a-full-disk-of-an-idle-node",
		why: `A node whose disk had been nearly full, and was not any more, did not say so when it had no connections:
			the whole cluster refused to lock for good. (Seed 181 of the first generator.)`,
		change: func(c *config) { c.clients = 2 },
		plan: func() []event {
			var plan []event
			for i := range 10 {
				plan = append(plan, event{at: time.Duration(i) * 12 * time.Second, lasts: 13 * time.Second, what: "disk full", node: i % 3})
			}
			return plan
		},
	},
	{
		name: "death-while-handing-over",
		why: `A hand-over that Raft had not answered when the process stopped was never answered: a goroutine was left.
			(Seed 150.)`,
		change: func(c *config) { c.thinking = 300 * time.Millisecond },
		plan: func() []event {
			var plan []event
			for i := range 12 {
				plan = append(plan, event{
					at: time.Duration(i) * 10 * time.Second, lasts: time.Second, what: "hand over and die", node: -1, percent: 30, loud: i%2 == 0,
				})
			}
			return plan
		},
	},
	{
		name: "a-word-just-before-the-TTL",
		why: `What the client of a HEARTBEAT session said in time came to the cluster with its node's next keepalive,
			when the TTL was over: the session had ended. (Found by reading, shown by client.hush.)`,
		change: func(c *config) { c.clients = 12 },
		plan:   func() []event { return nil },
	},
	{
		name: "a-living-member-is-forgotten",
		why: `CLUSTER FORGET ended the incarnation of a living member at once, and the member heard of it with its next
			keepalive: its clients held, as far as they knew, what others had been given. (Seed 12.)`,
		change: func(c *config) { c.strict, c.loss = true, 0 },
		plan: func() []event {
			var plan []event
			for i := range 8 {
				plan = append(plan, event{at: time.Duration(i) * 14 * time.Second, what: "replace", node: -1, other: i % 3})
			}
			return plan
		},
	},
}

func TestFound(t *testing.T) {
	for i, f := range found {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			conf := newConfig(uint64(i), 2*time.Minute)
			conf.nodes, conf.thinking = 3, time.Second
			f.change(&conf)
			runWorld(t, f.name, uint64(i), conf, f.plan(), newStats(), false)
			if t.Failed() {
				t.Log(f.why)
			}
		})
	}
}
