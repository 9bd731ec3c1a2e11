package cluster

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redlockd/redlockd/tests/harness"
)

// idOf is a node's id as Redis's clients know it.
func idOf(n *harness.Node) string { return n.Client().Line("CLUSTER MYID").Text }

// wantSlots checks CLUSTER SLOTS of a node: the leader has all slots, the others are its replicas.
func wantSlots(t *testing.T, n, leader *harness.Node, ids map[*harness.Node]string) {
	t.Helper()
	v := n.Client().Line("CLUSTER SLOTS")
	if len(v.Items) != 1 || len(v.Items[0].Items) != 2+len(ids) || v.Items[0].Items[0].Int != 0 || v.Items[0].Items[1].Int != 16383 {
		t.Fatalf("%s: CLUSTER SLOTS %v", n.ID, v)
	}
	for i, node := range v.Items[0].Items[2:] {
		found := false
		for m, id := range ids {
			host, port, _ := net.SplitHostPort(m.Addr())
			if len(node.Items) == 4 && node.Items[0].Text == host && fmt.Sprint(node.Items[1].Int) == port && node.Items[2].Text == id {
				found = (i == 0) == (m == leader)
			}
		}
		if !found {
			t.Errorf("%s: CLUSTER SLOTS has %v at place %d, %s leads", n.ID, node, i+1, leader.ID)
		}
	}
}

var nodesLine = regexp.MustCompile(`^([0-9a-f]{40}) (127\.0\.0\.1:\d+)@(\d+) (myself,)?(master|slave) (-|[0-9a-f]{40}) 0 \d+ (\d+) connected( 0-16383)?$`)

// wantNodes checks CLUSTER NODES of a node, line by line.
func wantNodes(t *testing.T, n, leader *harness.Node, ids map[*harness.Node]string) {
	t.Helper()
	text := n.Client().Line("CLUSTER NODES").Text
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		m := nodesLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Errorf("%s: CLUSTER NODES has the line %q", n.ID, line)
			continue
		}
		for o, id := range ids {
			if id != m[1] {
				continue
			}
			seen[id] = true
			_, peer, _ := net.SplitHostPort(o.PeerAddr)
			role, master, slots := "slave", ids[leader], ""
			if o == leader {
				role, master, slots = "master", "-", " 0-16383"
			}
			if m[2] != o.Addr() || m[3] != peer || (m[4] != "") != (o == n) || m[5] != role || m[6] != master || m[8] != slots {
				t.Errorf("%s says of %s: %q", n.ID, o.ID, line)
			}
		}
	}
	if len(seen) != len(ids) {
		t.Errorf("%s: CLUSTER NODES\n%s", n.ID, text)
	}
}

