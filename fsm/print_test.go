package fsm_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

var codeNames = map[fsm.Code]string{
	fsm.CodeOK: "OK", fsm.CodeNotOwner: "NOTOWNER", fsm.CodeLockLost: "LOCKLOST", fsm.CodeLockLimit: "LOCKLIMIT", fsm.CodeCancelled: "CANCELLED",
	fsm.CodeDeadlock: "DEADLOCK", fsm.CodeDestroyed: "DESTROYED", fsm.CodeNoSession: "NOSESSION", fsm.CodeLimit: "LIMIT", fsm.CodeErr: "ERR",
	fsm.CodeClusterDown: "CLUSTERDOWN", fsm.CodeUncertain: "UNCERTAIN",
}

var whyNames = map[fsm.Why]string{
	fsm.WhyNone: "", fsm.WhySessionClosed: "session-closed", fsm.WhySessionExpired: "session-expired", fsm.WhySessionKilled: "session-killed",
	fsm.WhyNodeLost: "node-lost", fsm.WhyConnClosed: "conn-closed", fsm.WhyReset: "reset", fsm.WhyLeaseEnded: "lease-ended", fsm.WhyForced: "forced",
	fsm.WhyDestroyed: "destroyed", fsm.WhyUnclaimed: "unclaimed", fsm.WhyReleased: "released", fsm.WhySuperseded: "superseded",
	fsm.WhyUnblocked: "unblocked", fsm.WhyUnwaited: "unwaited", fsm.WhyFree: "free", fsm.WhyOther: "other", fsm.WhyOtherFence: "other-fence",
	fsm.WhyLimit: "limit", fsm.WhyDiskFull: "disk-full", fsm.WhyIDReused: "id-reused", fsm.WhyAnonymousHolds: "anonymous-holds",
	fsm.WhyHeartbeatTTL: "heartbeat-ttl", fsm.WhyNoSuchSetting: "no-such-setting", fsm.WhyBadSetting: "bad-setting", fsm.WhyNoSuchSession: "no-such-session",
	fsm.WhyCostly: "costly",
}

// word puts ids in the place of what stands for them in an op line.
func (s *story) word(w string) string {
	if w == "next" {
		return strconv.FormatUint(s.cursor, 10)
	}
	if strings.HasPrefix(w, "@") {
		if c := s.byName[w[1:]]; c != nil {
			return c.id.String()
		}
	}
	if id, ok := s.keys[w]; ok {
		return id
	}
	return w
}

// sid names a session: @c1 for the first one of a connection, s1, s2 ... for
// drawn ids in the order in which they are seen.
func (s *story) sid(id fsm.SessionID) string {
	if id == 0 {
		return "none"
	}
	if c := s.conns[fsm.ConnID(id)]; c != nil {
		return "@" + c.name
	}
	if s.sessions[id] == "" {
		s.sessions[id] = fmt.Sprintf("s%d", len(s.sessions)+1)
		s.keys["$"+s.sessions[id]] = id.String()
	}
	return s.sessions[id]
}

func (s *story) cid(id fsm.ConnID) string {
	if id == 0 {
		return "none"
	}
	if c := s.conns[id]; c != nil {
		return c.name
	}
	return id.String()
}

func (s *story) print(eff *fsm.Effects) {
	for _, r := range eff.Registered {
		if r.Incarnation == 0 {
			fmt.Fprintf(&s.out, "%s: refused, the newest is %d\n", r.Node, r.Newest)
		} else {
			fmt.Fprintf(&s.out, "%s: incarnation %d\n", r.Node, r.Incarnation)
		}
	}
	for _, k := range eff.Keepalives {
		if k.Ended {
			fmt.Fprintf(&s.out, "keepalive %d: incarnation %d has ended\n", k.Number, k.Incarnation)
		}
	}
	for _, inc := range eff.Ended {
		fmt.Fprintf(&s.out, "incarnation %d ends\n", inc)
	}
	for _, b := range eff.Batches {
		if b.Status != fsm.BatchApplied {
			fmt.Fprintf(&s.out, "batch %d: %s\n", b.Number, map[fsm.BatchStatus]string{
				fsm.BatchRepeated: "repeated", fsm.BatchEarly: "early", fsm.BatchEnded: "ended",
			}[b.Status])
		}
	}
	s.printReplies(eff)
	for i := range eff.Events {
		s.printEvent(&eff.Events[i])
	}
}

// printReplies prints what became of the entry's own ops, in their order, then
// what else came about: hand-offs, waits that ended.
func (s *story) printReplies(eff *fsm.Effects) {
	own := map[fsm.Address]bool{}
	replies := map[fsm.Address]*fsm.Reply{}
	for i := range eff.Replies {
		r := &eff.Replies[i]
		replies[fsm.Address{Conn: r.Conn, Seq: r.Seq}] = r
	}
	for i := range s.last.items {
		for j := range s.last.items[i].Batch.Ops {
			op := &s.last.items[i].Batch.Ops[j]
			a := fsm.Address{Conn: op.Conn, Seq: op.Seq}
			own[a] = true
			has := func(o *fsm.Op) bool { return o.Seq == op.Seq }
			if c := s.conns[op.Conn]; replies[a] != nil {
				s.printReply(replies[a])
			} else if slices.ContainsFunc(c.pending, has) {
				fmt.Fprintf(&s.out, "%s: waits\n", c.name)
			} else if slices.ContainsFunc(c.refused, has) {
				fmt.Fprintf(&s.out, "%s: refused\n", c.name)
			}
		}
	}
	for i := range eff.Replies {
		if r := &eff.Replies[i]; !own[fsm.Address{Conn: r.Conn, Seq: r.Seq}] {
			s.printReply(r)
		}
	}
}

