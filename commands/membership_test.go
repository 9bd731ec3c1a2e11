package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// TestMembershipAsks: what the commands ask of the cluster.
func TestMembershipAsks(t *testing.T) {
	for _, tt := range []struct{ me, line, want string }{
		{"n1", "CLUSTER MEET 10.0.0.4:17379", "meet 10.0.0.4:17379"},
		{"n1", "CLUSTER MEET 10.0.0.4 7379", "meet 10.0.0.4:17379"},
		{"n1", "CLUSTER MEET ::1 7379 9999", "meet [::1]:9999"},
		{"n1", "CLUSTER FORGET n3", "forget n3"},
		{"n1", "CLUSTER FORGET " + NodeHex(fakeClusterID, "n3"), "forget n3"},
		{"n1", "CLUSTER FORGET " + strings.ToUpper(NodeHex(fakeClusterID, "n2")), "forget n2"},
		{"n1", "CLUSTER FORGET 10.0.0.2:7379", "forget n2"},
		{"n1", "CLUSTER FORGET n9", ""},
		{"n1", "CLUSTER FAILOVER", "failover "},
		{"n2", "CLUSTER FAILOVER", "failover n2"}, // as Redis: to the one that is asked
		{"n2", "CLUSTER FAILOVER n3", "failover n3"},
		{"n2", "CLUSTER FAILOVER n1", ""},
		{"n2", "CLUSTER FAILOVER takeover", ""},
	} {
		f := newFakeCluster(tt.me)
		p := newWorldOf(t, "", f, nil).dial(t)
		reply := p.do(tt.line)
		if got := f.took(); got != tt.want || (reply == "+OK") != (tt.want != "") {
			t.Errorf("%s on %s asks %q, want %q; it answers %s", tt.line, tt.me, got, tt.want, reply)
		}
	}
}

// TestMembershipHoldsUpWhatFollows: replies keep their order, ops included.
func TestMembershipHoldsUpWhatFollows(t *testing.T) {
	f := newFakeCluster("n1")
	f.hold = make(chan struct{})
	p := newWorldOf(t, "", f, nil).dial(t)
	p.send([]string{"CLUSTER", "FORGET", "n3"}, []string{"LOCK", "a"}, []string{"PING"})
	until(t, func() bool { return f.took() != "" })
	select {
	case a := <-p.s.asks:
		t.Fatalf("%s overtook CLUSTER FORGET", describeOp(&a.op))
	default:
	}
	close(f.hold)
	p.s.answer(p.s.next(t), fsm.Reply{Int: 1})
	for _, want := range []string{"+OK", ":1", "+PONG"} {
		if got := p.read(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestMembershipEndsWithItsClient: nobody waits for the answer any more.
func TestMembershipEndsWithItsClient(t *testing.T) {
	f := newFakeCluster("n1")
	f.hold = make(chan struct{})
	p := newWorldOf(t, "", f, nil).dial(t)
	p.send([]string{"CLUSTER", "MEET", "10.0.0.4:17379"})
	until(t, func() bool { return f.took() != "" })
	if err := p.nc.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return strings.HasSuffix(f.took(), "meet gave up") })
}

func TestAdminProblem(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("node n9 is not there"), "ERR node n9 is not there"},
		{errors.New("CLUSTERDOWN no leader"), "CLUSTERDOWN no leader"},
		{errors.New("A node is missing"), "ERR A node is missing"},
		{fmt.Errorf("join: %w", context.DeadlineExceeded), "UNCERTAIN "},
	} {
		if got := adminProblem(tt.err); !strings.HasPrefix(string(got), tt.want) {
			t.Errorf("%v becomes %q", tt.err, got)
		}
	}
}

// TestNodeAlone: a handler that was given no cluster is a cluster of one.
func TestNodeAlone(t *testing.T) {
	p := newWorldOf(t, "", nil, func(o *Options) { o.ClusterMode = ClusterOn }).dial(t)
	id := NodeHex(fakeClusterID, "n1")
	for line, want := range map[string]string{
		"CLUSTER SLOTS":      fmt.Sprintf("[[:0 :16383 [%q :7379 %q []]]]", "127.0.0.1", id),
		"CLUSTER NODES":      fmt.Sprintf("%q", id+" 127.0.0.1:7379@0 myself,master - 0 0 2 connected 0-16383\n"),
		"CLUSTER FORGET n1":  "-ERR this node was started without a cluster",
		"CLUSTER MEET h:1":   "-ERR this node was started without a cluster",
		"ROLE":               `["master" :1042 []]`,
		"CLUSTER MYID":       fmt.Sprintf("%q", id),
		"CLUSTER FAILOVER":   "-ERR this node was started without a cluster",
		"CLUSTER KEYSLOT {}": fmt.Sprintf(":%d", KeySlot([]byte("{}"))),
	} {
		if got := p.do(line); got != want {
			t.Errorf("%s answers\n  %s, want\n  %s", line, got, want)
		}
	}
}