// TestClusterFormats: every node tells, as a node of Redis Cluster would, that the leader serves all slots.
func TestClusterFormats(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	ids := map[*harness.Node]string{}
	for _, n := range c.Nodes() {
		ids[n] = idOf(n)
	}
	check := func(leader *harness.Node) {
		for _, n := range c.Nodes() {
			harness.Until(t, n.ID+" knows the others", func() bool {
				v := n.Client().Line("CLUSTER SLOTS")
				return len(v.Items) == 1 && len(v.Items[0].Items) == 5 && v.Items[0].Items[2].Items[2].Text == ids[leader] &&
					!strings.Contains(n.Client().Line("CLUSTER NODES").Text, "fail?")
			})
			wantSlots(t, n, leader, ids)
			wantNodes(t, n, leader, ids)
			o := n.Client()
			shards := o.Line("CLUSTER SHARDS")
			if len(shards.Items) != 1 {
				t.Fatalf("%s: CLUSTER SHARDS %v", n.ID, shards)
			}
			nodes, _ := shards.Items[0].Field("nodes")
			masters := 0
			for _, m := range nodes.Items {
				id, _ := m.Field("id")
				role, _ := m.Field("role")
				health, _ := m.Field("health")
				if role.Text == "master" && id.Text == ids[leader] {
					masters++
				}
				if health.Text != "online" {
					t.Errorf("%s: CLUSTER SHARDS says %v", n.ID, m)
				}
			}
			if len(nodes.Items) != 3 || masters != 1 {
				t.Errorf("%s: CLUSTER SHARDS %v", n.ID, shards)
			}
			info := o.Line("CLUSTER INFO").Text
			for _, want := range []string{"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_slots_ok:16384", "cluster_known_nodes:3", "cluster_size:1"} {
				if !strings.Contains(info, want+"\r\n") {
					t.Errorf("%s: CLUSTER INFO lacks %s:\n%s", n.ID, want, info)
				}
			}
			o.Want("CLUSTER KEYSLOT {user1000}.following", ":3443")
			if hello := n.Client().Do("HELLO", "3"); hello.Kind == harness.Map {
				mode, _ := hello.Field("mode")
				role, _ := hello.Field("role")
				if want := map[bool]string{true: "master", false: "replica"}[n == leader]; mode.Text != "cluster" || role.Text != want {
					t.Errorf("%s: HELLO says mode %v and role %v", n.ID, mode, role)
				}
			}
		}
	}
	leader := c.Leader()
	check(leader)
	next := c.Followers()[1]
	handOver(t, c, next)
	check(next)
}

// holds waits until a client has locked by the node that leads, as whoever asks can see, and gives the lock back.
func holds(t *testing.T, c redis.UniversalClient, look, at *harness.Node) {
	t.Helper()
	ctx := context.Background()
	var last string
	if !harness.Poll(harness.Patience, func() bool {
		if err := c.Do(ctx, "LOCK", "followed", "OWNER", "o").Err(); err != nil {
			last = err.Error()
			return false
		}
		o := look.Client()
		o.Do("READONLY") // or it might send us to the leader; where nodes look alone it is refused, and not needed
		node := o.Field("LOCKINFO followed", "node").Text
		o.Close()
		last = "it was locked by way of " + node
		for {
			left, err := c.Do(ctx, "UNLOCK", "followed", "OWNER", "o").Int64()
			if err != nil {
				last = err.Error()
				return false
			}
			if left == 0 {
				return node == at.ID
			}
		}
	}) {
		t.Fatalf("%s leads, and the client does not lock there: %s", at.ID, last)
	}
}

// handOver lets a follower lead.
func handOver(t *testing.T, c *harness.Cluster, to *harness.Node) {
	t.Helper()
	to.Client().Want("CLUSTER FAILOVER", "+OK") // to the node that is asked
	harness.Until(t, to.ID+" leads", func() bool { return c.Leader() == to })
}

// follows moves the leadership and lets the client follow: handed over twice, where told makes the client look, then lost.
func follows(t *testing.T, c *harness.Cluster, client redis.UniversalClient, told func()) {
	t.Helper()
	leader := c.Leader()
	holds(t, client, leader, leader)
	for range 2 {
		f := c.Followers()
		handOver(t, c, f[1])
		told()
		holds(t, client, f[0], f[1])
	}
	leader = c.Leader()
	leader.Kill()
	next := c.Leader()
	holds(t, client, c.Others(next)[0], next)
	leader.Start()
}

func addrsOf(nodes ...*harness.Node) []string {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// clusterClient is go-redis's client for Redis Cluster, with a session for its whole pool.
func clusterClient(t *testing.T, name string, nodes ...*harness.Node) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrsOf(nodes...), ClientName: "session:" + name, MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 200 * time.Millisecond,
		// It looks again by the clock alone where nobody answers.
		DialerRetries: 1, ClusterStateReloadInterval: time.Second,
	})
	t.Cleanup(func() { _ = client.Close() }) // ended here
	return client
}

