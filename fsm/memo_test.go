package fsm

import (
	"fmt"
	"testing"
)

// TestKeepIDs: the IDs of other KEEP requests of a session do not push out the one that
// took the lock: its retry must not be told that another one holds it, for then nobody
// could release it before its lease ends.
func TestKeepIDs(t *testing.T) {
	l := newLister()
	l.do(Op{Code: OpSessionAttach, Name: []byte("s")})
	try := func(id int) Reply {
		return l.do(Op{Code: OpTryLock, Key: []byte("k"), ID: fmt.Append(nil, id), Lease: 1000, Flags: FlagKeep}).Replies[0]
	}
	fence := try(0).Int
	for id := range rememberedIDs + 1 {
		if r := try(id + 1); r.Code != CodeOK || r.Int != 0 {
			t.Fatalf("another one: %+v", r)
		}
	}
	if r := try(0); r.Code != CodeOK || r.Int != fence {
		t.Errorf("the retry gets %d (code %d), want %d", r.Int, r.Code, fence)
	}
	if err := l.m.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
