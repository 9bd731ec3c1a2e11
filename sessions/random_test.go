package sessions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// world is a random program: clients, a table, a cluster and a machine, all in
// one goroutine, so that a seed tells the whole story.
type world struct {
	t       *testing.T
	r       *rand.Rand
	table   *Table
	f       *cluster
	m       *machine
	clients []*player
	next    uint64
	calm    bool // nothing goes wrong any more
	// lags: the node's own loop comes later than the leader's fast answers.
	lags bool
	late []*fsm.Effects
	ran  map[*player]*mconn
}

// player is a client and what it has sent.
type player struct {
	client
	sent       []uint64
	wish       []string // of each op: the session without which it must not act; "" none
	name, last string
	// own is set once the client used SESSION ATTACH, DETACH or RESET under its
	// name, which makes the session its own choice.
	own  choice
	gone bool
}

type choice int

const (
	byName   choice = iota // the name's session
	attached               // that, or the one it attached to: never none
	free                   // any or none
)

// any stands for whatever session there is, but one there must be.
const anySession = "*"

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 2)), f: &cluster{inc: 1}, m: newMachine(), ran: make(map[*player]*mconn),
	}
	w.m.postpone = func(o *fsm.Op) bool { return o.Code == fsm.OpFence && w.r.IntN(4) == 0 }
	w.table = NewTable(Options{Logger: quiet()})
	w.table.SetCluster(w.f)
	w.table.Begin(1)
	return w
}

func (w *world) open() *player {
	p := &player{}
	c, err := w.table.Open("", "1.2.3.4:5", p)
	if err != nil {
		w.t.Fatal(err)
	}
	p.conn = c
	w.clients = append(w.clients, p)
	return p
}

// burst sends a few ops and sometimes a name.
func (w *world) burst(p *player) {
	for range 1 + w.r.IntN(6) {
		// As in commands: a name is set only when nothing is outstanding.
		if w.r.IntN(12) == 0 && p.conn.Outstanding() == 0 {
			p.name = []string{"", "plain", "session:good", "session:bad", "session:other"}[w.r.IntN(5)]
			if err := p.conn.SetName(p.name); err != nil {
				w.t.Fatal(err)
			}
			p.own = free // unless the name was another one, it changed nothing
			if p.name != p.last {
				p.own = byName
			}
			p.last = p.name
		}
		w.next++
		op := fsm.Op{Target: w.next, Key: fmt.Appendf(nil, "key-%d", w.next)}
		switch w.r.IntN(20) {
		case 0:
			op.Code, op.Name = fsm.OpSessionAttach, []byte([]string{"mine", "good", "bad"}[w.r.IntN(3)])
		case 1:
			op.Code = fsm.OpSessionDetach
		case 2:
			op.Code = fsm.OpReset
		case 3, 4, 5, 6, 7, 8:
			op.Code, op.Note = fsm.OpLock, []byte("wait")
		case 9, 10, 11:
			op.Code = fsm.OpLock
		case 12, 13, 14:
			op.Code = fsm.OpUnblock // neither a lock nor a session op
		default:
			op.Code = fsm.OpFence
		}
		p.sent, p.wish = append(p.sent, w.next), append(p.wish, p.expect(op.Code))
		p.conn.Do(op, w.next)
	}
	p.conn.Flush()
}

// expect returns the session in which an op must act.
func (p *player) expect(code fsm.OpCode) string {
	switch code {
	case fsm.OpUnblock:
		return ""
	case fsm.OpSessionAttach:
		p.own = max(p.own, attached)
		return ""
	case fsm.OpSessionDetach:
		p.own = free
		return ""
	case fsm.OpReset:
		p.own, p.last = free, "?" // it may take the name
		return ""
	}
	wish, _ := sessionOf(p.name)
	switch {
	case wish == "" || p.own == free:
		return ""
	case p.own == attached:
		return anySession
	}
	return wish
}

// step does one random thing.
func (w *world) step() {
	p := w.clients[w.r.IntN(len(w.clients))]
	switch n := w.r.IntN(100); {
	case n < 25:
		if !p.gone && !p.isClosed() {
			w.burst(p)
		}
	case n < 50:
		w.cut()
	case n < 80:
		w.apply()
	case n < 92:
		w.grant()
		w.deliver()
	case n < 97:
		if !w.calm && w.f.queued() > 0 {
			n, every := 1+w.r.IntN(w.f.queued()), w.r.IntN(3) > 0
			w.table.Down(w.f.takeOut(func(i int) bool { return i < n && (every || w.r.IntN(2) == 0) }), errNoLeader)
		}
	case n < 98:
		if !w.calm && w.f.inFlight() > 0 && w.r.IntN(3) == 0 {
			w.table.Uncertain(w.f.oldest(), errNoLeader)
		}
	default:
		if w.r.IntN(3) == 0 && !p.gone {
			p.gone = true
			p.conn.Closed()
		}
	}
}

func (w *world) cut() {
	if w.f.queued() > 0 && w.f.inFlight() < 2 {
		w.f.cut(1 + w.r.IntN(w.f.queued()))
	}
}

