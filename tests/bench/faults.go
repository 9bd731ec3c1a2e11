package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// outage is the time without service of all faults of a kind, in milliseconds. It is the longest time between two
// answers that a client of a node which the fault did not befall had around it; of all such nodes the longest.
type outage struct {
	Kind string    `json:"kind"`
	Gaps []float64 `json:"gaps_ms"`
	// Lost connections of clients of nodes that the fault did not befall: there must be none.
	Lost int `json:"connections_lost"`
}

// faultKind befalls a node and takes itself back.
type faultKind struct {
	name   string
	leader bool
	hit    func(c *nodes, m *node) error
	back   func(c *nodes, m *node) error
}

func send(s syscall.Signal) func(*nodes, *node) error {
	return func(_ *nodes, m *node) error { return m.proc.Signal(s) }
}

func restart(c *nodes, m *node) error {
	if err := m.proc.Wait(startLimit); err != nil {
		return err
	}
	return c.start(m)
}

func isolate(c *nodes, m *node) error {
	c.wires.Isolate(m.id)
	return nil
}

func heal(c *nodes, _ *node) error {
	c.wires.Heal()
	return nil
}

func faultKinds() []faultKind {
	var kinds []faultKind
	for _, leader := range []bool{true, false} {
		seat := "follower "
		if leader {
			seat = "leader "
		}
		kinds = append(
			kinds,
			faultKind{seat + "killed", leader, send(syscall.SIGKILL), restart},
			faultKind{seat + "frozen", leader, send(syscall.SIGSTOP), send(syscall.SIGCONT)},
			faultKind{seat + "stopped", leader, send(syscall.SIGTERM), restart},
			faultKind{seat + "cut off", leader, isolate, heal},
		)
	}
	return kinds
}

// measureFaults befalls a cluster of its own with faults of each kind in turn.
func measureFaults(ctx context.Context, o *options, progress io.Writer) (_ []outage, err error) {
	c, err := startNodes(o.bin, o.dir, o.nodes, true, "--request-timeout", "50s")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	kinds := faultKinds()
	all := make([]outage, len(kinds))
	for round := range o.faults {
		for i, kind := range kinds {
			if err := ctx.Err(); err != nil {
				return all, err
			}
			gap, lost, err := c.befall(kind)
			if err != nil {
				return all, fmt.Errorf("%s: %w", kind.name, err)
			}
			all[i].Kind = kind.name
			all[i].Gaps = append(all[i].Gaps, float64(gap.Microseconds())/1000)
			all[i].Lost += lost
			fmt.Fprintf(progress, "fault %d/%d: %-16s %6.0f ms without service\n", round+1, o.faults, kind.name, float64(gap.Microseconds())/1000)
		}
	}
	return all, nil
}

// befall measures one fault: from rest to rest.
func (c *nodes) befall(kind faultKind) (gap time.Duration, lost int, err error) {
	leader, followers, err := c.seats()
	if err != nil {
		return 0, 0, err
	}
	victim, probed := leader, followers
	if !kind.leader {
		victim, probed = followers[0], append([]*node{leader}, followers[1:]...)
	}
	var probes []*probe
	defer func() {
		for _, p := range probes {
			p.stop()
		}
	}()
	for _, m := range probed {
		p, err := newProbe(m.addr, "bench:probe:"+m.id)
		if err != nil {
			return 0, 0, err
		}
		probes = append(probes, p)
	}
	if !awaitAll(probes, 20) {
		return 0, 0, errors.New("there is no service before the fault")
	}
	if err := kind.hit(c, victim); err != nil {
		return 0, 0, err
	}
	if !awaitAll(probes, 200) {
		return 0, 0, fmt.Errorf("there is no service %v after the fault", startLimit)
	}
	for _, p := range probes {
		longest, broke := p.stop()
		gap, lost = max(gap, longest), lost+broke
	}
	probes = nil
	if err := kind.back(c, victim); err != nil {
		return 0, 0, err
	}
	return gap, lost, c.awaitServing(victim)
}

// probe is a client that locks and unlocks without a pause and notes the longest time without an answer.
type probe struct {
	conn    *harness.Conn
	over    chan struct{}
	done    sync.WaitGroup
	mu      sync.Mutex
	answers int
	longest time.Duration
	broke   int
}

func newProbe(addr, key string) (*probe, error) {
	conn, err := harness.Dial(addr)
	if err != nil {
		return nil, err
	}
	p := &probe{conn: conn, over: make(chan struct{})}
	p.done.Go(func() { p.run(addr, key) })
	return p, nil
}

func (p *probe) run(addr, key string) {
	last := time.Now()
	for {
		for _, word := range []string{"LOCK", "UNLOCK"} {
			v, err := p.conn.Do(word, key)
			select {
			case <-p.over:
				return
			default:
			}
			now := time.Now()
			p.mu.Lock()
			if err == nil && v.Kind == harness.Int {
				p.longest = max(p.longest, now.Sub(last))
				p.answers++
				last = now
			} else {
				p.broke++
			}
			p.mu.Unlock()
			if err == nil && v.Kind == harness.Int {
				continue
			}
			_ = p.conn.Close() // it may be open yet: UNCERTAIN
			conn, err := harness.DialWithin(addr, startLimit)
			if err != nil {
				return // told by the answers that do not come
			}
			p.conn = conn
			break
		}
	}
}

func (p *probe) stop() (longest time.Duration, broke int) {
	select {
	case <-p.over:
	default:
		close(p.over)
	}
	p.done.Wait() // for the answer that is under way
	_ = p.conn.Close()
	return p.longest, p.broke
}

// awaitAll waits until each probe has had so many more answers.
func awaitAll(probes []*probe, more int) bool {
	from := make([]int, len(probes))
	count := func(i int) int {
		probes[i].mu.Lock()
		defer probes[i].mu.Unlock()
		return probes[i].answers
	}
	for i := range probes {
		from[i] = count(i)
	}
	return harness.Poll(startLimit, func() bool {
		for i := range probes {
			if count(i) < from[i]+more {
				return false
			}
		}
		return true
	})
}

func printFaults(w io.Writer, all []outage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "time without service\tfaults\tleast ms\tmedian ms\tmost ms\tconnections lost elsewhere\t")
	for _, o := range all {
		if len(o.Gaps) == 0 {
			continue
		}
		gaps := slices.Sorted(slices.Values(o.Gaps))
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t%d\t\n", o.Kind, len(gaps), gaps[0], gaps[(len(gaps)-1)/2], gaps[len(gaps)-1], o.Lost)
	}
	return t.Flush()
}
