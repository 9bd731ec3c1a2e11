package e2e

import (
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestHostileBeforeAuth: who has not given the password gets less room, and not for long.
func TestHostileBeforeAuth(t *testing.T) {
	s := harness.Start(t, "--requirepass", "s3cret", "--auth-timeout", "1s")
	other := s.Client()
	other.Want("AUTH s3cret", "+OK")
	for name, packet := range map[string]string{
		"11 arguments": "*11\r\n" + strings.Repeat("$4\r\nAUTH\r\n", 11),
		"a bulk of 5,000 bytes": "*2\r\n$4\r\nAUTH\r\n$5000\r\n" +
			strings.Repeat("x", 5000) + "\r\n",
		"silence":        "",
		"half a command": "*2\r\n$4\r\nAU",
		"many wrong passwords": strings.Repeat("AUTH wrong\r\n", 100) +
			strings.Repeat("PING\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.Client().With(t)
			push(c, packet)
			got := c.WantClosed()
			if strings.Contains(got, "PONG") || strings.Contains(got, "+OK") {
				t.Errorf("answered %.300q", got)
			}
			other.With(t).Want("PING", "+PONG")
		})
	}
	// The limits widen with the password, and the time is over.
	other.Want("LOCK k LEASE 3600000 OWNER o ID i NOTE n", ":1")
	other.Want("ECHO "+strings.Repeat("x", 60_000), `"`+strings.Repeat("x", 60_000)+`"`)
}

// TestHalfCommandsEnd: a command that was begun is complete in time, or its connection is closed; one that stands in
// line, and one that says nothing, may take as long as they like.
func TestHalfCommandsEnd(t *testing.T) {
	s := harness.Start(t, "--frame-timeout", "1s")
	holder, waiter, silent := s.Client(), s.Client(), s.Client()
	holder.Want("LOCK k", ":1")
	waiter.Send("LOCK k")
	silent.Want("PING", "+PONG")
	untilWaiters(t, holder, "k", 1)
	half := s.Client()
	half.SendRaw("*2\r\n$4\r\nLOCK\r\n$1")
	behind := s.Client()
	behind.SendRaw("LOCK k\r\n*2\r\n$4\r\nLOCK\r\n$1")
	half.WantClosed()
	behind.WantClosed()
	untilWaiters(t, holder, "k", 1)
	silent.Want("PING", "+PONG")
	holder.Want("UNLOCK k", ":0")
	if v := waiter.Receive(); v.Kind != harness.Int {
		t.Errorf("the waiter got %v", v)
	}
}
