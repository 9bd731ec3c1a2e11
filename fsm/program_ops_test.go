package fsm_test

import (
	"fmt"
	"slices"

	"github.com/redlockd/redlockd/fsm"
)

// opRare stands for one of those that end much.
const opRare = fsm.OpInvalid

func (p *program) op(c *conn) fsm.Op {
	op := fsm.Op{Code: of(p,
		fsm.OpLock, fsm.OpLock, fsm.OpLock, fsm.OpLock, fsm.OpLock, fsm.OpTryLock, fsm.OpTryLock, fsm.OpTryLock, fsm.OpTryLock, fsm.OpTryLock,
		fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpRenew, fsm.OpRenew, fsm.OpUnwait, fsm.OpUnwait,
		fsm.OpForceUnlock, fsm.OpDestroy, fsm.OpUndestroy, fsm.OpLockCount, fsm.OpFence, fsm.OpIsLocked, fsm.OpIsOwner, fsm.OpLeaseTime,
		fsm.OpLockInfo, fsm.OpLockWaiters, fsm.OpLockScan, fsm.OpSessionID, fsm.OpSessionAttach, fsm.OpSessionAttach, fsm.OpConfigSet,
		fsm.OpUnblock, fsm.OpUnblock, opRare, opRare)}
	if op.Code == opRare {
		op.Code = of(p, fsm.OpSessionDetach, fsm.OpSessionClose, fsm.OpSessionKill, fsm.OpSessionKill, fsm.OpReset, fsm.OpKillConn)
	}
	switch op.Code {
	case fsm.OpLockScan:
		op.Count = 1000
		return op
	case fsm.OpSessionID, fsm.OpSessionDetach, fsm.OpSessionClose, fsm.OpReset:
		return op
	case fsm.OpSessionAttach, fsm.OpSessionKill:
		p.sessionOp(&op, c)
		return op
	case fsm.OpUnblock, fsm.OpKillConn:
		if len(p.live) > 0 {
			op.Target = uint64(p.live[p.pick(len(p.live))].id)
		}
		op.Flags = of(p, fsm.FlagError, 0)
		return op
	case fsm.OpConfigSet:
		op.Name, op.Value = []byte(of(p, fsm.SettingAcquireLimit, fsm.SettingAcquireLimit, fsm.SettingMaxWaiters)), []byte(of(p, "1", "2", "0", "1", "3"))
		return op
	}
	p.lockOp(&op)
	return op
}

func (p *program) sessionOp(op *fsm.Op, c *conn) {
	op.Name = []byte(of(p, "pool", "web"))
	if op.Code == fsm.OpSessionKill {
		if p.pick(3) == 0 {
			op.Name = []byte(c.id.String())
		}
		return
	}
	op.Lease = of(p, int64(0), 0, 1000, 2500, 10_000, 12_000)
	op.Flags = of(p, 0, 0, 0, fsm.FlagByName, fsm.FlagHeartbeat)
}

func (p *program) lockOp(op *fsm.Op) {
	op.Key = []byte(of(p, "a", "a", "a", "b", "b", "c"))
	if (op.Code == fsm.OpLock || op.Code == fsm.OpTryLock) && p.model.destroyed[string(op.Key)] && p.pick(2) == 0 {
		op.Code = fsm.OpUndestroy
	}
	switch op.Code {
	case fsm.OpFence, fsm.OpLeaseTime, fsm.OpLockInfo, fsm.OpLockWaiters, fsm.OpDestroy, fsm.OpUndestroy:
		return
	case fsm.OpForceUnlock:
		op.Fence = of(p, 0, 0, 0, p.stats.LastFence)
		return
	}
	op.Owner = []byte(of(p, "", "", "x", "x", "y"))
	id := of(p, "", "", "", "1", "2", "3", "4", "5")
	switch op.Code {
	case fsm.OpUnwait:
		op.ID = []byte(of(p, "1", "2", "3", "4", "5"))
	case fsm.OpUnlock:
		op.ID, op.Fence = []byte(id), of(p, 0, 0, 0, p.stats.LastFence)
	case fsm.OpRenew:
		op.Lease, op.Fence = of(p, int64(1), 50, 300, 3000, 30_000), of(p, 0, 0, 0, p.stats.LastFence)
	case fsm.OpLock, fsm.OpTryLock:
		op.ID = []byte(id)
		op.Lease = of(p, int64(0), 0, 0, 50, 300, 3000, 30_000)
		if op.Code == fsm.OpTryLock {
			op.Timeout = of(p, int64(0), 0, 1, 100, 500, 5000)
		}
		if p.pick(5) < 2 && len(op.ID) > 0 {
			op.Flags |= fsm.FlagAsync
		}
		if p.pick(10) == 9 {
			op.Flags |= fsm.FlagKeep
			op.Owner, op.Lease = nil, max(op.Lease, 50)
		}
	}
}

