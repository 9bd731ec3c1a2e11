package harness

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Cluster is some redlockd processes that form one cluster, and the wires between them. Its methods fail the test;
// call them from the test's goroutine. Every node reaches the others through [Wires] only.
type Cluster struct {
	t     testing.TB
	Wires *Wires
	args  []string
	watch *stallWatch

	mu    sync.Mutex // the wires ask for processes from goroutines of their own
	nodes []*Node
}

// StartCluster starts n nodes with more flags for each, and returns once all of them serve. When the test ends they
// are stopped by SIGTERM; each must give exit code 0 and a log without a panic or a data race.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c := PrepareCluster(t, n, args...)
	c.StartAll()
	return c
}

// PrepareCluster makes the folders and addresses of n nodes, n1, n2 and so on, and starts none.
func PrepareCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	if !CanTellPeers {
		t.Skip("the wires between nodes know who speaks on Linux only: skipped")
	}
	c := &Cluster{t: t, args: args, watch: watchStalls()}
	c.Wires = NewWires(c.whose)
	var servers []*Server
	for range n {
		servers = append(servers, Prepare(t)) // its cleanup runs after the cluster's
	}
	t.Cleanup(c.cleanup)
	var initial []string
	for _, s := range servers {
		node := c.wire(s)
		initial = append(initial, node.ID+"="+node.PeerAddr)
	}
	for _, node := range c.nodes {
		node.SetArgs(c.flags(node, "--initial-cluster", strings.Join(initial, ","))...)
	}
	return c
}

// wire gives a server its addresses and its place in the cluster.
func (c *Cluster) wire(s *Server) *Node {
	c.t.Helper()
	s.addr, s.peerAddr = s.freeAddr(), s.freeAddr()
	c.mu.Lock()
	defer c.mu.Unlock()
	node := &Node{Server: s, c: c, ID: fmt.Sprintf("n%d", len(c.nodes)+1)}
	var err error
	if node.PeerAddr, err = c.Wires.Add(node.ID, s.peerAddr); err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, node)
	return node
}

func (c *Cluster) flags(n *Node, more ...string) []string {
	return slices.Concat([]string{"--node-id", n.ID, "--peer-advertise", n.PeerAddr}, more, c.args)
}

// Add makes another node, which asks a member to join when it is started.
func (c *Cluster) Add(member *Node) *Node {
	c.t.Helper()
	s := Prepare(c.t)
	n := c.wire(s)
	n.SetArgs(c.flags(n, "--join", member.PeerAddr)...)
	return n
}

// whose names the node at the far end of a connection to the wires.
func (c *Cluster) whose(accepted net.Conn) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	processes := map[string]*Process{}
	for _, n := range c.nodes {
		if n.running != nil && n.running.Running() { // or its number may be another one's by now
			processes[n.ID] = n.running
		}
	}
	return WhoseEnd(accepted, processes)
}

// WhoseEnd names the process at the far end of an accepted loopback connection; "" if it is none of these.
func WhoseEnd(accepted net.Conn, processes map[string]*Process) string {
	socket := socketOf(accepted)
	if socket == "" {
		return ""
	}
	for name, p := range processes {
		if p.owns(socket) {
			return name
		}
	}
	return ""
}

// Nodes returns all nodes, in the order of their names.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Node returns a node by its number, from 1.
func (c *Cluster) Node(number int) *Node { return c.Nodes()[number-1] }

// Up returns the nodes whose process runs and is not paused.
func (c *Cluster) Up() []*Node {
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return !n.IsUp() })
}

// Others returns all nodes that run but one.
func (c *Cluster) Others(but *Node) []*Node {
	return slices.DeleteFunc(c.Up(), func(n *Node) bool { return n == but })
}

// StartAll starts the nodes that do not run, all at once, and waits until all serve.
func (c *Cluster) StartAll() {
	c.t.Helper()
	for _, n := range c.Nodes() {
		if n.proc == nil || !n.proc.Running() {
			n.Launch()
		}
	}
	c.AwaitServing()
}

