package sessions

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// rig is a table with a fake cluster and machine, driven by hand.
type rig struct {
	t     *testing.T
	table *Table
	f     *cluster
	m     *machine
	next  uint64
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	g := &rig{t: t, table: NewTable(o), f: &cluster{inc: 1}, m: newMachine()}
	g.table.SetCluster(g.f)
	g.table.Begin(1)
	return g
}

func (g *rig) open() (*Conn, *client) {
	g.t.Helper()
	a := &client{}
	c, err := g.table.Open("", "10.0.0.1:99", a)
	if err != nil {
		g.t.Fatal(err)
	}
	a.conn = c
	return c, a
}

// do gathers ops: a code's name in short, with "?" behind it for one that waits.
func (g *rig) do(c *Conn, ops ...string) {
	g.t.Helper()
	for _, name := range ops {
		g.next++
		op := fsm.Op{Target: g.next, Key: []byte("k")}
		name, waits := strings.CutSuffix(name, "?")
		if waits {
			op.Note = []byte("wait")
		}
		name, session, _ := strings.Cut(name, "=")
		op.Name = []byte(session)
		i := slices.IndexFunc(shortNames, func(s shortName) bool { return s.name == name })
		if i < 0 {
			g.t.Fatalf("no op %q", name)
		}
		op.Code = shortNames[i].code
		c.Do(op, g.next)
	}
	c.Flush()
}

type shortName struct {
	code fsm.OpCode
	name string
}

var shortNames = []shortName{
	{fsm.OpOpen, "open"},
	{fsm.OpEnd, "end"},
	{fsm.OpDescribe, "describe"},
	{fsm.OpLock, "lock"},
	{fsm.OpFence, "fence"},
	{fsm.OpSessionAttach, "attach"},
	{fsm.OpSessionDetach, "detach"},
	{fsm.OpReset, "reset"},
	{fsm.OpUnblock, "unblock"},
	{fsm.OpSessionID, "sessionid"},
	{fsm.OpSessionClose, "close"},
	{fsm.OpConfigSet, "config"},
}

// queue says what is proposed and not sent: code/number, "!" for FlagByName.
func (g *rig) queue() string {
	var b strings.Builder
	for _, q := range g.f.queue {
		i := slices.IndexFunc(shortNames, func(s shortName) bool { return s.code == q.op.Code })
		b.WriteString(shortNames[i].name)
		if q.op.Flags&fsm.FlagByName != 0 {
			b.WriteByte('!')
		}
		if len(q.op.Name) > 0 {
			fmt.Fprintf(&b, "=%s", q.op.Name)
		}
		fmt.Fprintf(&b, "/%d ", q.op.Seq)
	}
	return strings.TrimSpace(b.String())
}

// proposed checks what is in the queue.
func (g *rig) proposed(want string) {
	g.t.Helper()
	if got := g.queue(); got != want {
		g.t.Fatalf("proposed\n  %s\nwant\n  %s", got, want)
	}
}

// cut sends all that is queued as one batch.
func (g *rig) cut() { g.f.cut(g.f.queued()) }

// apply applies the oldest batch as one entry.
func (g *rig) apply() {
	g.m.apply(g.f.next())
	g.table.Deliver(g.m.take())
}

// run sends and applies until nothing is left.
func (g *rig) run() {
	for g.f.queued() > 0 || g.f.inFlight() > 0 {
		if g.f.queued() > 0 {
			g.cut()
		}
		g.apply()
	}
}

// grant ends the wait of c and delivers that.
func (g *rig) grant(c *Conn) {
	g.m.grant(fsm.ConnID(c.id.Load()))
	g.table.Deliver(g.m.take())
}

// down takes all that is queued out of the queue.
func (g *rig) down() {
	g.table.Down(g.f.takeOut(func(int) bool { return true }), errNoLeader)
}

// answers checks the codes that a client has got so far.
func (g *rig) answers(a *client, want ...fsm.Code) {
	g.t.Helper()
	if !slices.Equal(a.codes, want) {
		g.t.Fatalf("answered with codes %v, want %v", a.codes, want)
	}
}