func (s *story) printEvent(ev *fsm.Event) {
	if !s.events {
		return
	}
	fmt.Fprintf(&s.out, "%s! ", s.cid(ev.Conn))
	switch ev.Kind {
	case fsm.EventClose:
		s.out.WriteString("close")
	case fsm.EventUnknown:
		s.out.WriteString("unknown")
	case fsm.EventAttached:
		fmt.Fprintf(&s.out, "attached %s", s.sid(ev.Session))
	case fsm.EventDetached:
		fmt.Fprintf(&s.out, "detached %s", s.sid(ev.Session))
	}
	if ev.Heartbeat {
		s.out.WriteString(" heartbeat")
	}
	if ev.Why != fsm.WhyNone {
		s.out.WriteString(" " + whyNames[ev.Why])
	}
	s.out.WriteByte('\n')
}

func (s *story) printReply(r *fsm.Reply) {
	op := s.ops[fsm.Address{Conn: r.Conn, Seq: r.Seq}]
	if r.Seq == 0 || op == nil && r.Code == fsm.CodeOK {
		return // of OpEnd and OpOpen: nobody reads it
	}
	fmt.Fprintf(&s.out, "%s: ", s.cid(r.Conn))
	if r.Code != fsm.CodeOK {
		s.printError(r)
	} else if r.Data != nil {
		s.printData(op, r)
	} else {
		s.printInt(op, r)
	}
	s.out.WriteByte('\n')
}

func (s *story) printError(r *fsm.Reply) {
	d := r.Detail
	s.out.WriteString(codeNames[r.Code])
	if d == nil {
		return
	}
	if d.Why != fsm.WhyNone {
		s.out.WriteString(" " + whyNames[d.Why])
	}
	if !s.detail {
		return
	}
	if d.Fence != 0 {
		fmt.Fprintf(&s.out, " fence=%d", d.Fence)
	}
	if d.Holder != (fsm.Party{}) {
		fmt.Fprintf(&s.out, " holder=(%s)", s.party(&d.Holder))
	}
	if d.Caller != 0 {
		fmt.Fprintf(&s.out, " caller=%s", s.sid(d.Caller))
	}
	if d.Number != 0 {
		fmt.Fprintf(&s.out, " number=%d", d.Number)
	}
	if d.Text != "" {
		fmt.Fprintf(&s.out, " text=%q", d.Text)
	}
}

func (s *story) printInt(op *fsm.Op, r *fsm.Reply) {
	switch op.Code {
	case fsm.OpSessionID:
		s.out.WriteString(s.sid(fsm.SessionID(r.Int)))
	case fsm.OpDestroy, fsm.OpSessionDetach, fsm.OpReset, fsm.OpConfigSet, fsm.OpOpen, fsm.OpDescribe:
		s.out.WriteString("OK")
	case fsm.OpLeaseTime:
		if r.Int == fsm.MaxLease {
			s.out.WriteString("no lease")
			return
		}
		fallthrough
	default:
		fmt.Fprintf(&s.out, "%d", r.Int)
	}
}

func (s *story) party(p *fsm.Party) string {
	return fmt.Sprintf("session=%s name=%q owner=%q conn=%s client=%q addr=%q node=%q",
		s.sid(p.Session), p.SessionName, p.Owner, s.cid(p.Conn), p.ClientName, p.Addr, p.Node)
}

func (s *story) printData(op *fsm.Op, r *fsm.Reply) {
	switch d := r.Data.(type) {
	case *fsm.LockInfo:
		fmt.Fprintf(&s.out, "%s fence=%d holds=%d %s lease=%d held=%d waiters=%d note=%q",
			[]string{"free", "held", "destroyed"}[d.State], d.Fence, d.Holds, s.party(&d.Holder), d.LeaseMS, d.HeldMS, d.Waiters, d.Note)
	case []fsm.WaiterInfo:
		fmt.Fprintf(&s.out, "%d in line", len(d))
		for i := range d {
			fmt.Fprintf(&s.out, "\n  %s waiting=%d timeout=%d note=%q", s.party(&d[i].Waiter), d[i].WaitingMS, d[i].TimeoutMS, d[i].Note)
		}
	case *fsm.ScanPage:
		s.cursor = d.Cursor
		fmt.Fprintf(&s.out, "%s %s", map[bool]string{true: "complete", false: "more"}[d.Cursor == 0], strings.Join(slices.Sorted(slices.Values(d.Keys)), " "))
	case *fsm.Attached:
		s.names[string(op.Name)] = d.Session
		fmt.Fprintf(&s.out, "%s %s", s.sid(d.Session), map[bool]string{true: "created", false: "resumed"}[d.Created])
	case []fsm.SessionInfo:
		fmt.Fprintf(&s.out, "%d sessions", len(d))
		for i := range d {
			fmt.Fprintf(&s.out, "\n  %s name=%q node=%q conns=%d ttl=%d heartbeat=%v holds=%d waits=%d idle=%d",
				s.sid(d[i].ID), d[i].Name, d[i].Node, d[i].Connections, d[i].TTLMS, d[i].Heartbeat, d[i].Holds, d[i].Waits, d[i].IdleMS)
		}
	default:
		fmt.Fprintf(&s.out, "%T?", d)
	}
}
