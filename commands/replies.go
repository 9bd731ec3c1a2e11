package commands

import (
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
)

// This file writes the replies of ops that went well.

func phraseInt(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) { w.Int(r.Int) }

func phraseOK(w *resp.Writer, _ *fsm.Op, _ *fsm.Reply) { w.OK() }

func phraseReset(w *resp.Writer, _ *fsm.Op, _ *fsm.Reply) { w.Simple("RESET") }

func phraseLockInfo(w *resp.Writer, op *fsm.Op, r *fsm.Reply) {
	info, _ := r.Data.(*fsm.LockInfo)
	if info == nil {
		info = &fsm.LockInfo{}
	}
	w.Map(15)
	w.BulkString("key")
	w.Bulk(op.Key)
	text(w, "state", lockState(info.State))
	number(w, "fence", int64(info.Fence))
	number(w, "holds", info.Holds)
	writeParty(w, &info.Holder)
	number(w, "lease-ms", info.LeaseMS)
	number(w, "held-ms", info.HeldMS)
	number(w, "waiters", info.Waiters)
	text(w, "note", info.Note)
}

func lockState(s fsm.LockState) string {
	switch s {
	case fsm.LockHeld:
		return "held"
	case fsm.LockDestroyed:
		return "destroyed"
	case fsm.LockFree:
	}
	return "free"
}

// writeParty writes the seven fields that LOCKINFO and LOCKWAITERS share.
func writeParty(w *resp.Writer, p *fsm.Party) {
	number(w, "session", int64(p.Session))
	text(w, "session-name", p.SessionName)
	text(w, "owner", p.Owner)
	number(w, "connection", int64(p.Conn))
	text(w, "client-name", p.ClientName)
	text(w, "address", p.Addr)
	text(w, "node", p.Node)
}

func phraseLockWaiters(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) {
	waiters, _ := r.Data.([]fsm.WaiterInfo)
	w.Array(len(waiters))
	for i := range waiters {
		w.Map(10)
		writeParty(w, &waiters[i].Waiter)
		number(w, "waiting-ms", waiters[i].WaitingMS)
		number(w, "timeout-ms", waiters[i].TimeoutMS)
		text(w, "note", waiters[i].Note)
	}
}

func phraseLockScan(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) {
	page, _ := r.Data.(*fsm.ScanPage)
	if page == nil {
		page = &fsm.ScanPage{}
	}
	w.Array(2)
	bulkUint(w, page.Cursor)
	w.Array(len(page.Keys))
	for _, key := range page.Keys {
		w.BulkString(key)
	}
}

func phraseAttached(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) {
	a, _ := r.Data.(*fsm.Attached)
	if a == nil {
		a = &fsm.Attached{}
	}
	w.Array(2)
	w.Int(int64(a.Session))
	if a.Created {
		w.BulkString("created")
	} else {
		w.BulkString("resumed")
	}
}

func phraseSessionInfo(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) {
	infos, _ := r.Data.([]fsm.SessionInfo)
	if len(infos) == 0 {
		w.Map(0)
		return
	}
	writeSession(w, &infos[0])
}

func phraseSessionList(w *resp.Writer, _ *fsm.Op, r *fsm.Reply) {
	infos, _ := r.Data.([]fsm.SessionInfo)
	w.Array(len(infos))
	for i := range infos {
		writeSession(w, &infos[i])
	}
}

func writeSession(w *resp.Writer, s *fsm.SessionInfo) {
	w.Map(9)
	number(w, "id", int64(s.ID))
	text(w, "name", s.Name)
	text(w, "node", s.Node)
	number(w, "connections", s.Connections)
	number(w, "ttl-ms", s.TTLMS)
	number(w, "heartbeat", int64(boolInt(s.Heartbeat)))
	number(w, "holds", s.Holds)
	number(w, "waits", s.Waits)
	number(w, "idle-ms", s.IdleMS)
}

func text(w *resp.Writer, name, value string) {
	w.BulkString(name)
	w.BulkString(value)
}

func number(w *resp.Writer, name string, value int64) {
	w.BulkString(name)
	w.Int(value)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
