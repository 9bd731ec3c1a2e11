package commands

import (
	"strconv"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// holder is a lock's holder in transcripts.
func holder() fsm.Party {
	return fsm.Party{
		Session: 7, SessionName: "billing-3", Owner: "w1", Conn: 4294967298, ClientName: "session:billing-3",
		Addr: "10.0.0.5:4711", Node: "n1",
	}
}

// fixtures are the replies with data that transcripts give by name.
func fixtures() map[string]fsm.Reply {
	return map[string]fsm.Reply{
		"@free":      {Data: &fsm.LockInfo{}},
		"@destroyed": {Data: &fsm.LockInfo{State: fsm.LockDestroyed, Note: "moved to shop 2"}},
		"@held": {Data: &fsm.LockInfo{
			State: fsm.LockHeld, Fence: 12, Holds: 2, Holder: holder(), LeaseMS: -1, HeldMS: 350, Waiters: 1, Note: "nightly\r\nrun",
		}},
		"@waiters": {Data: []fsm.WaiterInfo{
			{Waiter: holder(), WaitingMS: 15, TimeoutMS: -1},
			{Waiter: fsm.Party{Session: 9, Conn: 9, Addr: "10.0.0.6:1", Node: "n1"}, WaitingMS: 3, TimeoutMS: 97, Note: "n"},
		}},
		"@nobody":  {Data: []fsm.WaiterInfo(nil)},
		"@page":    {Data: &fsm.ScanPage{Cursor: 17, Keys: []string{"orders:42", "bin\x00\xff"}}},
		"@last":    {Data: &fsm.ScanPage{}},
		"@created": {Data: &fsm.Attached{Session: 6442450945, Created: true}},
		"@resumed": {Data: &fsm.Attached{Session: 6442450945}},
		"@session": {Data: []fsm.SessionInfo{session()}},
		"@sessions": {Data: []fsm.SessionInfo{
			session(), {ID: 4294967297, Node: "n1", Connections: 1, Holds: 1},
		}},
		"@none": {Data: []fsm.SessionInfo(nil)},
	}
}

func session() fsm.SessionInfo {
	return fsm.SessionInfo{
		ID: 6442450945, Name: "billing-3", Node: "n1", Connections: 2, TTLMS: 30000, Heartbeat: true, Holds: 4, Waits: 1, IdleMS: 12,
	}
}

// replyOf reads a ~ line: 7, ok, @fixture, or CODE/why with key=value facts:
// NOTOWNER/17 holder caller=9 fence=3 number=10 text=abc.
func replyOf(t testing.TB, given string) fsm.Reply {
	t.Helper()
	if n, err := strconv.ParseInt(given, 10, 64); err == nil {
		return fsm.Reply{Int: n}
	}
	if given == "ok" {
		return fsm.Reply{}
	}
	if r, ok := fixtures()[given]; ok {
		return r
	}
	words := strings.Fields(given)
	code, why, _ := strings.Cut(words[0], "/")
	r := fsm.Reply{Detail: &fsm.Detail{Why: whyNamed(t, why)}}
	for _, k := range errorKinds() {
		if k.word == code {
			r.Code = k.code
		}
	}
	if r.Code == fsm.CodeOK {
		t.Fatalf("no reply %q", given)
	}
	for _, w := range words[1:] {
		name, v, _ := strings.Cut(w, "=")
		n, _ := strconv.ParseInt(v, 10, 64)
		switch name {
		case "holder":
			r.Detail.Holder = holder()
			r.Detail.Holder.Owner = v
		case "anonymous":
			r.Detail.Holder = fsm.Party{Session: 7, Conn: 7, Addr: "10.0.0.5:4711"}
		case "caller":
			r.Detail.Caller = fsm.SessionID(n)
		case "fence":
			r.Detail.Fence = uint64(n)
		case "number":
			r.Detail.Number = n
		case "text":
			r.Detail.Text = v
		default:
			t.Fatalf("no fact %q", w)
		}
	}
	return r
}

func whyNamed(t testing.TB, name string) fsm.Why {
	t.Helper()
	if name == "" {
		return fsm.WhyNone
	}
	for i, n := range whyNames(t) {
		if n == "Why"+name {
			return fsm.Why(i)
		}
	}
	t.Fatalf("no reason %q", name)
	return 0
}
