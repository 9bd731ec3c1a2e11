package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestStartsInAnyOrder: the second node makes a majority, whichever it is, and the third finds its way.
func TestStartsInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{3, 1, 2}, {2, 3, 1}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			c := harness.PrepareCluster(t, 3)
			c.Node(order[0]).Launch()
			if err := c.Node(order[0]).Probe(100 * time.Millisecond); err == nil {
				t.Error("one node of three serves alone")
			}
			began := time.Now()
			c.Node(order[1]).Launch()
			c.AwaitServing()
			t.Logf("two nodes serve %v after the start of the second", time.Since(began).Round(time.Millisecond))
			fence := c.Node(order[0]).Client().Int("LOCK early")
			c.Node(order[2]).Start()
			last := c.Node(order[2]).Client()
			last.Want("FENCE early", fmt.Sprintf(":%d", fence))
			rising(t, fence, last.Int("LOCK late"))
			c.Leader()
		})
	}
}

// TestAnyNodeServesAnyClient: each command means the same on every node.
func TestAnyNodeServesAnyClient(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	var last int64
	ids := map[int64]bool{}
	for _, home := range c.Nodes() {
		holder := home.Client()
		key := "at-" + home.ID
		fence := holder.Int("LOCK " + key + " NOTE mine")
		rising(t, last, fence)
		holder.Want("LOCK "+key, fmt.Sprintf(":%d", fence))
		for _, n := range c.Nodes() {
			o := n.Client()
			o.Want("ISLOCKED "+key, ":1")
			o.Want("ISOWNER "+key, ":0")
			o.Want("LOCKCOUNT "+key, ":2")
			o.Want("FENCE "+key, fmt.Sprintf(":%d", fence))
			o.Want("TRYLOCK "+key, ":0")
			o.WantCode("UNLOCK "+key, "NOTOWNER")
			if node := o.Field("LOCKINFO "+key, "node").Text; node != home.ID {
				t.Errorf("%s says that %s is held by a client of %q, want %s", n.ID, key, node, home.ID)
			}
			id := o.Int("CLIENT ID")
			if ids[id] {
				t.Errorf("client id %d was given twice", id)
			}
			ids[id] = true
		}
		holder.Want("ISOWNER "+key, ":1")
		holder.Want("UNLOCK "+key, ":1")
		holder.Want("UNLOCK "+key, ":0")
		for _, n := range c.Nodes() {
			o := n.Client()
			o.Want("ISLOCKED "+key, ":0")
			last = o.Int("TRYLOCK " + key)
			rising(t, fence, last)
			o.Want("UNLOCK "+key, ":0")
			fence = last
		}
	}
}

// TestOwnersLearnOfTheirLossAcrossNodes: what one node's client does to another's hold is told to its owner.
func TestOwnersLearnOfTheirLossAcrossNodes(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	f := c.Followers()
	holder, admin, next := f[0].Client(), leader.Client(), f[1].Client()
	fence := holder.Int("LOCK forced")
	waits(t, leader, next, "LOCK forced")
	admin.Want("FORCEUNLOCK forced", ":1")
	rising(t, fence, fenceOf(t, next))
	holder.WantCode("UNLOCK forced", "LOCKLOST")
	holder.WantCode("UNLOCK forced", "NOTOWNER")

	holder.Int("LOCK leased LEASE 300")
	waits(t, leader, next, "LOCK leased")
	fenceOf(t, next)
	holder.WantCode("RENEW leased 1000", "LOCKLOST")

	holder.Int("LOCK gone")
	waits(t, leader, next, "LOCK gone")
	admin.Want("DESTROY gone NOTE old", "+OK")
	if v := next.Receive(); v.Code() != "DESTROYED" {
		t.Errorf("a waiter on another node was told %v, want -DESTROYED", v)
	}
	holder.WantCode("UNLOCK gone", "LOCKLOST")

	// A client that goes leaves its locks to those of other nodes.
	holder.Int("LOCK left")
	waits(t, leader, next, "LOCK left")
	holder.Close()
	fenceOf(t, next)
}

// TestPassedBetweenFollowers: two clients on two followers pass a lock to and fro.
func TestPassedBetweenFollowers(t *testing.T) {
	c := harness.StartCluster(t, 3)
	f := c.Followers()
	a, b := f[0].Client(), f[1].Client()
	last := a.Int("LOCK ball")
	const passes = 300
	took := make([]time.Duration, 0, passes)
	waits(t, f[0], b, "LOCK ball")
	for range passes {
		began := time.Now()
		a.Send("UNLOCK ball")
		fence := fenceOf(t, b)
		took = append(took, time.Since(began))
		rising(t, last, fence)
		last = fence
		if v := a.Receive(); v.String() != ":0" {
			t.Fatalf("UNLOCK: %v", v)
		}
		a.Send("LOCK ball") // stands in line behind b, or takes it when b was quicker
		a, b = b, a
	}
	slices.Sort(took)
	t.Logf("from UNLOCK on one follower to the grant on the other: median %v, 90 %% %v, most %v",
		took[passes/2], took[passes*9/10], took[passes-1])
}