// compare wants of the machine what the model says.
func (p *program) compare(eff *fsm.Effects) error {
	got := map[fsm.Address]mReply{}
	for i := range eff.Replies {
		if r := &eff.Replies[i]; r.Seq != 0 {
			got[fsm.Address{Conn: r.Conn, Seq: r.Seq}] = mReply{r.Code, number(r)}
			p.codes[r.Code]++
		}
	}
	for a, want := range p.model.replies {
		if r, ok := got[a]; !ok || r != want {
			return fmt.Errorf("op %d of %s: the machine says %s (answered: %v), the model %s", a.Seq, p.nameOf(a.Conn), r, ok, want)
		}
	}
	for a, r := range got {
		if _, ok := p.model.replies[a]; !ok {
			return fmt.Errorf("op %d of %s: the machine says %s, the model has no answer", a.Seq, p.nameOf(a.Conn), r)
		}
	}
	for _, a := range eff.Refused {
		if !p.model.refused[a] {
			return fmt.Errorf("op %d of %s is refused, the model does not", a.Seq, p.nameOf(a.Conn))
		}
	}
	if len(eff.Refused) != len(p.model.refused) || !slices.Equal(slices.Sorted(slices.Values(eff.Ended)), slices.Sorted(slices.Values(p.model.ended))) {
		return fmt.Errorf("refused %v, ended %v; the model: %v, %v", eff.Refused, eff.Ended, p.model.refused, p.model.ended)
	}
	for _, ev := range eff.Events {
		if (ev.Kind == fsm.EventClose || ev.Kind == fsm.EventUnknown) && !p.model.closed[ev.Conn] {
			return fmt.Errorf("connection %s is closed, the model does not", p.nameOf(ev.Conn))
		}
	}
	st := p.m.Stats()
	if int(st.Holds) != len(p.model.holds) || int(st.Waiters) != len(p.model.waits) || int(st.Notices) != len(p.model.notices) || int(st.Connections) != len(p.model.conns) ||
		int(st.IDs) != len(p.model.memos) || int(st.Destroyed) != len(p.model.destroyed) || st.LastFence != p.model.fence {
		return fmt.Errorf("stats are %+v; the model has %d holds, %d waits, %d notices, %d connections, %d IDs, %d destroyed, fence %d", st, len(p.model.holds),
			len(p.model.waits), len(p.model.notices), len(p.model.conns), len(p.model.memos), len(p.model.destroyed), p.model.fence)
	}
	return nil
}

func (p *program) nameOf(id fsm.ConnID) string {
	if c := p.conns[id]; c != nil {
		return c.name
	}
	return id.String()
}

func (r mReply) String() string { return fmt.Sprintf("%s %d", codeNames[r.code], r.n) }

// number is the reply as the model says it.
func number(r *fsm.Reply) int64 {
	switch d := r.Data.(type) {
	case *fsm.LockInfo:
		return int64(d.Fence)*1000 + d.Waiters
	case []fsm.WaiterInfo:
		return int64(len(d))
	case *fsm.ScanPage:
		return int64(len(d.Keys))
	case *fsm.Attached:
		if d.Created {
			return 1
		}
	}
	return r.Int
}