// TestClusterClient: go-redis's cluster client, given one follower, finds the leader and follows it.
func TestClusterClient(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, mode := range []string{"proxy", "redirect"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := harness.StartCluster(t, 3, "--follower-mode", mode)
			client := clusterClient(t, "billing", c.Followers()[0])
			fence, err := client.Do(ctx, "LOCK", "kept", "OWNER", "o").Int64()
			if err != nil {
				t.Fatal(err)
			}
			// A connection that has been used is served where it is: the client moves when it looks again.
			follows(t, c, client, func() {
				if err := client.Do(ctx, "LOCK", "meanwhile", "OWNER", "o").Err(); err != nil {
					t.Error(err)
				}
				client.ReloadState(ctx)
			})
			// The session is the pool's, wherever its connections are.
			if left, err := client.Do(ctx, "UNLOCK", "kept", "OWNER", "o", "FENCE", fence).Int64(); err != nil || left != 0 {
				t.Errorf("UNLOCK after the changes of leader: %d, %v", left, err)
			}
		})
	}
}

// TestClusterClientMoved: one that knows the last leader only is sent to the present one by MOVED.
func TestClusterClientMoved(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, "--follower-mode", "redirect")
	client := clusterClient(t, "billing", c.Nodes()...)
	if err := client.Ping(context.Background()).Err(); err != nil { // it knows the nodes, and is known for nothing yet
		t.Fatal(err)
	}
	f := c.Followers()
	handOver(t, c, f[0])
	holds(t, client, f[1], f[0])
}

// TestRedirect: what --follower-mode redirect sends to whom, over plain connections.
func TestRedirect(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, "--follower-mode", "redirect")
	leader, follower := c.Leader(), c.Followers()[0]
	o := follower.Client()
	slot := o.Int("CLUSTER KEYSLOT orders")
	moved := fmt.Sprintf("-MOVED %d %s", slot, leader.Addr())
	for _, line := range []string{"LOCK orders", "TRYLOCK orders", "UNLOCK orders", "ISLOCKED orders", "DESTROY orders"} {
		o.Want(line, moved)
	}
	o.Want("READONLY", "+OK")
	o.Want("ISLOCKED orders", ":0") // linearizable here, too
	o = follower.Client()
	o.Want("READWRITE", "+OK")
	o.Want("ISLOCKED orders", moved)
	o.Want("ASKING", "+OK")
	fence := o.Int("LOCK orders")
	// What it holds hangs on this connection: it is served here from now on.
	o.Want("LOCK orders", fmt.Sprintf(":%d", fence))
	leader.Client().Want("LOCKCOUNT orders", ":2")
	// The leader moves nobody, and one that becomes a follower keeps those it has.
	held := leader.Client()
	held.Int("LOCK kept")
	handOver(t, c, follower)
	held.Want("UNLOCK kept", ":0")
	o.Want("UNLOCK orders", ":1")
	o.Want("UNLOCK orders", ":0")
	leader.Client().Want("LOCK orders", fmt.Sprintf("-MOVED %d %s", slot, follower.Addr()))
}

// withSentinels starts three nodes with Sentinel ports and returns those.
func withSentinels(t *testing.T, args ...string) (*harness.Cluster, []string) {
	t.Helper()
	c := harness.PrepareCluster(t, 3, args...)
	var addrs []string
	for _, n := range c.Nodes() {
		port, err := harness.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, harness.Loopback(port))
		n.AddArgs("--sentinel-listen", addrs[len(addrs)-1])
	}
	c.StartAll()
	return c, addrs
}

