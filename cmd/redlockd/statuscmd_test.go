package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	s := start(t, configure(t, "--requirepass=secret", "--node-id=n7"))
	c := dial(t, "tcp", s.addr)
	for line, want := range map[string]string{"AUTH secret": "+OK"} {
		if got := say(t, c, line); got != want {
			t.Fatal(got)
		}
	}
	if got := say(t, c, "LOCK orders:42"); got != ":1" {
		t.Fatal(got)
	}
	env := []string{"REDLOCKD_REQUIREPASS=secret"}
	code, out, stderr := runMain(t, env, "status", "--addr", s.addr)
	if code != exitOK {
		t.Fatal(stderr)
	}
	for _, want := range []string{"leader n7", "\nNODE  ROLE    VOTES", "\nn7    leader  yes", s.addr, "locks 1 held, 0 waiters", "sessions 1, 0 of them named, 1 connections, session-timeout 10s"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	file := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The first address is nobody's.
	code, out, stderr = runMain(t, nil, "status", "--json", "--password-file", file, "--addr", "127.0.0.1:1,"+s.addr)
	if code != exitOK {
		t.Fatal(stderr)
	}
	var r statusReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Leader != "n7" || len(r.Members) != 1 || r.Locks.Held != 1 || r.Sessions.Connections != 1 || r.Asked != s.addr {
		t.Errorf("%+v", r)
	}
	if m := r.Members[0]; m.ID != "n7" || !m.Leader || !m.Voter || m.Applied < 1 || m.Lag != 0 || m.Error != "" || m.Addr != s.addr || len(m.Node) != 40 {
		t.Errorf("%+v", m)
	}
	for _, tt := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"--addr", s.addr}, "NOAUTH"},
		{[]string{"REDLOCKD_REQUIREPASS=x"}, []string{"--addr", s.addr}, "WRONGPASS"},
		{env, []string{"--addr", "127.0.0.1:1"}, "127.0.0.1:1 does not answer"},
		{env, []string{"--password-file", file + "x"}, "--password-file"},
		{env, []string{"nonsense"}, "unknown command"},
	} {
		if code, _, stderr := runMain(t, tt.env, append([]string{"status"}, tt.args...)...); code != exitStart || !strings.Contains(stderr, tt.want) {
			t.Errorf("status %v: %d, %s", tt.args, code, stderr)
		}
	}
	s.stop()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

// TestStatusTable is what people see of three nodes, one of them not there.
func TestStatusTable(t *testing.T) {
	r := statusReport{
		Cluster: "c1", Leader: "n1", Term: 7, Commit: 1042, SessionTimeoutMS: 10000,
		Members: []statusMember{
			{ID: "n1", Role: "leader", Leader: true, Voter: true, Addr: "10.0.0.1:7379", Peer: "10.0.0.1:17379", Term: 7, Commit: 1042, Applied: 1042, Clients: 3, UptimeS: 61, Version: "0.1.0"},
			{ID: "n2", Role: "follower", Addr: "10.0.0.2:7379", Peer: "10.0.0.2:17379", Term: 7, Commit: 1040, Applied: 1040, Lag: 2, Contact: 12, UptimeS: 5, Version: "0.1.0"},
		},
		Locks: statusLocks{Held: 5, Waiters: 4, LastFence: 99}, Sessions: statusSessions{All: 3, Named: 1, Connections: 2},
	}
	var gone statusMember
	gone.known(map[string]string{"id": "n3", "role": "follower", "suffrage": "voter", "peer": "10.0.0.3:17379", "lag": "17", "last_contact_ms": "2500"})
	gone.Error = "its address for clients is not known"
	r.Members = append(r.Members, gone)
	var b bytes.Buffer
	if err := r.write(&b, false); err != nil {
		t.Fatal(err)
	}
	want := `cluster c1, leader n1, term 7, commit 1042

NODE  ROLE      VOTES  CLIENTS AT     PEERS AT        TERM  COMMIT  APPLIED  LAG  LAST CONTACT  CLIENTS  UP    VERSION
n1    leader    yes    10.0.0.1:7379  10.0.0.1:17379  7     1042    1042     0    -             3        1m1s  0.1.0
n2    follower  no     10.0.0.2:7379  10.0.0.2:17379  7     1040    1040     2    12ms          0        5s    0.1.0
n3    follower  yes    -              10.0.0.3:17379  -     -       -        17   2500ms        -        -     -

locks 5 held, 4 waiters, 0 destroyed, last fence 99
sessions 3, 1 of them named, 2 connections, session-timeout 10s
node n3 was not asked: its address for clients is not known
`
	if b.String() != want {
		t.Errorf("it shows\n%s\nwant\n%s", b.String(), want)
	}
}
