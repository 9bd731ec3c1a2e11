package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// event is one fault of a plan.
type event struct {
	at, lasts time.Duration
	what      string
	// node is which one; -1: whoever leads then. other is a second one.
	node, other int
	percent     int // of what was not synced that stays
	loud        bool
	flip        bool // a detail of the fault
	seed        uint64
}

func (e event) String() string {
	on := "leader"
	if e.node >= 0 {
		on = fmt.Sprint("n", e.node+1)
	}
	s := fmt.Sprintf("%s %s for %v", e.what, on, e.lasts)
	switch e.what {
	case "crash", "crash all":
		s += fmt.Sprintf(" keeping %d%%, loud %v", e.percent, e.loud)
	case "one-way cut", "reset", "slow":
		s += fmt.Sprintf(" and n%d", e.other+1)
	case "freeze":
		s += fmt.Sprintf(", suspended %v", e.flip)
	}
	return s
}

// kind is a sort of fault with its weight and how long it lasts.
type kind struct {
	what        string
	weight      int
	least, most time.Duration
	alone       bool // also for a cluster of one
}

var kinds = []kind{
	{"crash", 14, 50 * time.Millisecond, 12 * time.Second, true},
	{"crash all", 3, 50 * time.Millisecond, 8 * time.Second, true},
	{"exit", 5, 50 * time.Millisecond, 5 * time.Second, true},
	{"stop", 4, 50 * time.Millisecond, 5 * time.Second, true},
	{"freeze", 10, 50 * time.Millisecond, 12 * time.Second, true},
	{"disk full", 2, time.Second, 20 * time.Second, true},
	{"disk stalls", 4, 50 * time.Millisecond, 4 * time.Second, true},
	{"isolate", 10, 100 * time.Millisecond, 15 * time.Second, false},
	{"one-way cut", 10, 100 * time.Millisecond, 10 * time.Second, false},
	{"deaf", 4, 100 * time.Millisecond, 8 * time.Second, false},
	{"mute", 4, 100 * time.Millisecond, 8 * time.Second, false},
	{"split", 4, 100 * time.Millisecond, 8 * time.Second, false},
	{"reset", 6, 0, time.Second, false},
	{"slow", 6, time.Second, 20 * time.Second, false},
	{"hand over", 12, 0, time.Second, false},
	{"hand over and die", 3, 50 * time.Millisecond, 3 * time.Second, false},
	{"replace", 4, 0, time.Second, false},
	{"slow disk", 5, time.Second, 15 * time.Second, true},
	{"at an election", 10, 50 * time.Millisecond, 6 * time.Second, false},
	{"several", 5, 100 * time.Millisecond, 8 * time.Second, false},
}

// newPlan draws the faults of a seed.
func newPlan(seed uint64, c *config) []event {
	r := rand.New(rand.NewPCG(seed, 4))
	total := 0
	for _, k := range kinds {
		if k.alone || c.nodes > 1 {
			total += k.weight
		}
	}
	var plan []event
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() * float64(c.calm))
		if at > c.length {
			return plan
		}
		i := r.IntN(total)
		for _, k := range kinds {
			if !k.alone && c.nodes == 1 {
				continue
			}
			if i -= k.weight; i >= 0 {
				continue
			}
			// Most are short, some long: the square of an even draw.
			f := r.Float64()
			plan = append(plan, event{
				at: at.Round(time.Millisecond), lasts: (k.least + time.Duration(f*f*float64(k.most-k.least))).Round(time.Millisecond),
				what: k.what, node: max(r.IntN(2*c.nodes)-c.nodes, -1), other: r.IntN(c.nodes),
				percent: pick(r, 0, 0, 30, 70, 100), loud: r.IntN(2) == 0, flip: r.IntN(3) == 0, seed: r.Uint64(),
			})
			break
		}
	}
}
