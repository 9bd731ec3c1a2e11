package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/ask"
	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
	"github.com/redlockd/redlockd/commands"
)

// freePorts finds addresses on this machine that nobody listens on.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // only after all were found, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// reply is the first line of the reply to one command, on a connection of its own.
func reply(t *testing.T, addr, line string) string {
	t.Helper()
	c := dial(t, "tcp", addr)
	defer func() { _ = c.Close() }()
	return say(t, c, line)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true: %s", what)
		}
	}
}

func statusOf(t *testing.T, addr string) *statusReport {
	t.Helper()
	_, out, stderr := runMain(t, nil, "status", "--json", "--addr", addr)
	r := &statusReport{}
	if err := json.Unmarshal([]byte(out), r); err != nil {
		t.Fatalf("%v in %q, %s", err, out, stderr)
	}
	return r
}

// TestThreeNodes puts the wiring of three nodes to use: forwarding, redirect,
// Sentinel, status, hand-over, and a fourth node that is met.
func TestThreeNodes(t *testing.T) {
	ports := freePorts(t, 7)
	peers, sentinels := ports[:4], ports[4:]
	all := fmt.Sprintf("--initial-cluster=n1=%s,n2=%s,n3=%s", peers[0], peers[1], peers[2])
	var nodes []*served
	for i := range 3 {
		args := []string{all, "--peer-listen=" + peers[i], fmt.Sprintf("--node-id=n%d", i+1), "--sentinel-listen=" + sentinels[i]}
		if i == 2 {
			args = append(args, "--follower-mode=redirect")
		}
		nodes = append(nodes, begin(t, configure(t, args...)))
	}
	addrs := map[string]string{}
	for i, n := range nodes {
		n.serves()
		addrs[fmt.Sprintf("n%d", i+1)] = n.addr
	}
	// n1 shall lead, wherever the election went.
	eventually(t, "n1 leads", func() bool {
		r := statusOf(t, nodes[0].addr)
		if r.Leader != "n1" {
			reply(t, nodes[0].addr, "CLUSTER FAILOVER n1")
		}
		for _, m := range r.Members {
			if m.Addr != addrs[m.ID] || m.Error != "" {
				return false
			}
		}
		return r.Leader == "n1" && len(r.Members) == 3
	})
	for _, step := range []struct{ addr, line, want string }{
		{nodes[1].addr, "LOCK orders:42", ":"},
		{nodes[0].addr, "CLUSTER KEYSLOT orders:42", ":11414"},
		{nodes[0].addr, "CLUSTER MYID", "$40"},
		{nodes[0].addr, "ROLE", "*3"},
		{nodes[1].addr, "ROLE", "*5"},
		{nodes[1].addr, "READONLY", "+OK"},
		{sentinels[1], "SENTINEL CKQUORUM mymaster", "+OK 3 usable"},
	} {
		if got := reply(t, step.addr, step.line); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: %s, want %s", step.line, got, step.want)
		}
	}
	eventually(t, "n3 redirects to n1", func() bool {
		return reply(t, nodes[2].addr, "FENCE orders:42") == "-MOVED 11414 "+nodes[0].addr
	})
	listener := dial(t, "tcp", sentinels[2])
	if got := say(t, listener, "SUBSCRIBE +switch-master"); got != "*3" {
		t.Fatal(got)
	}
	eventually(t, "the Sentinel port has seen n1", func() bool { // it looks now and then
		c, err := ask.Dial(t.Context(), sentinels[2], "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		info, err := c.Do("INFO", "sentinel")
		return err == nil && strings.Contains(info, "address="+nodes[0].addr+",")
	})
	if got := reply(t, nodes[0].addr, "CLUSTER FAILOVER n2"); got != "+OK" {
		t.Fatal(got)
	}
	eventually(t, "n2 leads", func() bool { return statusOf(t, nodes[0].addr).Leader == "n2" })
	host, from, _ := net.SplitHostPort(nodes[0].addr)
	_, to, _ := net.SplitHostPort(nodes[1].addr)
	if err := listener.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	told, want := make([]byte, 0, 4096), fmt.Sprintf("mymaster %s %s %s %s", host, from, host, to)
	for !strings.Contains(string(told), want) {
		n, err := listener.Read(told[len(told):cap(told)])
		if err != nil {
			t.Fatalf("%v; it was told %q, want %q", err, told, want)
		}
		told = told[:len(told)+n]
	}

	fourth := begin(t, configure(t, "--await-meet", "--node-id=n4", "--peer-listen="+peers[3]))
	eventually(t, "n4 is met", func() bool {
		got := reply(t, nodes[0].addr, "CLUSTER MEET "+peers[3])
		return got == "+OK"
	})
	fourth.serves()
	eventually(t, "n4 votes", func() bool {
		r := statusOf(t, fourth.addr)
		return len(r.Members) == 4 && r.Members[3].Voter && r.Members[3].Addr == fourth.addr && r.Members[3].Error == ""
	})
	for _, n := range append(nodes, fourth) {
		n.stop()
	}
	for _, n := range append(nodes, fourth) {
		if err := n.ends(); err != nil {
			t.Error(err)
		}
	}
}

func TestPeerPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, flag := range []string{"--peer-listen", "--sentinel-listen"} {
		_, err := bindAll(configure(t, flag+"="+taken.Addr().String()))
		if err == nil || !strings.Contains(err.Error(), "choose another with "+flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestClusterOptionsReachTheRooms(t *testing.T) {
	cfg := configure(t, "--initial-cluster=n1=127.0.0.1:1,n2=127.0.0.1:2", "--peer-tls-cert=c", "--peer-tls-key=k", "--peer-tls-ca=a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := &sockets{clients: []net.Listener{l}, peers: []net.Listener{l}, sentinel: []net.Listener{l}}
	if o := peerOptions(cfg, s, nil); o.TLS == nil || o.TLS.CertFile != "c" || o.TLS.KeyFile != "k" || o.TLS.CAFile != "a" || o.Insecure {
		t.Errorf("%+v", o)
	}
	if got := initialCluster(cfg); len(got) != 2 || got["n2"] != "127.0.0.1:2" || peerAddr(cfg, s) != "127.0.0.1:1" {
		t.Errorf("%v, %s", got, peerAddr(cfg, s))
	}
	if got, want := announce(cfg, s), l.Addr().String()+" "+l.Addr().String(); got != want {
		t.Errorf("it announces %q, want %q", got, want)
	}
	if o := peerOptions(configure(t), &sockets{}, nil); o != nil {
		t.Errorf("a node alone has peers: %+v", o)
	}
	if got := peerAddr(configure(t, "--peer-listen=127.0.0.1:0"), s); got != l.Addr().String() {
		t.Errorf("the port that the system chose: %s", got)
	}
	for word, want := range map[string]commands.ClusterMode{options.ClusterAuto: commands.ClusterAuto, options.ClusterYes: commands.ClusterOn, options.ClusterNo: commands.ClusterOff} {
		if got := clusterMode(configure(t, "--cluster-enabled="+word)); got != want {
			t.Errorf("%s is %d", word, got)
		}
	}
}

// TestALoneNodeThatIsToGrow: it was started without a port for peers, and then with one.
// Those who join it must be told of that, else only it could ever lead.
func TestALoneNodeThatIsToGrow(t *testing.T) {
	data, port := "--data-dir="+filepath.Join(t.TempDir(), "data"), freePorts(t, 1)[0]
	for _, args := range [][]string{{data}, {data, "--peer-listen=" + port}} {
		n := start(t, configure(t, args...))
		if len(args) > 1 {
			eventually(t, "the cluster knows the node at its port", func() bool {
				r := statusOf(t, n.addr)
				return len(r.Members) == 1 && r.Members[0].Peer == port
			})
		}
		n.stop()
		if err := n.ends(); err != nil {
			t.Fatal(err)
		}
	}
}
