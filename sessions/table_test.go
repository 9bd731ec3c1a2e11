package sessions

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestWithoutIncarnation: ops are answered CLUSTERDOWN in order, at once.
func TestWithoutIncarnation(t *testing.T) {
	table := NewTable(Options{Logger: quiet()})
	a := &client{}
	c, err := table.Open("", "x", a)
	if err != nil {
		t.Fatal(err)
	}
	a.conn = c
	ask := func(tag uint64) {
		c.Do(fsm.Op{Code: fsm.OpFence, Target: tag}, tag)
		c.Silent(fsm.Op{Code: fsm.OpConfigSet})
		c.Flush()
	}
	if _, err := c.ID(); !errors.Is(err, ErrNoIncarnation) {
		t.Fatal(err)
	}
	ask(1) // not even a cluster
	f := &cluster{inc: 1, half: errNoLeader}
	table.SetCluster(f)
	ask(2)
	table.Begin(1)
	if c.Alive() != nil {
		t.Fatal("a connection that asked for nothing is not affected")
	}
	id, err := c.ID()
	if err != nil || id != fsm.Incarnation(1).Conn(1) {
		t.Fatal(id, err)
	}
	ask(3)
	if !slices.Equal(a.tags, []uint64{1, 2}) || !slices.Equal(a.codes, []fsm.Code{fsm.CodeClusterDown, fsm.CodeClusterDown}) {
		t.Fatal(a.tags, a.codes)
	}
	if a.flushed != 2 || c.Outstanding() != 1 || f.queued() != 3 {
		t.Fatal(a.flushed, c.Outstanding(), f.queued())
	}
	// The end of another incarnation changes nothing; that of ours closes, and
	// what comes after it is neither answered nor proposed.
	table.End(2, errNoLeader)
	if a.isClosed() {
		t.Fatal("closed")
	}
	table.End(1, errNoLeader)
	table.End(1, errNoLeader)
	if len(a.closed) != 1 || !errors.Is(a.closed[0], errNoLeader) || table.Live() != 0 || table.Count() != 0 {
		t.Fatal(a.closed, table.Live(), table.Count())
	}
	ask(4)
	if f.queued() != 3 || len(a.tags) != 2 || c.Outstanding() != 1 {
		t.Fatal("something was done for a closed connection")
	}
	if c.SetName("session:x") != nil || c.Name() != "" {
		t.Fatal("a closed connection has a new name")
	}
	table.Deliver(&fsm.Effects{Replies: []fsm.Reply{{Conn: id, Seq: 1}}})
	table.Begin(2)
	table.Deliver(&fsm.Effects{Replies: []fsm.Reply{{Conn: id, Seq: 1}}})
	d, err := table.Open("", "y", &client{})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := d.ID(); id != fsm.Incarnation(2).Conn(1) || err != nil {
		t.Fatal(id, err)
	}
	if _, err := c.ID(); err != nil {
		t.Fatal("a number once given stays", err)
	}
}

func TestBeginWithoutEnd(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	g.do(c, "lock")
	g.table.Begin(1) // the same again
	if a.isClosed() {
		t.Fatal("closed")
	}
	g.table.Begin(2)
	if !a.isClosed() {
		t.Fatal("lives on under an old incarnation")
	}
	if _, err := c.ID(); err != nil {
		t.Fatal(err)
	}
}

func TestNumbersUsedUp(t *testing.T) {
	var told []fsm.Incarnation
	g := newRig(t, Options{OnExhausted: func(inc fsm.Incarnation) { told = append(told, inc) }})
	g.table.number = lastNumber - 1
	first, _ := g.open()
	if id, err := first.ID(); err != nil || id.Number() != lastNumber {
		t.Fatal(id, err)
	}
	for range 2 {
		c, a := g.open()
		g.do(c, "lock")
		g.answers(a, fsm.CodeClusterDown)
		if _, err := c.ID(); !errors.Is(err, ErrExhausted) {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told, []fsm.Incarnation{1}) {
		t.Fatal(told)
	}
	closed, _ := g.open()
	closed.Closed()
	if _, err := closed.ID(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestStale: a node that is not vouched for answers nothing more.
func TestStale(t *testing.T) {
	for name, happens := range map[string]func(g *rig){
		"deliver":   func(g *rig) { g.m.apply(g.f.next()); g.table.Deliver(g.m.take()) },
		"down":      func(g *rig) { g.down() },
		"uncertain": func(g *rig) { g.table.Uncertain(g.f.oldest(), errNoLeader) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{})
			c, a := g.open()
			_, idle := g.open()
			g.do(c, "lock")
			g.cut()
			g.do(c, "lock")
			g.f.stale = errors.New("silent for too long")
			happens(g)
			g.answers(a)
			if !a.isClosed() || !idle.isClosed() || g.table.Live() != 0 {
				t.Fatal("not closed")
			}
		})
	}
}

func TestEvents(t *testing.T) {
	t.Run("close", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "fence", "lock?")
		g.cut()
		g.m.apply(g.f.next())
		id, _ := c.ID()
		g.m.eff.Events = append(g.m.eff.Events, fsm.Event{Kind: fsm.EventClose, Conn: id})
		g.table.Deliver(g.m.take())
		g.answers(a, ok(1)...) // what was done before is answered
		if len(a.closed) != 1 || !errors.Is(a.closed[0], ErrKilled) || a.flushed != 1 {
			t.Fatal(a.closed, a.flushed)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		g := newRig(t, Options{})
		c, a := g.open()
		g.do(c, "fence")
		g.run()
		clear(g.m.conns) // the session has ended
		g.do(c, "fence", "lock", "fence")
		g.run()
		none := fsm.CodeNoSession
		g.answers(a, fsm.CodeOK, none, none, none)
		if len(a.closed) != 1 || !errors.Is(a.closed[0], ErrUnknown) || c.Outstanding() != 0 {
			t.Fatal(a.closed, c.Outstanding())
		}
	})
}

