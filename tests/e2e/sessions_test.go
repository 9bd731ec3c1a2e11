package e2e

import (
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestNamedSessionAcrossReconnect: the holds of a named session wait for it.
func TestNamedSessionAcrossReconnect(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	c := s.Client()
	v := c.Line("SESSION ATTACH job TTL 600000")
	if len(v.Items) != 2 || v.Items[1].Text != "created" {
		t.Fatalf("SESSION ATTACH: %v", v)
	}
	fence := c.Int("LOCK k OWNER t")
	c.Want("LOCK kept LEASE 3600000 OWNER t", ":2")
	c.Close()
	harness.Until(t, "nobody is attached", func() bool { return control.Field("SESSION INFO job", "connections").Int == 0 })
	control.Want("TRYLOCK k", ":0")

	c = s.Client()
	again := c.Line("SESSION ATTACH job")
	if len(again.Items) != 2 || again.Items[0].Int != v.Items[0].Int || again.Items[1].Text != "resumed" {
		t.Fatalf("SESSION ATTACH again: %v, first %v", again, v)
	}
	if got := c.Int("LOCK k OWNER t"); got != fence {
		t.Errorf("re-entry has fence %d, want %d", got, fence)
	}
	if ttl := c.Field("SESSION INFO", "ttl-ms").Int; ttl != 600000 {
		t.Errorf("TTL %d after an attachment that names none, want 600000", ttl)
	}
	c.Want("UNLOCK k OWNER t", ":1")
	c.Want("UNLOCK k OWNER t", ":0")
	c.Want("SESSION CLOSE", ":1")
	control.Want("ISLOCKED kept", ":0")
}

// TestIDAcrossReconnect: the same request again, after its answer was lost or while it waits.
func TestIDAcrossReconnect(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	attach := func() *harness.Client {
		c := s.Client()
		c.Line("SESSION ATTACH job TTL 600000")
		return c
	}
	c := attach()
	fence := c.Int("LOCK free OWNER t ID r1")
	c.Close()
	c = attach()
	if got := c.Int("LOCK free OWNER t ID r1"); got != fence {
		t.Errorf("the same request again: fence %d, want %d", got, fence)
	}
	control.Want("LOCKCOUNT free", ":1")

	// It keeps its place in line while it is away, and its grant waits for it.
	held := control.Int("LOCK busy")
	c.Send("LOCK busy OWNER t ID r2")
	untilWaiters(t, control, "busy", 1)
	behind := s.Client()
	behind.Send("LOCK busy")
	untilWaiters(t, control, "busy", 2)
	c.Close()
	harness.Until(t, "nobody is attached", func() bool { return control.Field("SESSION INFO job", "connections").Int == 0 })
	control.Want("UNLOCK busy", ":0")
	if owner := control.Field("LOCKINFO busy", "session-name"); owner.Text != "job" {
		t.Fatalf("session %q holds, want job", owner.Text)
	}
	c = attach()
	granted := c.Int("LOCK busy OWNER t ID r2")
	if granted <= held {
		t.Errorf("fence %d, want more than %d", granted, held)
	}
	control.Want("LOCKCOUNT busy", ":1")
	c.Want("UNLOCK busy OWNER t ID u2", ":0")
	c.Want("UNLOCK busy OWNER t ID u2", ":0")
	if v := behind.Receive(); v.Kind != harness.Int || v.Int <= granted {
		t.Errorf("the next in line: %v", v)
	}
	c.WantCode("LOCK busy OWNER t ID r2", "LOCKLOST")
}

// TestUnclaimedWait: a request that is not repeated within the TTL is withdrawn.
func TestUnclaimedWait(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	control.Want("LOCK k", ":1")
	other := s.Client() // keeps the session alive
	other.Line("SESSION ATTACH job TTL 1000")
	c := s.Client()
	c.Line("SESSION ATTACH job")
	c.Send("LOCK k OWNER t ID r1")
	untilWaiters(t, control, "k", 1)
	c.Close()
	untilWaiters(t, control, "k", 0)
	if n := control.Field("SESSION INFO job", "connections").Int; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestHeartbeat: a session with HEARTBEAT ends when its connections say nothing for its TTL; a wait counts as speaking.
func TestHeartbeat(t *testing.T) {
	s := harness.Start(t, "--session-timeout", "3000")
	control := s.Client()
	silent, waiting, open := s.Client(), s.Client(), s.Client()
	silent.Line("SESSION ATTACH silent TTL 3000 HEARTBEAT")
	silent.Int("LOCK silent OWNER t")
	open.Line("SESSION ATTACH open TTL 3000")
	open.Int("LOCK open OWNER t")
	waiting.Line("SESSION ATTACH waiting TTL 3000 HEARTBEAT")
	control.Int("LOCK held")
	waiting.Send("LOCK held OWNER t")
	untilWaiters(t, control, "held", 1)
	harness.Until(t, "the silent session has ended", func() bool { return control.Int("ISLOCKED silent") == 0 })
	silent.WantCode("UNLOCK silent OWNER t", "LOCKLOST")
	// The others began no later and are there: one need not speak, one does.
	control.Want("ISLOCKED open", ":1")
	untilWaiters(t, control, "held", 1)
	control.Want("UNLOCK held", ":0")
	if v := waiting.Receive(); v.Kind != harness.Int {
		t.Errorf("the wait of a session with HEARTBEAT: %v", v)
	}
}

// TestLostWhileAway: what the client learns when its session ended while it was away.
func TestLostWhileAway(t *testing.T) {
	s := harness.Start(t)
	control := s.Client()
	c := s.Client()
	c.Line("SESSION ATTACH job TTL 1000")
	fence := c.Int("LOCK k OWNER t")
	c.Close()
	harness.Until(t, "the session has ended", func() bool { return control.Int("ISLOCKED k") == 0 })
	c = s.Client()
	if v := c.Line("SESSION ATTACH job"); len(v.Items) != 2 || v.Items[1].Text != "created" {
		t.Fatalf("SESSION ATTACH: %v", v)
	}
	c.WantCode("ISOWNER k OWNER t", "LOCKLOST")
	c.WantCode("LOCK k OWNER t", "LOCKLOST")
	if got := c.Int("LOCK k OWNER t"); got <= fence {
		t.Errorf("fence %d, want more than %d", got, fence)
	}
}

// TestIdleConnectionStays: --tcp-timeout is for clients that do not acknowledge, not for those that say nothing.
func TestIdleConnectionStays(t *testing.T) {
	s := harness.Start(t, "--tcp-timeout", "3s")
	c, control := s.Client(), s.Client()
	c.Want("LOCK k", ":1")
	// Longer than tcp-timeout by the server's own clock: the lease of another lock.
	control.Int("LOCK clock LEASE 5000")
	harness.Until(t, "5 s have passed in the cluster", func() bool { return control.Int("ISLOCKED clock") == 0 })
	c.Want("ISOWNER k", ":1")
}

// TestServerPausedPastTimeout: a node that stood still longer than session-timeout cannot vouch for its anonymous
// sessions: it closes their connections before it answers anything more.
func TestServerPausedPastTimeout(t *testing.T) {
	s := harness.Start(t, "--session-timeout", "3000")
	c := s.Client()
	c.Want("LOCK k", ":1")
	named := s.Client()
	named.Line("SESSION ATTACH job TTL 600000")
	named.Want("LOCK n OWNER t", ":2")
	s.Pause()
	paused := time.Now()
	harness.Until(t, "the server stood still for more than session-timeout", func() bool {
		return time.Since(paused) > 4*time.Second
	})
	s.Continue()
	c.WantClosed()
	control := s.Client()
	harness.Until(t, "the node is registered again", func() bool {
		v := control.Line("ISLOCKED k")
		if v.Kind == harness.Int && v.Int != 0 {
			t.Fatal("the hold of a closed connection is still there")
		}
		return v.Kind == harness.Int // until then: CLUSTERDOWN
	})
	control.Line("SESSION ATTACH job")
	control.Want("ISOWNER n OWNER t", ":1")
}
