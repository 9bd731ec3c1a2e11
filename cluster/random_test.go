package cluster

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

var (
	seedFlag  = flag.Int64("cluster.seed", -1, "run this one seed of TestRandomProgramsEqualOneMachine (-1: all)")
	seedsFlag = flag.Int("cluster.seeds", 8, "how many seeds it runs")
	stepsFlag = flag.Int("cluster.steps", 400, "how many steps each seed has")
)

// Random programs through three nodes, with leaders cut off and handing over, nodes
// stopped and started: what each client was told is what one machine says that
// applies the log alone, each op was applied at most once, and all nodes end in
// that machine's state, to the last bit of its hash.
//
//	go test ./cluster -run TestRandomPrograms -cluster.seed 17
func TestRandomProgramsEqualOneMachine(t *testing.T) {
	seeds := make([]uint64, 0, *seedsFlag)
	for s := range *seedsFlag {
		seeds = append(seeds, uint64(s))
	}
	if *seedFlag >= 0 {
		seeds = []uint64{uint64(*seedFlag)}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomProgram(t, seed) })
		})
	}
}

// told is what became of one op: its channel has the reply, is closed (the
// connection was), or stays open (its wait was withdrawn).
type told struct {
	node string
	op   fsm.Op
	ch   chan fsm.Reply
}

// randomRun is one program.
type randomRun struct {
	*trio
	r       *rand.Rand
	clients []*randomClient
	told    []told
	cut     *testNode
	faults  map[string]int
}

// randomClient is a client that pipelines. Its ops that are refused because it
// waits are proposed again when it does no more, as package sessions does.
type randomClient struct {
	*testConn
	n    *testNode
	open bool

	mu   sync.Mutex
	ops  map[uint64]*fsm.Op
	held []uint64
}

func randomProgram(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 9))
	long := seed%2 == 0 // connections outlast all faults; else nodes end by silence
	p := &randomRun{r: r, faults: map[string]int{}}
	p.trio = newTrio(t, func(o *Options) {
		if long {
			o.Settings = map[string]string{fsm.SettingSessionTimeout: "60000"}
			o.RequestTimeout = time.Minute
		}
	})
	for range *stepsFlag {
		p.op()
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		p.fault()
	}
	p.mend()
	for _, x := range p.clients { // what waits is withdrawn
		if x.open && x.n.h.present() == x.id.Incarnation() {
			x.end()
		}
	}
	time.Sleep(3 * time.Second)
	p.same()
	answered := p.check()
	t.Logf("seed %d: %d ops, %d answered, faults %v", seed, len(p.told), answered, p.faults)
	if answered < len(p.told)/4 {
		t.Errorf("only %d of %d ops were answered: they test too little", answered, len(p.told))
	}
}

func (h *testHost) present() fsm.Incarnation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inc
}

// client returns a client of some running node, a new one now and then.
func (p *randomRun) client() *randomClient {
	p.clients = slices.DeleteFunc(p.clients, func(x *randomClient) bool {
		return p.nodes[x.n.opts.NodeID] != x.n || x.n.h.present() != x.id.Incarnation()
	})
	if len(p.clients) > 0 && (len(p.clients) >= 9 || p.r.IntN(3) > 0) {
		return p.clients[p.r.IntN(len(p.clients))]
	}
	n := p.nodes[p.names[p.r.IntN(3)]]
	if n == nil || n.h.present() == 0 {
		return nil
	}
	x := &randomClient{testConn: n.h.connect(), n: n, open: true, ops: map[uint64]*fsm.Op{}}
	n.h.mu.Lock()
	before := n.h.onDeliver
	n.h.onDeliver = func(eff *fsm.Effects) {
		if before != nil {
			before(eff)
		}
		x.delivered(eff)
	}
	n.h.mu.Unlock()
	p.clients = append(p.clients, x)
	return x
}