// TestAlive: half a session-timeout of silence shows on PING of whom it concerns.
func TestAlive(t *testing.T) {
	g := newRig(t, Options{})
	g.f.half = errors.New("half")
	c, _ := g.open()
	check := func(holds bool, after string) {
		t.Helper()
		if err := c.Alive(); (err != nil) != holds {
			t.Fatalf("after %s: %v", after, err)
		}
	}
	check(false, "nothing")
	for _, step := range []struct {
		op    string
		holds bool
	}{
		{"fence", false},
		{"lock", true},
		{"fence", true},
		{"reset", false},
		{"lock", true},
		{"close", false},
		{"attach=a", true},
		{"detach", false},
	} {
		g.do(c, step.op)
		g.run()
		check(step.holds, step.op)
	}
	g.do(c, "lock?")
	check(true, "a LOCK on its way")
	g.run()
	check(true, "a LOCK that waits")
	g.f.mu.Lock()
	g.f.stale = errors.New("frozen too long")
	g.f.mu.Unlock()
	if err := c.Alive(); !errors.Is(err, ErrStale) {
		t.Fatal("after a freeze PING must not be answered at all:", err)
	}
}

func TestHeartbeat(t *testing.T) {
	g := newRig(t, Options{})
	contacts := func(want ...fsm.SessionID) {
		t.Helper()
		slices.Sort(want)
		if got := g.table.Contacts(); !slices.Equal(got, want) {
			t.Fatalf("spoke for %v, want %v", got, want)
		}
	}
	attach := func(c *Conn, name string, flags fsm.Flags) {
		g.next++
		c.Do(fsm.Op{Code: fsm.OpSessionAttach, Name: []byte(name), Flags: flags, Target: g.next}, g.next)
		c.Flush()
		g.run()
	}
	a1, _ := g.open()
	a2, _ := g.open()
	quietOne, _ := g.open()
	x, _ := g.open()
	attach(a1, "a", fsm.FlagHeartbeat)
	attach(a2, "a", fsm.FlagHeartbeat)
	attach(x, "x", fsm.FlagHeartbeat)
	attach(quietOne, "quiet", 0)
	contacts(session("a"), session("x")) // opening is speaking
	contacts()
	a2.Touch()
	quietOne.Touch()
	contacts(session("a"))
	g.do(x, "lock?")
	g.run()
	contacts(session("x")) // a command under way
	contacts(session("x"))
	g.grant(x)
	contacts()
	g.do(a1, "detach")
	g.run()
	a1.Touch()
	contacts()
	a2.Touch()
	a2.Closed()
	contacts()
	if i := x.Info(); !i.Heartbeat || i.Session != session("x") || i.SessionName != "x" {
		t.Fatalf("%+v", i)
	}
}

func TestFlushAll(t *testing.T) {
	var flushed [][]Answerer
	g := newRig(t, Options{FlushAll: func(as []Answerer) { flushed = append(flushed, slices.Clone(as)) }})
	c, a := g.open()
	d, b := g.open()
	g.do(c, "fence")
	g.do(d, "lock")
	g.do(c, "fence", "fence")
	g.cut()
	g.apply()
	if len(flushed) != 1 || !slices.Equal(flushed[0], []Answerer{a, b}) {
		t.Fatal(flushed)
	}
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		first, a := g.open()
		time.Sleep(time.Second)
		second, _ := g.open()
		unused, _ := g.open()
		g.do(second, "lock")
		g.run()
		g.do(first, "lock?", "lock")
		g.run()
		var all []*Conn
		g.table.Each(func(c *Conn) bool { all = append(all, c); return true })
		if !slices.Equal(all, []*Conn{unused, second, first}) {
			t.Fatal("not by id")
		}
		g.table.Each(func(c *Conn) bool { all = append(all, c); return false })
		if len(all) != 4 || g.table.Count() != 3 || g.table.Live() != 2 {
			t.Fatal(len(all), g.table.Count(), g.table.Live())
		}
		id, _ := first.ID()
		want := Info{
			ID: id, Addr: "10.0.0.1:99", AgeMS: 1500, IdleMS: 500, Session: id.Session(),
			Outstanding: 2, Waiting: true, Known: true,
		}
		first.Touch()
		time.Sleep(500 * time.Millisecond)
		if i := first.Info(); i != want {
			t.Fatalf("got  %+v\nwant %+v", i, want)
		}
		if i := unused.Info(); i.ID != 0 || i.Known || i.Session != 0 || unused.Known() || !first.Known() {
			t.Fatalf("%+v", i)
		}
		if g.table.Find(id) != first || g.table.Find(id+9) != nil || first.Answerer() != a || first.Addr() != want.Addr {
			t.Fatal("not found")
		}
		first.Kill(ErrKilled)
		first.Kill(ErrKilled)
		if len(a.closed) != 1 || g.table.Find(id) != nil || g.table.Live() != 1 {
			t.Fatal(a.closed)
		}
		g.proposed("end/0")
	})
}

// TestDownAndGone: connections that were put off and are closed are not kept until
// entries are applied again.
func TestDownAndGone(t *testing.T) {
	g := newRig(t, Options{})
	stays, a := g.open()
	g.do(stays, "lock")
	g.down()
	for range 100 {
		c, _ := g.open()
		g.do(c, "lock")
		g.down()
		c.Closed()
		g.down()
	}
	if n := len(g.table.later.conns); n > 4 {
		t.Errorf("%d connections are kept, and one is open", n)
	}
	g.do(stays, "lock")
	g.run()
	g.answers(a, fsm.CodeClusterDown, fsm.CodeOK)
}
