package fault

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/redlockd/redlockd/tests/fault/inject"
	"github.com/redlockd/redlockd/tests/harness"
)

// hour is how far a clock is set.
const hour = 3600

// faultKind is one way in which things go wrong. do befalls a node and ends when it is over; in between, all clients of
// the nodes that nothing happened to must go on.
type faultKind struct {
	name string
	do   func(r *run, n *harness.Node)
}

var faultKinds = []faultKind{
	{"kill", (*run).kill},
	{"power cut", (*run).powerCut},
	{"power cut of all", (*run).powerCutOfAll},
	{"freeze", (*run).freeze},
	{"cut", (*run).cut},
	{"cut of what it sends", (*run).cutSending},
	{"cut of what it hears", (*run).cutHearing},
	{"slow link", (*run).slowLink},
	{"disk full", (*run).diskFull},
	{"disk nearly full", (*run).diskNearlyFull},
	{"clock an hour ahead and back", (*run).clock},
	{"rolling restart", (*run).rolling},
	{"join and leave", (*run).joinAndLeave},
}

// others are the nodes that stay, but one, as far as they run.
func (r *run) others(n *harness.Node) []*harness.Node {
	var others []*harness.Node
	for _, o := range r.load.nodes {
		if o != n && o.IsUp() {
			others = append(others, o)
		}
	}
	return others
}

// without has the others live without a node: they serve again soon, and their clients go on.
func (r *run) without(n *harness.Node, since time.Time) {
	others := r.others(n)
	r.serves("without "+n.ID, since, others...)
	r.load.progress(others...)
}

// back says that a node is back since a moment: all serve soon, and all clients go on.
func (r *run) back(n *harness.Node, since time.Time) {
	r.serves(n.ID+" is back", since, r.load.nodes...)
	r.load.healed(n)
	r.load.progress()
}

// down is how long a node is away: half of the times for longer than session-timeout.
func (r *run) down() time.Duration {
	if r.random.IntN(2) == 0 {
		return sessionTimeout + sessionTimeout/2
	}
	return time.Duration(r.random.Int64N(int64(sessionTimeout / 2)))
}

func (r *run) kill(n *harness.Node) { r.away(n, func() {}) }

// powerCut takes from a killed node's WAL what had not been synced.
func (r *run) powerCut(n *harness.Node) {
	r.away(n, func() { r.cutPower(n) })
}

func (r *run) cutPower(n *harness.Node) {
	lost, err := r.pages[n].CutPower(filepath.Join(n.Data(), "db"))
	if err != nil {
		r.t.Fatalf("cutting the unsynced tail of %s: %v", n.ID, err)
	}
	r.lost += lost
}

// powerCutOfAll takes the power from all nodes at once: what was answered must be on the disks of a majority.
func (r *run) powerCutOfAll(*harness.Node) {
	for _, n := range r.load.nodes {
		r.load.hurts(n, 0)
	}
	for _, n := range r.load.nodes {
		n.Kill()
	}
	for _, n := range r.load.nodes {
		r.cutPower(n)
	}
	began := time.Now()
	for _, n := range r.load.nodes {
		n.Launch()
	}
	r.serves("all are back", began, r.load.nodes...)
	for _, n := range r.load.nodes {
		r.load.healed(n)
	}
	r.load.progress()
}

// away kills a node and starts it again after a while.
func (r *run) away(n *harness.Node, meanwhile func()) {
	down := r.down()
	r.load.hurts(n, min(down, sessionTimeout/2))
	began := time.Now()
	n.Kill()
	meanwhile()
	r.without(n, began)
	r.until(began.Add(down))
	began = time.Now()
	n.Launch()
	r.back(n, began)
}

// freeze stops a node's process for longer than session-timeout.
func (r *run) freeze(n *harness.Node) {
	r.load.hurts(n, sessionTimeout/2)
	began := time.Now()
	n.Pause()
	r.without(n, began)
	r.until(began.Add(sessionTimeout + sessionTimeout/2))
	began = time.Now()
	n.Continue()
	r.back(n, began)
}

func (r *run) cut(n *harness.Node) { r.cutOff(n, func() { r.c.Wires.Isolate(n.ID) }) }

func (r *run) cutSending(n *harness.Node) {
	r.cutOff(n, func() {
		for _, o := range r.others(n) {
			r.c.Wires.CutOneWay(n.ID, o.ID)
		}
	})
}

func (r *run) cutHearing(n *harness.Node) {
	r.cutOff(n, func() {
		for _, o := range r.others(n) {
			r.c.Wires.CutOneWay(o.ID, n.ID)
		}
	})
}

