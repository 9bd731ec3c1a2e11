package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestIdleConnections: 2,000 connections that say nothing cost others nothing, and are gone when they close.
func TestIdleConnections(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	c.Want("PING", "+PONG")
	before := s.RSS()
	const n = 2000
	idle := make([]*harness.Conn, n)
	for i := range idle {
		conn, err := harness.Dial(s.Addr())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		idle[i] = conn
		// Every tenth holds a lock, so that it is in the cluster's state as well.
		if v, err := conn.Do("PING"); err != nil || v.Text != "PONG" {
			t.Fatalf("connection %d: %v, %v", i, v, err)
		}
		if i%10 == 0 {
			if v, err := conn.Do("LOCK", fmt.Sprintf("idle:%d", i)); err != nil || v.Kind != harness.Int {
				t.Fatalf("connection %d: %v, %v", i, v, err)
			}
		}
	}
	t.Logf("%d idle connections: %d MB more", n, (s.RSS()-before)>>20)
	clients := func() int { return strings.Count(c.Line("CLIENT LIST").Text, "\n") }
	if got := clients(); got != n+1 {
		t.Errorf("CLIENT LIST has %d, want %d", got, n+1)
	}
	for range 100 {
		if c.Int("LOCK k") == 0 {
			t.Fatal("LOCK answered 0")
		}
		c.Want("UNLOCK k", ":0")
	}
	untilIdle(t, s)
	for _, conn := range idle {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	harness.Until(t, "all closed connections are gone", func() bool { return clients() == 1 })
	harness.Until(t, "and what they held", func() bool {
		page := c.Line("LOCKSCAN 0 MATCH idle:* COUNT 100000")
		return len(page.Items) == 2 && len(page.Items[1].Items) == 0
	})
}

// TestMaxClients: connections beyond the limit are told so, and make room when they go.
func TestMaxClients(t *testing.T) {
	s := harness.Start(t, "--max-clients", "3")
	a, b, c := s.Client(), s.Client(), s.Client()
	for _, one := range []*harness.Client{a, b, c} {
		one.Want("PING", "+PONG")
	}
	if got := s.Client().WantClosed(); !strings.HasPrefix(got, "-ERR max number of clients reached") {
		t.Errorf("the fourth client: %q", got)
	}
	b.Close()
	harness.Until(t, "there is room again", func() bool {
		conn, err := harness.Dial(s.Addr())
		if err != nil {
			return false
		}
		defer conn.Close()
		v, err := conn.Do("PING")
		return err == nil && v.Text == "PONG"
	})
	a.Want("PING", "+PONG")
}
