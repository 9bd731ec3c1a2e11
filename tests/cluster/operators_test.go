package cluster

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// status is what `redlockd status --json` tells, as far as it is looked at here.
type status struct {
	Cluster string `json:"cluster"`
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Members []struct {
		ID      string `json:"id"`
		Addr    string `json:"addr"`
		Peer    string `json:"peer"`
		Role    string `json:"role"`
		Voter   bool   `json:"voter"`
		Leader  bool   `json:"leader"`
		Applied int64  `json:"applied_index"`
		Lag     int64  `json:"lag"`
		Error   string `json:"error"`
	} `json:"members"`
	Locks struct {
		Held      int64 `json:"held"`
		Waiters   int64 `json:"waiters"`
		LastFence int64 `json:"last_fence"`
	} `json:"locks"`
	Sessions struct {
		All   int64 `json:"all"`
		Named int64 `json:"named"`
	} `json:"sessions"`
}

// askStatus runs `redlockd status --json` against a node.
func askStatus(t *testing.T, n *harness.Node, more ...string) (status, int) {
	t.Helper()
	cmd := exec.Command(harness.Binary(t), append([]string{"status", "--json", "--addr", n.Addr()}, more...)...)
	text, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	var s status
	if len(text) > 0 {
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("redlockd status --json: %v\n%s", err, text)
		}
	}
	return s, cmd.ProcessState.ExitCode()
}

// TestStatus: `redlockd status` tells of all members, whichever is asked, of one that is down, and of no leader.
func TestStatus(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	holder, waiter := c.Followers()[0].Client(), leader.Client()
	fence := holder.Int("LOCK held")
	waits(t, leader, waiter, "LOCK held")
	attach(t, leader, "billing", "created")
	for _, n := range c.Nodes() {
		var s status
		harness.Until(t, "all nodes have been heard", func() bool {
			s, _ = askStatus(t, n)
			return len(s.Members) == 3 && s.Members[0].Addr != "" && s.Members[1].Addr != "" && s.Members[2].Addr != ""
		})
		if s.Leader != leader.ID || s.Term == 0 || s.Locks.Held != 1 || s.Locks.Waiters != 1 || s.Locks.LastFence != fence || s.Sessions.Named != 1 || s.Sessions.All < 2 {
			t.Errorf("%s: %+v", n.ID, s)
		}
		for i, m := range s.Members {
			o := c.Node(i + 1)
			role := map[bool]string{true: "leader", false: "follower"}[o == leader]
			if m.ID != o.ID || m.Addr != o.Addr() || m.Peer != o.PeerAddr || m.Role != role || m.Leader != (o == leader) || !m.Voter || m.Applied <= 0 || m.Error != "" {
				t.Errorf("%s says of %s: %+v", n.ID, o.ID, m)
			}
		}
		table := harness.Run(t, "status", "--addr", n.Addr())
		for _, want := range []string{"leader " + leader.ID, "NODE ", "n1 ", "n2 ", "n3 ", "follower ", "locks 1 held, 1 waiters", "1 of them named"} {
			if table.Code != 0 || !strings.Contains(table.Output, want) {
				t.Errorf("%s: exit code %d, %q is missing:\n%s", n.ID, table.Code, want, table.Output)
			}
		}
	}

	f := c.Followers()
	f[0].Kill()
	s, code := askStatus(t, leader)
	if down := s.Members[f[0].ID[1]-'1']; code != 0 || down.Error == "" || s.Leader != leader.ID {
		t.Errorf("with %s down: exit code %d, %+v", f[0].ID, code, s)
	}
	// Of several addresses the first that answers.
	if s, code := askStatus(t, f[0], "--addr", leader.Addr()); code != 0 || s.Leader != leader.ID {
		t.Errorf("with a second address: exit code %d, %+v", code, s)
	}
	if _, code := askStatus(t, f[0]); code != 1 {
		t.Errorf("of a node that is down: exit code %d", code)
	}
	f[1].Kill()
	harness.Until(t, "no leader is known", func() bool {
		s, code := askStatus(t, leader)
		return code == 1 && s.Leader == "" && len(s.Members) == 3
	})
	c.StartAll()
}

// TestLogsTell: each node logs who leads now, and the leader which sessions have ended, and why.
func TestLogsTell(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"--session-timeout", shortTimeout.String()})
	leader, next := c.Leader(), c.Followers()[0]
	handOver(t, c, next)
	says(t, next, "this node leads the cluster")
	for _, n := range c.Others(next) {
		says(t, n, fmt.Sprintf("leader=%s", next.ID))
	}
	doomed, heir := leader.Client(), next.Client()
	doomed.Int("LOCK held")
	waits(t, next, heir, "LOCK held")
	leader.Kill()
	fenceOf(t, heir)
	says(t, next, "node="+leader.ID)
	leader.Start()

	attach(t, next, "billing", "created")
	next.Client().Want("SESSION KILL billing", ":1")
	says(t, next, "billing")
}