// TestQueueOfManyNodes: waiters of all nodes are served in the order in which they came.
func TestQueueOfManyNodes(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	holder := c.Node(1).Client()
	fence := holder.Int("LOCK line")
	var line []*harness.Client
	for i := range 9 {
		w := c.Node(i%3 + 1).Client()
		waits(t, c.Node((i+1)%3+1), w, "LOCK line")
		line = append(line, w)
	}
	holder.Want("UNLOCK line", ":0")
	for i, w := range line {
		got := fenceOf(t, w)
		rising(t, fence, got)
		fence = got
		if i+1 < len(line) {
			silent(t, line[i+1])
		}
		w.Want("UNLOCK line", ":0")
	}
}

// TestKillAndUnblockAcrossNodes: CLIENT UNBLOCK and CLIENT KILL reach the connections of every node.
func TestKillAndUnblockAcrossNodes(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	for i, home := range c.Nodes() {
		admin := c.Node((i+1)%3 + 1).Client()
		key := "k" + home.ID
		holder := admin.With(t)
		holder.Int("LOCK " + key)
		victim := home.Client()
		id := strconv.FormatInt(victim.Int("CLIENT ID"), 10)
		victim.Int("LOCK mine" + key)

		waits(t, home, victim, "LOCK "+key)
		admin.Want("CLIENT UNBLOCK "+id, ":1")
		if v := victim.Receive(); v.Code() != "CANCELLED" {
			t.Errorf("%s: LOCK unblocked from another node answered %v", home.ID, v)
		}
		admin.Want("CLIENT UNBLOCK "+id, ":0")
		waits(t, home, victim, "TRYLOCK "+key+" TIMEOUT 600000")
		admin.Want("CLIENT UNBLOCK "+id+" TIMEOUT", ":1")
		if v := victim.Receive(); v.String() != ":0" {
			t.Errorf("%s: TRYLOCK unblocked by TIMEOUT answered %v", home.ID, v)
		}
		waits(t, home, victim, "TRYLOCK "+key+" TIMEOUT 600000")
		admin.Want("CLIENT UNBLOCK "+id+" ERROR", ":1")
		if v := victim.Receive(); v.Code() != "CANCELLED" {
			t.Errorf("%s: TRYLOCK unblocked by ERROR answered %v", home.ID, v)
		}

		heir := admin.With(t)
		waits(t, home, victim, "LOCK "+key)
		if v := admin.Line("CLIENT KILL ID " + id); v.String() != ":1" {
			t.Errorf("%s: CLIENT KILL from another node answered %v", home.ID, v)
		}
		closedUnanswered(t, home.ID+": a killed client", victim)
		inLine(t, home, key, 0)
		if heir.Int("LOCK mine"+key) <= 0 {
			t.Error("no fence")
		}
	}
}

// TestScanCursorIsValidOnEveryNode: a scan goes on on another node at each step, also when the leader has gone.
func TestScanCursorIsValidOnEveryNode(t *testing.T) {
	t.Parallel()
	c := start(t, patient(longTimeout))
	leader := c.Leader()
	others := c.Others(leader)
	const held = 240
	for i := range held {
		// Not on the leader: its clients' holds end with it.
		others[i%2].Client().Int(fmt.Sprintf("LOCK scan:%d LEASE 600000 KEEP", i))
	}
	seen := map[string]int{}
	cursor, steps := "0", 0
	for first := true; first || cursor != "0"; first = false {
		nodes := c.Up()
		v := nodes[steps%len(nodes)].Client().Line("LOCKSCAN " + cursor + " MATCH scan:* COUNT 20")
		if len(v.Items) != 2 {
			t.Fatalf("LOCKSCAN %s: %v", cursor, v)
		}
		for _, key := range v.Items[1].Items {
			seen[key.Text]++
		}
		cursor = v.Items[0].Text
		if steps++; steps == 4 {
			leader.Kill()
		}
	}
	if len(seen) != held {
		t.Errorf("the scan saw %d of %d held locks", len(seen), held)
	}
	for key, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", key, times)
		}
	}
	t.Logf("%d steps over %d nodes", steps, len(c.Nodes()))
}

// TestInfoAndRole: every node tells the same of who leads.
func TestInfoAndRole(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	for _, n := range c.Nodes() {
		want := "slave"
		if n == leader {
			want = "master"
		}
		if v := n.Client().Line("ROLE"); len(v.Items) == 0 || v.Items[0].Text != want {
			t.Errorf("%s: ROLE %v, want %s", n.ID, v, want)
		}
		if got := n.InfoField("raft", "nodes"); got != "3" {
			t.Errorf("%s: %s nodes", n.ID, got)
		}
		nodes := n.Client().Line("CLUSTER NODES").Text
		if lines := strings.Count(nodes, "\n"); lines != 3 || strings.Count(nodes, "master") != 1 {
			t.Errorf("%s: CLUSTER NODES\n%s", n.ID, nodes)
		}
	}
}