// apply applies one entry: one batch or both, with grants before, between and behind.
func (w *world) apply() {
	for range 1 + w.r.IntN(2) {
		if w.f.inFlight() == 0 {
			break
		}
		if w.r.IntN(3) == 0 {
			w.grant()
		}
		w.m.apply(w.f.next())
		w.note()
	}
	if w.r.IntN(3) == 0 {
		w.grant()
	}
	w.deliver()
}

// deliver brings what the machine did: at once, or as fast answers first, of which
// some are lost, and the whole later.
func (w *world) deliver() {
	eff := w.m.take()
	if !w.lags {
		w.table.Deliver(eff)
		return
	}
	if w.r.IntN(5) > 0 {
		w.table.Fast(eff.Replies)
	}
	w.late = append(w.late, eff)
	w.catchUp(w.r.IntN(3))
}

// catchUp lets the own loop apply n entries.
func (w *world) catchUp(n int) {
	for ; n > 0 && len(w.late) > 0; n-- {
		eff := w.late[0]
		w.late = w.late[1:]
		w.table.Deliver(eff)
		if w.r.IntN(4) == 0 {
			w.table.Fast(eff.Replies) // a late copy
		}
	}
}

// note remembers the machine's side of each client past its end.
func (w *world) note() {
	for _, p := range w.clients {
		if id := fsm.ConnID(p.conn.id.Load()); id != 0 && w.m.conns[id] != nil {
			w.ran[p] = w.m.conns[id]
		}
	}
}

func (w *world) grant() {
	if ids := w.m.waiting(); len(ids) > 0 {
		w.m.grant(ids[w.r.IntN(len(ids))])
	}
}

// settle runs until nothing is under way.
func (w *world) settle() {
	w.calm = true
	w.deliver() // a leader is back
	for range 100_000 {
		w.catchUp(1 + w.r.IntN(2))
		if w.f.queued() == 0 && w.f.inFlight() == 0 && len(w.m.waiting()) == 0 && len(w.late) == 0 {
			return
		}
		w.cut()
		w.apply()
		w.grant()
		w.deliver()
	}
	w.t.Fatal("never comes to rest")
}

func (w *world) check() {
	if w.f.misuse != nil {
		w.t.Fatal(w.f.misuse)
	}
	for i, p := range w.clients {
		if err := w.checkClient(p); err != nil {
			w.t.Fatalf("client %d: %v\nsent     %v\nanswered %v %v\nran      %+v", i, err, p.sent, p.tags, p.codes, w.ran[p])
		}
	}
}

func (w *world) checkClient(p *player) error {
	over := p.gone || p.isClosed()
	switch {
	case !slices.Equal(p.tags, p.sent[:len(p.tags)]):
		return fmt.Errorf("answers out of order")
	case !over && len(p.tags) != len(p.sent):
		return fmt.Errorf("%d of %d answered", len(p.tags), len(p.sent))
	case !over && p.conn.Outstanding() != 0:
		return fmt.Errorf("%d outstanding", p.conn.Outstanding())
	}
	c := w.ran[p]
	if c == nil {
		c = &mconn{}
	}
	if !slices.IsSorted(c.ran) || len(slices.Compact(slices.Clone(c.ran))) != len(c.ran) {
		return fmt.Errorf("the machine saw the ops out of order or twice")
	}
	for i, tag := range p.tags {
		ran := slices.Contains(c.ran, tag)
		switch p.codes[i] {
		case fsm.CodeOK, fsm.CodeLimit:
			if !ran {
				return fmt.Errorf("op %d answered but not done", tag)
			}
		case fsm.CodeClusterDown, fsm.CodeNoSession:
			if ran {
				return fmt.Errorf("op %d done, though answered with code %d", tag, p.codes[i])
			}
		}
		if p.codes[i] != fsm.CodeOK || p.wish[i] == "" {
			continue
		}
		in := c.in[slices.Index(c.ran, tag)]
		if in == "" || p.wish[i] != anySession && in != p.wish[i] {
			return fmt.Errorf("op %d acted in session %q, not in %q", tag, in, p.wish[i])
		}
	}
	return nil
}

// TestRandom: whatever the cuts, grants and failures, no op is lost, doubled or
// out of order, and what was answered CLUSTERDOWN was not done.
func TestRandom(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.calm, w.lags = seed%3 == 0, seed%2 == 0
		for range 1 + w.r.IntN(4) {
			w.open()
		}
		for range 20 + w.r.IntN(200) {
			w.step()
		}
		w.settle()
		if !t.Failed() {
			w.check()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		if w.calm && seed%3 == 0 {
			w.checkCalm()
		}
	}
}

// checkCalm: where nothing went wrong, nothing was refused either.
func (w *world) checkCalm() {
	for _, p := range w.clients {
		if p.isClosed() {
			w.t.Fatalf("closed without cause: %v", p.closed)
		}
		if slices.Contains(p.codes, fsm.CodeClusterDown) {
			w.t.Fatal("CLUSTERDOWN without cause")
		}
	}
}