// TestSentinelPort: what stock clients ask a Sentinel, and what subscribers are told when another node leads.
func TestSentinelPort(t *testing.T) {
	t.Parallel()
	c, addrs := withSentinels(t)
	leader := c.Leader()
	var listening []*harness.Client
	for i, n := range c.Nodes() {
		o := harness.Connect(t, addrs[i])
		harness.Until(t, "the Sentinel of "+n.ID+" knows all", func() bool {
			return len(o.Line("SENTINEL SENTINELS mymaster").Items) == 2 && o.Line("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").Kind == harness.Array
		})
		host, port, _ := net.SplitHostPort(leader.Addr())
		if v := o.Line("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster"); len(v.Items) != 2 || v.Items[0].Text != host || v.Items[1].Text != port {
			t.Errorf("%s: the master is at %v, want %s", n.ID, v, leader.Addr())
		}
		if v := o.Line("SENTINEL GET-MASTER-ADDR-BY-NAME another"); v.Kind != harness.Null {
			t.Errorf("%s: the address of a master that there is not: %v", n.ID, v)
		}
		for _, line := range []string{"SENTINEL MASTERS", "SENTINEL MASTER mymaster", "SENTINEL REPLICAS mymaster", "SENTINEL SLAVES mymaster"} {
			v := o.Line(line)
			maps, want := v.Items, 1
			if line == "SENTINEL MASTER mymaster" {
				maps = []harness.Value{v}
			} else if strings.Contains(line, "REPLICAS") || strings.Contains(line, "SLAVES") {
				want = 2
			}
			if len(maps) != want {
				t.Fatalf("%s: %s: %v", n.ID, line, v)
			}
			for _, m := range maps {
				at, _ := m.Field("port")
				if isLeader := at.Text == port; isLeader != (want == 1) {
					t.Errorf("%s: %s has the node at port %s", n.ID, line, at.Text)
				}
			}
		}
		o.Want("PING", "+PONG")
		if v := o.Line("SENTINEL CKQUORUM mymaster"); !strings.HasPrefix(v.String(), "+OK 3 ") {
			t.Errorf("%s: SENTINEL CKQUORUM: %v", n.ID, v)
		}
		if text := o.Line("INFO sentinel").Text; !strings.Contains(text, "master0:name=mymaster,status=ok,address="+leader.Addr()+",slaves=2,sentinels=3") {
			t.Errorf("%s: INFO sentinel\n%s", n.ID, text)
		}
		o.WantCode("LOCK orders", "ERR") // it is no port for locks
		o.Send("SUBSCRIBE +switch-master")
		if v := o.Receive(); len(v.Items) != 3 || v.Items[0].Text != "subscribe" {
			t.Errorf("%s: SUBSCRIBE: %v", n.ID, v)
		}
		listening = append(listening, o)
	}
	next := c.Followers()[0]
	next.Client().Want("CLUSTER FAILOVER", "+OK")
	for i, o := range listening {
		want := fmt.Sprintf("mymaster %s %s", strings.ReplaceAll(leader.Addr(), ":", " "), strings.ReplaceAll(next.Addr(), ":", " "))
		if v := o.Receive(); len(v.Items) != 3 || v.Items[0].Text != "message" || v.Items[1].Text != "+switch-master" || v.Items[2].Text != want {
			t.Errorf("n%s: %v, want %q", strconv.Itoa(i+1), v, want)
		}
	}
}

// TestSentinelClient: go-redis's failover client finds the leader by the Sentinel ports and follows it.
func TestSentinelClient(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"told": nil, "refused": {"--follower-mode", "redirect", "--cluster-enabled", "no"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, addrs := withSentinels(t, args...)
			client := redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: "mymaster", SentinelAddrs: addrs, ClientName: "session:billing",
				MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 200 * time.Millisecond,
			})
			t.Cleanup(func() { _ = client.Close() }) // ended here
			fence, err := client.Do(context.Background(), "LOCK", "kept", "OWNER", "o").Int64()
			if err != nil {
				t.Fatal(err)
			}
			follows(t, c, client, func() {})
			if left, err := client.Do(context.Background(), "UNLOCK", "kept", "OWNER", "o", "FENCE", fence).Int64(); err != nil || left != 0 {
				t.Errorf("UNLOCK after the changes of leader: %d, %v", left, err)
			}
		})
	}
}
