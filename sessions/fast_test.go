package sessions

import (
	"errors"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// lead applies the oldest batch as the leader does and returns what the node's
// own loop will bring later.
func (g *rig) lead() *fsm.Effects {
	g.m.apply(g.f.next())
	return g.m.take()
}

// A fast answer fills the slot once; the own loop's copy passes.
func TestFast(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	g.do(c, "fence", "lock")
	g.cut()
	eff := g.lead()
	g.table.Fast(eff.Replies)
	g.answers(a, fsm.CodeOK, fsm.CodeOK)
	if a.flushed != 1 || c.Outstanding() != 0 {
		t.Fatal(a.flushed, c.Outstanding())
	}
	g.table.Fast(eff.Replies)
	g.table.Deliver(eff)
	g.do(c, "fence")
	g.table.Deliver(eff)
	g.answers(a, fsm.CodeOK, fsm.CodeOK)
	g.run()
	g.answers(a, fsm.CodeOK, fsm.CodeOK, fsm.CodeOK)
	if a.isClosed() {
		t.Fatal(a.closed)
	}
}

// Only the oldest open slot is filled: what overtook is left to the own loop.
func TestFastInOrder(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	g.do(c, "fence", "lock")
	g.cut()
	eff := g.lead()
	g.table.Fast(eff.Replies[1:])
	g.answers(a)
	g.table.Deliver(eff)
	g.answers(a, fsm.CodeOK, fsm.CodeOK)
}

// What is behind a wait goes on when the wait was answered fast.
func TestFastEndsAWait(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	g.do(c, "lock?", "fence")
	g.cut()
	g.apply() // the fence is refused
	g.proposed("")
	g.m.grant(fsm.ConnID(c.id.Load()))
	eff := g.m.take()
	g.table.Fast(eff.Replies)
	g.answers(a, fsm.CodeOK)
	g.proposed("fence/3")
	g.table.Deliver(eff)
	g.proposed("fence/3")
	g.run()
	g.answers(a, fsm.CodeOK, fsm.CodeOK)
}

// Fast answers bind nothing and close nothing, and a silent node gives none.
func TestFastChangesNothingElse(t *testing.T) {
	g := newRig(t, Options{})
	c, a := g.open()
	g.do(c, "attach=s")
	g.cut()
	eff := g.lead()
	g.table.Fast(eff.Replies)
	g.answers(a, fsm.CodeOK)
	if c.Info().SessionName != "" {
		t.Fatal("attached by a fast answer")
	}
	g.f.half = errNoLeader
	if c.Alive() == nil {
		t.Fatal("PING vouches for what the session may hold")
	}
	g.table.Deliver(eff)
	if c.Info().SessionName != "s" {
		t.Fatal("not attached by the own loop")
	}
	g.do(c, "fence")
	g.cut()
	eff = g.lead()
	g.f.stale = errNoLeader
	g.table.Fast(eff.Replies)
	g.answers(a, fsm.CodeOK)
	if !a.isClosed() {
		t.Fatal("a silent node lives on")
	}
}

// The late end of an older session does not make the node forget a hold.
func TestFastHoldIsRemembered(t *testing.T) {
	g := newRig(t, Options{})
	c, _ := g.open()
	g.f.half = errNoLeader
	g.do(c, "attach=s")
	g.run()
	g.do(c, "detach", "lock")
	g.cut()
	eff := g.lead()
	g.table.Fast(eff.Replies)
	g.table.Deliver(eff)
	if c.Alive() == nil {
		t.Fatal("it holds a lock, and PING is answered")
	}
	g.do(c, "attach=s", "detach")
	g.run()
	if c.Alive() != nil {
		t.Fatal("it holds nothing, and PING is refused")
	}
}

// A snapshot: what still waits goes on, as does what is not applied; the rest of
// the requests is uncertain, and whose session is gone is closed.
func TestInstalled(t *testing.T) {
	named := session("s")
	for _, x := range []struct {
		name  string
		ops   []string
		in    fsm.Standing
		after []string // proposed later, not applied
		codes []fsm.Code
		open  bool
	}{
		{"waits", []string{"lock?"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2, Waits: 2}}, nil, nil, true},
		{"granted meanwhile", []string{"lock?"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2}}, nil, []fsm.Code{fsm.CodeUncertain}, false},
		{"idle", []string{"fence"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2}}, nil, []fsm.Code{fsm.CodeOK}, true},
		{"idle and gone", []string{"fence"}, fsm.Standing{Expected: true}, nil, []fsm.Code{fsm.CodeOK}, false},
		{"gone while it waits", []string{"lock?"}, fsm.Standing{Expected: true}, nil, []fsm.Code{fsm.CodeUncertain}, false},
		{"not applied yet", []string{"fence"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2}}, []string{"lock"}, []fsm.Code{fsm.CodeOK}, true},
		{"applied in what was skipped", []string{"fence"}, fsm.Standing{Expected: true, There: true, Sent: 3, ConnInfo: fsm.ConnInfo{Seq: 3}}, []string{"lock"}, []fsm.Code{fsm.CodeOK, fsm.CodeUncertain}, false},
		{"refused in what was skipped", []string{"lock?"}, fsm.Standing{Expected: true, There: true, Sent: 3, ConnInfo: fsm.ConnInfo{Seq: 2, Waits: 2}}, []string{"fence"}, []fsm.Code{fsm.CodeUncertain}, false},
		{"never there", nil, fsm.Standing{}, []string{"lock"}, nil, true},
		{"still attached", []string{"attach=s"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2, Session: named}}, nil, []fsm.Code{fsm.CodeOK}, true},
		{"session ended", []string{"attach=s"}, fsm.Standing{Expected: true, There: true, ConnInfo: fsm.ConnInfo{Seq: 2}}, nil, []fsm.Code{fsm.CodeOK}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, Options{})
			c, a := g.open()
			if x.ops != nil {
				g.do(c, x.ops...)
				g.run()
			}
			g.do(c, x.after...)
			g.table.Installed(func(fsm.ConnID) fsm.Standing { return x.in })
			g.answers(a, x.codes...)
			if a.isClosed() == x.open {
				t.Fatal("closed:", a.closed)
			}
			if !x.open && !errors.Is(a.closed[0], ErrUncertain) {
				t.Fatal(a.closed)
			}
		})
	}
}