// AwaitServing waits until every node that is up carries out commands.
func (c *Cluster) AwaitServing() {
	c.t.Helper()
	for _, n := range c.Up() {
		n.AwaitServing()
	}
}

// Leader waits until a majority of the nodes that are up, the leader among them, agree on one, and returns it.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	return c.LeaderOf(c.Up()...)
}

// LeaderOf is Leader among some of the nodes: all of them must agree.
func (c *Cluster) LeaderOf(nodes ...*Node) *Node {
	c.t.Helper()
	var leader *Node
	var last []string
	if !Poll(Patience, func() bool {
		leader, last = agreed(nodes)
		return leader != nil
	}) {
		c.t.Fatalf("gave up after %v waiting until the nodes agree on a leader: %s", Patience, strings.Join(last, "; "))
	}
	return leader
}

func agreed(nodes []*Node) (*Node, []string) {
	var leader *Node
	votes, terms, seen := map[string]int{}, map[string]bool{}, []string{}
	for _, n := range nodes {
		info, err := n.Info("raft")
		if err != nil {
			return nil, append(seen, fmt.Sprintf("%s: %v", n.ID, err))
		}
		seen = append(seen, fmt.Sprintf("%s is %s in term %s and names %q", n.ID, info["raft_role"], info["term"], info["leader"]))
		votes[info["leader"]]++
		terms[info["term"]] = true
		if info["raft_role"] == "leader" && info["leader"] == n.ID {
			leader = n
		}
	}
	if leader == nil || len(terms) != 1 || votes[leader.ID] != len(nodes) {
		return nil, seen
	}
	return leader, seen
}

// Followers returns the nodes that are up and do not lead, in the order of their names.
func (c *Cluster) Followers() []*Node {
	c.t.Helper()
	return c.Others(c.Leader())
}

// AwaitApplied waits until the nodes that are up have applied the same entries.
func (c *Cluster) AwaitApplied() {
	c.t.Helper()
	Until(c.t, "all nodes have applied the same", func() bool {
		applied := map[string]bool{}
		for _, n := range c.Up() {
			info, err := n.Info("raft")
			if err != nil {
				return false
			}
			applied[info["applied_index"]] = true
		}
		return len(applied) == 1
	})
}

// settleTime is how long the end of a test waits until the cluster has taken note of the ends of its clients: a node
// that stops without a quorum, with such news untold, waits for seconds.
const settleTime = 2 * time.Second

// cleanup stops one node after the other, so that each but the last still has a quorum for what it has to say.
func (c *Cluster) cleanup() {
	defer func() {
		c.watch.stop()
		for _, s := range c.Stalls() {
			c.t.Logf("the machine stood still for %v from %s on: what failed may have failed by that",
				s.For.Round(time.Millisecond), s.From.Format(time.TimeOnly))
		}
	}()
	c.Wires.Heal()
	for _, n := range c.Nodes() {
		if n.IsRunning() {
			_ = n.proc.Signal(syscall.SIGCONT) // fails only when it has ended
		}
	}
	Poll(settleTime, func() bool {
		for _, n := range c.Up() {
			if info, err := n.Info("sessions"); err != nil || info["session_connections"] != "0" {
				return false
			}
		}
		return true
	})
	for _, n := range c.Nodes() {
		if !n.IsRunning() {
			continue
		}
		if _, err := n.proc.Stop(Patience); err != nil { // its exit code is looked at later
			n.expectKill = true
			c.t.Errorf("stop node %s at the end of the test: %v\n%s", n.ID, err, n.proc.Log().Tail(20))
		}
	}
	if err := c.Wires.Close(); err != nil {
		c.t.Errorf("close the wires: %v", err)
	}
}

// Stalls are the times since the start of the test in which the whole machine stood still.
func (c *Cluster) Stalls() []Stall { return c.watch.seen() }

// Within waits until a condition holds and returns how long that took. Beyond the limit it fails the test.
func (c *Cluster) Within(limit time.Duration, what string, holds func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	if !Poll(limit, holds) {
		c.t.Fatalf("after %v it is not so that %s", limit, what)
	}
	return time.Since(began)
}
