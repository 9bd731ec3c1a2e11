package fsm_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

func sampleReplies() []fsm.Reply {
	party := fsm.Party{Session: 1 << 40, SessionName: "s", Owner: "o", Conn: 1<<53 - 1, ClientName: "n", Addr: "a:1", Node: "n1"}
	at := fsm.Reply{Conn: fsm.Incarnation(3).Conn(9), Seq: 1 << 33}
	with := func(change func(r *fsm.Reply)) fsm.Reply {
		r := at
		change(&r)
		return r
	}
	return []fsm.Reply{
		{},
		at,
		with(func(r *fsm.Reply) { r.Int = -1 }),
		with(func(r *fsm.Reply) { r.Int = fsm.MaxLease }),
		with(func(r *fsm.Reply) {
			r.Code = fsm.CodeNotOwner
			r.Detail = &fsm.Detail{Why: fsm.WhyOther, Holder: party, Fence: 7, Caller: 8, Number: -9, Text: "t"}
		}),
		with(func(r *fsm.Reply) { r.Code, r.Detail = fsm.CodeUncertain, &fsm.Detail{Why: fsm.WhyNoSuchSession} }),
		with(func(r *fsm.Reply) {
			r.Data = &fsm.LockInfo{State: fsm.LockDestroyed, Fence: 1, Holds: 2, Holder: party, LeaseMS: -1, HeldMS: 4, Waiters: 5, Note: "n"}
		}),
		with(func(r *fsm.Reply) {
			r.Data = []fsm.WaiterInfo{{Waiter: party, WaitingMS: 1, TimeoutMS: -1, Note: "n"}, {}}
		}),
		with(func(r *fsm.Reply) { r.Data = []fsm.WaiterInfo{} }),
		with(func(r *fsm.Reply) { r.Data = &fsm.ScanPage{Cursor: 1 << 60, Keys: []string{"", "k"}} }),
		with(func(r *fsm.Reply) { r.Data = &fsm.Attached{Session: 5, Created: true} }),
		with(func(r *fsm.Reply) {
			r.Data = []fsm.SessionInfo{{ID: 1, Name: "n", Node: "m", Connections: 2, TTLMS: 3, Heartbeat: true, Holds: 4, Waits: 5, IdleMS: 6}, {}}
		}),
	}
}

// Every field of every kind of reply comes back, one behind the other.
func TestReplyRoundTrip(t *testing.T) {
	var data []byte
	all := sampleReplies()
	for i := range all {
		data = fsm.AppendReply(data, &all[i])
	}
	for i := range all {
		got, rest, err := fsm.DecodeReply(data)
		if err != nil || !reflect.DeepEqual(got, all[i]) {
			t.Fatalf("reply %d: %+v came back as %+v, %v", i, all[i], got, err)
		}
		for cut := range len(data) - len(rest) {
			if _, _, err := fsm.DecodeReply(data[:cut]); err == nil {
				t.Fatalf("reply %d: %d of its bytes decode", i, cut)
			}
		}
		data = rest
	}
	if len(data) != 0 {
		t.Fatalf("%d bytes left", len(data))
	}
}

// A plain reply costs no allocation and few bytes.
func TestReplyIsSmall(t *testing.T) {
	r := fsm.Reply{Conn: fsm.Incarnation(3).Conn(9), Seq: 5, Int: 100}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf = fsm.AppendReply(buf[:0], &r) }); n != 0 || len(buf) > 12 {
		t.Fatalf("%v allocations, %d bytes", n, len(buf))
	}
}

// FuzzDecodeReply: decoding never panics, and what decodes encodes to something
// that decodes the same.
func FuzzDecodeReply(f *testing.F) {
	for _, r := range sampleReplies() {
		f.Add(fsm.AppendReply(nil, &r))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, rest, err := fsm.DecodeReply(data)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(data, rest) {
			t.Fatal("what is left is not the end of the data")
		}
		again := fsm.AppendReply(nil, &a)
		b, left, err := fsm.DecodeReply(again)
		if err != nil || len(left) != 0 || !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v encodes to %x and decodes to %+v, %v", a, again, b, err)
		}
	})
}