// delivered runs on the apply goroutine, where the machine stands still.
func (x *randomClient) delivered(eff *fsm.Effects) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, a := range eff.Refused {
		if a.Conn == x.id && !slices.Contains(x.held, a.Seq) {
			x.held = append(x.held, a.Seq)
		}
	}
	at, there := x.n.fsm.Conn(x.id)
	if len(x.held) == 0 || !there || at.Waits != 0 {
		return
	}
	slices.Sort(x.held)
	var again []*fsm.Op
	for _, seq := range x.held {
		again = append(again, x.ops[seq])
	}
	x.held = nil
	x.n.Propose(again)
}

// op sends one op, or ends a client.
func (p *randomRun) op() {
	x := p.client()
	if x == nil {
		return
	}
	if p.r.IntN(25) == 0 {
		x.open = false
		x.end()
		p.clients = slices.DeleteFunc(p.clients, func(y *randomClient) bool { return y == x })
		return
	}
	op := p.randomOp()
	ops, ch := x.ops2(op)
	p.told = append(p.told, told{x.n.opts.NodeID, *ops[len(ops)-1], ch})
	x.n.Propose(ops)
}

// ops2 is testConn.ops, with the ops kept to be proposed again.
func (x *randomClient) ops2(op fsm.Op) ([]*fsm.Op, chan fsm.Reply) {
	ops, ch := x.testConn.ops(op)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, o := range ops {
		x.ops[o.Seq] = o
	}
	return ops, ch
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// randomOp makes an op; the mix is that of the programs of package fsm.
func (p *randomRun) randomOp() fsm.Op {
	r := p.r
	op := fsm.Op{Key: []byte(pick(r, "a", "a", "b", "c")), Code: pick(r,
		fsm.OpLock, fsm.OpTryLock, fsm.OpTryLock, fsm.OpTryLock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpUnlock, fsm.OpRenew,
		fsm.OpUnwait, fsm.OpForceUnlock, fsm.OpDestroy, fsm.OpUndestroy, fsm.OpUndestroy, fsm.OpFence, fsm.OpLockInfo, fsm.OpLockWaiters,
		fsm.OpLockScan, fsm.OpSessionID, fsm.OpSessionAttach, fsm.OpSessionClose, fsm.OpReset, fsm.OpConfigSet, fsm.OpUnblock)}
	id := []byte(pick(r, "", "", "1", "2", "3"))
	owner := []byte(pick(r, "", "", "x", "y"))
	switch op.Code {
	case fsm.OpLock, fsm.OpTryLock:
		op.ID, op.Owner, op.Lease = id, owner, pick(r, int64(0), 0, 50, 300, 3000)
		if op.Code == fsm.OpTryLock {
			op.Timeout = pick(r, int64(0), 1, 100, 500)
		}
		if len(id) > 0 && r.IntN(4) == 0 {
			op.Flags = fsm.FlagAsync
		}
	case fsm.OpUnlock:
		op.ID, op.Owner = id, owner
	case fsm.OpRenew:
		op.Owner, op.Lease = owner, pick(r, int64(50), 300, 3000)
	case fsm.OpUnwait:
		op.ID, op.Owner = []byte(pick(r, "1", "2", "3")), owner
	case fsm.OpLockScan:
		op.Key, op.Count = nil, 100
	case fsm.OpSessionAttach:
		op.Key, op.Name, op.Lease = nil, []byte(pick(r, "pool", "web")), pick(r, int64(0), 1000, 12_000)
	case fsm.OpConfigSet:
		op.Key, op.Name, op.Value = nil, []byte(fsm.SettingAcquireLimit), []byte(pick(r, "0", "0", "2"))
	case fsm.OpUnblock:
		op.Key, op.Flags = nil, pick(r, 0, fsm.FlagError)
		if len(p.clients) > 0 {
			op.Target = uint64(p.clients[r.IntN(len(p.clients))].id)
		}
	case fsm.OpSessionID, fsm.OpSessionClose, fsm.OpReset:
		op.Key = nil
	}
	return op
}

// fault cuts, heals, hands over, stops and starts; one thing is broken at a time.
func (p *randomRun) fault() {
	switch {
	case p.cut != nil:
		if p.r.IntN(40) == 0 {
			p.mend()
		}
	case p.r.IntN(50) == 0:
		p.cut = p.nodes[p.names[p.r.IntN(3)]]
		if p.r.IntN(2) == 0 {
			p.cut = p.leader()
		}
		p.faults["cut"]++
		p.trio.cut(p.cut)
	case p.r.IntN(60) == 0:
		p.faults["failover"]++
		if err := p.leader().Failover(context.Background(), ""); err != nil {
			p.t.Log(err) // it was losing its office already
		}
	case p.r.IntN(120) == 0:
		name := p.names[p.r.IntN(3)]
		n := p.nodes[name]
		p.faults["restart"]++
		delete(p.nodes, name)
		n.stop(p.t)
		n.h.End(n.h.present(), ErrClosing)
		p.start(name)
	}
}

func (p *randomRun) mend() {
	if p.cut != nil {
		p.heal(p.cut)
		p.cut = nil
	}
}

// check applies the leader's log to one machine of its own and compares. It
// returns how many ops were answered.
func (p *randomRun) check() (answered int) {
	t := p.t
	// The nodes stop, their stores stay open: nothing moves any more.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at := map[uint64]uint64{} // the hash of each index at which a node stands
	var last uint64
	var log raft.LogStore
	for name, x := range p.nodes {
		if err := x.Close(ctx); err != nil {
			t.Error(name, err)
		}
		i, _ := x.fsm.Applied()
		if h, known := at[i]; known && h != x.fsm.Hash() {
			t.Errorf("%s has another hash at entry %d than another node", name, i)
		}
		if at[i] = x.fsm.Hash(); i >= last {
			last, log = i, x.store.Log()
		}
		if err := x.fsm.CheckInvariants(); err != nil {
			t.Error(name, err)
		}
	}
	if first, err := log.FirstIndex(); err != nil || first != 1 {
		t.Fatal("the log does not begin at 1:", first, err)
	}
	said := oneMachine(t, log, last, at)
	for _, x := range p.told {
		a := fsm.Address{Conn: x.op.Conn, Seq: x.op.Seq}
		all := said[a]
		if len(all) > 1 {
			t.Errorf("op %v was answered %d times: %q", a, len(all), all)
		}
		select {
		case r, ok := <-x.ch:
			if !ok {
				continue // the connection was closed: nobody was told
			}
			answered++
			if got := fsm.AppendReply(nil, &r); len(all) != 1 || !bytes.Equal(got, all[0]) {
				t.Errorf("%s answered op %v %+v with %+v; one machine says %q, not %q", x.node, a, x.op, r, all, got)
			}
		default:
			if len(all) > 0 {
				t.Errorf("op %v %+v at %s was never answered, one machine says %q", a, x.op, x.node, all)
			}
		}
	}
	return answered
}

// oneMachine applies a log and compares its hash where one is given. It returns
// all that was said to each op, encoded.
func oneMachine(t *testing.T, log raft.LogStore, last uint64, hashes map[uint64]uint64) map[fsm.Address][][]byte {
	t.Helper()
	m, said := fsm.New(), map[fsm.Address][][]byte{}
	m.Defer()
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		var e fsm.Entry
		if err := fsm.DecodeEntry(l.Data, &e); err != nil {
			t.Fatal(err)
		}
		e.Index, e.Term = l.Index, l.Term
		for _, r := range m.Apply(&e).Replies {
			a := fsm.Address{Conn: r.Conn, Seq: r.Seq}
			said[a] = append(said[a], fsm.AppendReply(nil, &r))
		}
		if h, known := hashes[i]; known && h != m.Hash() {
			m.Flush()
			if h != m.Hash() {
				t.Errorf("at entry %d the nodes have hash %x, one machine %x", i, h, m.Hash())
			}
		}
	}
	return said
}