func (r *run) cutOff(n *harness.Node, cut func()) {
	down := r.down()
	r.load.hurts(n, min(down, sessionTimeout/2))
	began := time.Now()
	cut()
	r.without(n, began)
	r.until(began.Add(down))
	began = time.Now()
	r.c.Wires.Heal()
	r.back(n, began)
}

// slowLink lets what a node sends and hears arrive late. Nobody loses anything.
func (r *run) slowLink(n *harness.Node) {
	began := time.Now()
	for _, o := range r.others(n) {
		late := time.Duration(20+r.random.IntN(80)) * time.Millisecond
		r.c.Wires.Delay(n.ID, o.ID, late)
		r.c.Wires.Delay(o.ID, n.ID, late)
	}
	r.serves("slow", began, r.load.nodes...)
	r.load.progress()
	r.until(began.Add(sessionTimeout))
	began = time.Now()
	r.c.Wires.Heal()
	r.back(n, began)
}

// diskFull lets a node's writes fail. It ends rather than to go on without them, and starts again when there is space.
func (r *run) diskFull(n *harness.Node) {
	r.load.hurts(n, 0)
	began := time.Now()
	r.pages[n].SetDisk(inject.DiskFull)
	harness.Until(r.t, n.ID+" ends, for its disk is full", func() bool { return !n.IsRunning() })
	n.AwaitEnd(75)
	r.without(n, began)
	r.pages[n].SetDisk(inject.DiskFine)
	began = time.Now()
	n.Launch()
	r.back(n, began)
}

// diskNearlyFull lets a node tell of little free space. The whole cluster takes in no new locks then, and releases are
// still accepted.
func (r *run) diskNearlyFull(n *harness.Node) {
	other := r.others(n)[0].Client()
	other.Int("LOCK before")
	r.pages[n].SetDisk(inject.DiskNearlyFull)
	harness.Until(r.t, "new locks are refused", func() bool {
		v := other.Line("TRYLOCK after")
		if v.Code() == "" {
			other.Line("UNLOCK after")
		}
		return v.Code() == "LIMIT"
	})
	other.Want("UNLOCK before", ":0")
	r.load.progress()
	began := time.Now()
	r.pages[n].SetDisk(inject.DiskFine)
	r.back(n, began)
	other.Close()
}

// clock sets a node's wall clock an hour ahead, and back again: nothing may come of it.
func (r *run) clock(n *harness.Node) {
	for _, step := range []int64{hour, 0} {
		began := time.Now()
		r.pages[n].StepClock(step)
		seen, err := harness.Ask(n.Addr(), harness.Patience, "TIME")
		if err != nil || len(seen.Items) != 2 {
			r.t.Fatalf("TIME: %v, %v", seen, err)
		}
		var is int64
		if _, err := fmt.Sscan(seen.Items[0].Text, &is); err != nil || max(is-began.Unix()-step, began.Unix()+step-is) > 120 {
			r.t.Errorf("the clock of %s stands at %v and should be %d s ahead: the fault does not act", n.ID, seen, step)
		}
		r.serves("clock", began, r.load.nodes...)
		r.load.progress()
		r.until(began.Add(sessionTimeout / 2))
	}
}

// rolling stops and starts one node after the other.
func (r *run) rolling(*harness.Node) {
	for _, n := range r.load.nodes {
		r.load.hurts(n, 0)
		began := time.Now()
		if code := n.Stop(); code != 0 {
			r.t.Errorf("%s: exit code %d after SIGTERM, want 0", n.ID, code)
		}
		r.without(n, began)
		began = time.Now()
		n.Launch()
		r.back(n, began)
	}
}

// joinAndLeave has a fourth node join, serve and leave.
func (r *run) joinAndLeave(n *harness.Node) {
	fourth := r.c.Add(n)
	r.arm(fourth)
	began := time.Now()
	fourth.Launch()
	r.serves("joining", began, r.load.nodes...)
	r.votes(4) // once it has caught up with all that there is
	r.serves("joined", time.Now(), append(r.others(nil), fourth)...)
	r.load.progress()
	began = time.Now()
	if v := r.leader().Client().Line("CLUSTER FORGET " + fourth.ID); v.String() != "+OK" {
		// It leads, or the leader has just changed: a command that must be repeated elsewhere.
		harness.Until(r.t, fourth.ID+" is removed", func() bool {
			other := r.load.nodes[0]
			if r.leader() == fourth {
				other.Client().Line("CLUSTER FAILOVER " + other.ID)
			}
			v := other.Client().Line("CLUSTER FORGET " + fourth.ID)
			return v.String() == "+OK" || !fourth.IsRunning()
		})
	}
	harness.Until(r.t, fourth.ID+" has ended", func() bool { return !fourth.IsRunning() })
	fourth.AwaitEnd(75)
	r.votes(3)
	r.serves("left", began, r.load.nodes...)
	r.load.progress()
}
