package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// startLimit bounds whatever a cluster needs to come to rest.
const startLimit = time.Minute

// node is one redlockd of a cluster on this machine.
type node struct {
	id, addr, peerAddr, dir string
	reached                 string // where the others reach it
	proc                    *harness.Process
}

// nodes are a cluster on this machine.
type nodes struct {
	bin, dir string
	list     []*node
	initial  string
	args     []string
	wires    *harness.Wires // nil: the nodes reach each other directly

	mu      sync.Mutex
	running map[string]*harness.Process
}

// startNodes starts n nodes with fresh data folders below dir and returns when all serve. With wires, what passes
// between them can be cut; that takes processor time.
func startNodes(bin, dir string, n int, wired bool, args ...string) (_ *nodes, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(dir, "nodes-")
	if err != nil {
		return nil, err
	}
	c := &nodes{bin: bin, dir: root, args: args, running: map[string]*harness.Process{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	if wired {
		if !harness.CanTellPeers {
			return nil, errors.New("cutting the wires between nodes works on Linux only: leave out -faults")
		}
		c.wires = harness.NewWires(c.whose)
	}
	var initial []string
	for i := range n {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		id := fmt.Sprintf("n%d", i+1)
		m := &node{id: id, addr: harness.Loopback(ports[0]), peerAddr: harness.Loopback(ports[1]), dir: filepath.Join(root, id)}
		m.reached = m.peerAddr
		if wired {
			if m.reached, err = c.wires.Add(id, m.peerAddr); err != nil {
				return nil, err
			}
		}
		if err := os.Mkdir(m.dir, 0o755); err != nil {
			return nil, err
		}
		c.list = append(c.list, m)
		initial = append(initial, id+"="+m.reached)
	}
	c.initial = strings.Join(initial, ",")
	for _, m := range c.list {
		if err := c.start(m); err != nil {
			return nil, err
		}
	}
	for _, m := range c.list {
		if err := c.awaitServing(m); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *nodes) whose(accepted net.Conn) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return harness.WhoseEnd(accepted, c.running)
}

func (c *nodes) start(m *node) error {
	args := harness.Flags(m.addr, m.peerAddr, filepath.Join(m.dir, "data"))
	args = append(args, "--node-id", m.id, "--initial-cluster", c.initial, "--peer-advertise", m.reached)
	c.mu.Lock()
	defer c.mu.Unlock()
	proc, err := harness.Spawn(harness.ProcessConfig{
		Path: c.bin, Args: append(args, c.args...), Dir: m.dir, LogFile: filepath.Join(m.dir, "server.log"),
	})
	if err != nil {
		return err
	}
	m.proc, c.running[m.id] = proc, proc
	return nil
}

// awaitServing waits until a node carries out commands.
func (c *nodes) awaitServing(m *node) error {
	why := errors.New("it was not asked")
	if harness.Poll(startLimit, func() bool {
		var v harness.Value
		if v, why = harness.Ask(m.addr, 2*time.Second, "ISLOCKED", "bench:probe"); why == nil && v.Kind != harness.Int {
			why = fmt.Errorf("%v", v)
		}
		return why == nil || !m.proc.Running()
	}) && why == nil {
		return nil
	}
	return fmt.Errorf("node %s does not serve: %w\n%s", m.id, why, m.proc.Log().Tail(20))
}

// seats waits until all nodes agree on a leader and returns it and the others.
func (c *nodes) seats() (leader *node, followers []*node, err error) {
	agree := func() bool {
		leader, followers = nil, nil
		for _, m := range c.list {
			v, err := harness.Ask(m.addr, 2*time.Second, "INFO", "raft")
			if err != nil {
				return false
			}
			if strings.Contains(v.Text, "\nraft_role:leader\r") {
				leader = cmp.Or(leader, m)
			} else {
				followers = append(followers, m)
			}
		}
		return leader != nil && len(followers) == len(c.list)-1
	}
	if !harness.Poll(startLimit, agree) {
		return nil, nil, errors.New("the nodes have no leader")
	}
	return leader, followers, nil
}

// targets are the leader and a follower, to be measured beside each other.
func (c *nodes) targets() ([]*target, error) {
	leader, followers, err := c.seats()
	if err != nil {
		return nil, err
	}
	seat := func(name string, m *node) *target {
		f := redlockdFlavor
		f.name = name
		return &target{flavor: f, addr: m.addr, version: versionOf(m.addr)}
	}
	return []*target{seat("leader", leader), seat("follower", followers[0])}, nil
}

func (c *nodes) stop() error {
	var errs []error
	for _, m := range c.list {
		if m.proc != nil && m.proc.Running() {
			_ = m.proc.Signal(syscall.SIGCONT) // fails only when it has ended
			_ = m.proc.Signal(syscall.SIGTERM)
		}
	}
	for _, m := range c.list {
		if m.proc == nil {
			continue
		}
		if err := m.proc.Wait(30 * time.Second); err != nil {
			m.proc.Kill()
			errs = append(errs, fmt.Errorf("node %s: %w; killed", m.id, err))
		}
	}
	if c.wires != nil {
		errs = append(errs, c.wires.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// nodesReport measures a cluster: cycles on the leader and on a follower, hand-offs between followers, faults.
func nodesReport(ctx context.Context, o *options, r *report, out, progress printer) error {
	c, err := startNodes(o.bin, o.dir, o.nodes, false)
	if err != nil {
		return err
	}
	err = c.measure(ctx, o, r, out, progress)
	if err = errors.Join(err, c.stop()); err != nil || o.faults == 0 {
		return err
	}
	if r.Faults, err = measureFaults(ctx, o, progress); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return printFaults(out, r.Faults)
}

func (c *nodes) measure(ctx context.Context, o *options, r *report, out, progress printer) error {
	targets, err := c.targets()
	if err != nil {
		return err
	}
	r.Versions["redlockd"] = targets[0].version
	fmt.Fprintf(out, "redlockd %s, %d nodes on one machine\n%s; medians of %d rounds of %g s\n\n", targets[0].version, o.nodes, r.Machine, o.rounds, o.seconds)
	if o.cycles {
		cells, err := matrix(ctx, o, targets, progress)
		if err != nil {
			return err
		}
		for _, cell := range cells {
			for _, t := range targets {
				r.Samples = append(r.Samples, cell.samples[t.flavor.name]...)
			}
		}
		if err := printCells(out, cells, "leader", "follower"); err != nil {
			return err
		}
		if now, _, err := c.seats(); err != nil || now.addr != targets[0].addr {
			fmt.Fprintln(out, "the leader changed meanwhile: the columns are mixed")
		}
	}
	if o.handOffs > 0 {
		if r.Passes, err = c.passes(o.handOffs); err != nil {
			return err
		}
		fmt.Fprintln(out)
		return printPasses(out, r.Passes)
	}
	return nil
}
