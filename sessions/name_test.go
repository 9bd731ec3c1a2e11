package sessions

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

func TestSessionOf(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "plain": "", "Session:a": "", "session:a": "a", "session:a:b": "a:b",
		"session:" + strings.Repeat("x", 128): strings.Repeat("x", 128),
	} {
		if got, err := sessionOf(name); got != want || err != nil {
			t.Errorf("%q asks for %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"session:", "session:a b", "session:\n", "session:é", "session:" + strings.Repeat("x", 129)} {
		if _, err := sessionOf(name); !errors.Is(err, ErrSessionName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestNames tells what a client name brings about, step by step: "name=X" sets
// it, "run" applies what is queued, "down" takes it out, "> ..." is what must be
// queued, anything else is an op.
func TestNames(t *testing.T) {
	for story, steps := range map[string][]string{
		"nothing is sent before the first op":     {"name=session:a", ">", "lock", "> open=session:a/1 attach!=a/2 lock/3"},
		"asked once":                              {"name=session:a", "lock", "fence", "> open=session:a/1 attach!=a/2 lock/3 fence/4", "run", "lock", "> lock/5"},
		"not in front of what needs no session":   {"name=session:a", "config", "> open=session:a/1 config/2", "run", "sessionid", "> attach!=a/3 sessionid/4"},
		"failed: again in front of each later op": {"name=session:bad", "lock", "fence", "run", "fence", "> attach!=bad/5 fence/6", "run", "config", "> config/7", "run", "lock", "> attach!=bad/8 lock/9"},
		"another name detaches":                   {"name=session:a", "lock", "run", "name=b", "> detach/4 describe=b/5", "run", "lock", "> lock/6"},
		"another session":                         {"name=session:a", "lock", "run", "name=session:x", "> detach/4 describe=session:x/5", "lock", "> detach/4 describe=session:x/5 attach!=x/6 lock/7"},
		"another name before the first op":        {"name=session:a", "name=b", "lock", "> open=b/1 lock/2"},
		"another name after a failure":            {"name=session:bad", "lock", "run", "name=b", "> detach/4 describe=b/5", "run", "lock", "> lock/6"},
		"the same name":                           {"name=session:a", "lock", "run", "name=session:a", ">", "lock", "> lock/4"},
		"a name after SESSION ATTACH":             {"attach=x", "run", "name=b", "> describe=b/3"},
		"the name of the session attached to":     {"attach=a", "run", "name=session:a", "> describe=session:a/3", "lock", "> describe=session:a/3 attach!=a/4 lock/5"},
		"SESSION ATTACH takes its place":          {"name=session:a", "attach=x", "lock", "> open=session:a/1 attach!=x/2 lock/3", "run", "lock", "> lock/4"},
		"a SESSION ATTACH that fails does not":    {"name=session:a", "attach=bad", "lock", "run", "lock", "> attach!=a/4 lock/5", "run", "attach=bad", "lock", "> attach=bad/6 lock/7"},
		"another name after one that fails":       {"name=session:a", "attach=bad", "lock", "run", "name=b", "> detach/4 describe=b/5", "run", "lock", "> lock/6"},
		"SESSION DETACH clears it":                {"name=session:a", "lock", "run", "detach", "lock", "> detach/4 lock/5", "run", "name=session:a", "> describe=session:a/6", "lock", "> describe=session:a/6 attach!=a/7 lock/8"},
		"RESET clears it and takes the name":      {"name=session:a", "lock", "run", "reset", "> reset/4", "run", "lock", "> describe/5 lock/6"},
		"a detach that came to nothing":           {"name=session:a", "config", "run", "detach", "lock", "down", ">", "lock", "> attach!=a/3 lock/4"},
		"an attach that came to nothing":          {"name=session:a", "config", "run", "attach=x", "down", ">", "entry", "> attach!=a/3"},
		"a detach after the attachment":           {"name=session:a", "lock", "run", "detach", "down", ">", "lock", "> lock/4", "name=b", "> lock/4 detach/5 describe=b/6"},
		"names do not pile up":                    {"lock", "run", "name=a", "down", "name=b", "down", ">", "lock", "> describe=b/3 lock/4"},
	} {
		t.Run(story, func(t *testing.T) {
			g := newRig(t, Options{})
			c, a := g.open()
			for _, step := range steps {
				name, named := strings.CutPrefix(step, "name=")
				want, checked := strings.CutPrefix(step, ">")
				switch {
				case named:
					if err := c.SetName(name); err != nil || c.Name() != name {
						t.Fatal(c.Name(), err)
					}
				case checked:
					g.proposed(strings.TrimSpace(want))
				case step == "run":
					g.run()
				case step == "down":
					g.down()
				case step == "entry":
					g.table.Deliver(&fsm.Effects{})
				default:
					g.do(c, step)
				}
			}
			if len(a.closed) > 0 {
				t.Fatalf("closed: %v", a.closed)
			}
		})
	}
}

// A client that does nothing but change its name fills no queue, and the machine has
// the last name in the end.
func TestNamesFillNoQueue(t *testing.T) {
	g := newRig(t, Options{})
	c, _ := g.open()
	g.do(c, "lock")
	g.run()
	rename := func() {
		t.Helper()
		for i := range 1000 {
			if err := c.SetName(fmt.Sprint("n", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rename()
	g.proposed("describe=n0/3")
	g.run()
	name := func() string { return g.m.conns[fsm.ConnID(c.id.Load())].name }
	if name() != "n999" {
		t.Fatal("the machine has the name", name())
	}
	// An op is not ahead of the name that was given before it.
	rename()
	g.do(c, "fence")
	g.proposed("describe=n0/5 describe=n999/6 fence/7")
	g.run()
	rename()
	g.down()
	g.proposed("")
	g.do(c, "fence")
	g.run()
	if g.proposed(""); name() != "n999" || c.Outstanding() != 0 {
		t.Fatal("the machine has the name", name())
	}
}

func TestNameRefused(t *testing.T) {
	g := newRig(t, Options{})
	if _, err := g.table.Open("session:", "", &client{}); !errors.Is(err, ErrSessionName) {
		t.Fatal(err)
	}
	c, _ := g.open()
	if err := c.SetName("session:a b"); !errors.Is(err, ErrSessionName) || c.Name() != "" {
		t.Fatal(err, c.Name())
	}
	d, err := g.table.Open("session:a", "", &client{})
	if err != nil {
		t.Fatal(err)
	}
	g.do(d, "lock")
	g.proposed("open=session:a/1 attach!=a/2 lock/3")
	d.Silent(fsm.Op{Code: fsm.OpConfigSet, Name: []byte("n")})
	d.Flush()
	g.run()
	if d.Outstanding() != 0 {
		t.Fatal("outstanding")
	}
}
