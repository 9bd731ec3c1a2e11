package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	seconds, warmup   float64
	rounds            int
	conns, pipeline   []int
	addr, bin, dir    string
	redis, redlockd   bool
	cycles            bool
	memory, contended bool
	json              string
	// nodes of one cluster; hand-offs between them and faults of each kind are measured with more than one.
	nodes, handOffs, faults int
}

func (o *options) length() time.Duration { return time.Duration(o.seconds * float64(time.Second)) }
func (o *options) warm() time.Duration   { return time.Duration(o.warmup * float64(time.Second)) }

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{conns: []int{1, 16, 64, 256}, pipeline: []int{1, 16}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Float64Var(&o.seconds, "seconds", 3, "measured `seconds` of each run")
	f.Float64Var(&o.warmup, "warmup", 1, "`seconds` before that, not measured")
	f.IntVar(&o.rounds, "rounds", 3, "how often each server runs each cell; the table has the medians")
	f.Func("conns", "numbers of connections, by comma (default 1,16,64,256)", numbers(&o.conns))
	f.Func("pipeline", "cycles in flight on each connection, by comma (default 1,16)", numbers(&o.pipeline))
	f.StringVar(&o.addr, "addr", "", "measure the redlockd at this `host:port` and start none; without redis")
	f.StringVar(&o.bin, "bin", "", "a redlockd `binary`; default: build ./cmd/redlockd")
	f.StringVar(&o.dir, "dir", "", "`folder` for the data of both servers (default tests/out)")
	f.BoolVar(&o.redis, "redis", true, "measure redis-server as well")
	f.BoolVar(&o.redlockd, "redlockd", true, "measure redlockd")
	f.BoolVar(&o.cycles, "cycles", true, "measure lock cycles")
	f.BoolVar(&o.memory, "memory", false, "measure resident memory")
	f.BoolVar(&o.contended, "contended", false, "measure hand-offs of one lock that all connections want")
	f.IntVar(&o.nodes, "nodes", 1, "measure a cluster of so many `nodes` on this machine, 3 or 5, without redis")
	f.IntVar(&o.handOffs, "handoffs", 1000, "with -nodes: how many `times` a lock is passed between clients of each two nodes; 0: not at all")
	f.IntVar(&o.faults, "faults", 0, "with -nodes: measure the time without service of so many `faults` of each kind")
	f.StringVar(&o.json, "json", "", "write every run to this `file` as JSON; - for standard output")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no flag", f.Arg(0))
	case o.rounds < 1 || o.seconds <= 0 || o.warmup < 0:
		return nil, errors.New("-rounds must be at least 1, -seconds more than 0, -warmup not less than 0")
	case o.addr != "" && o.memory:
		return nil, errors.New("-memory starts its own servers: it cannot measure -addr")
	}
	switch {
	case o.nodes != 1 && o.nodes != 3 && o.nodes != 5:
		return nil, errors.New("-nodes must be 1, 3 or 5")
	case o.handOffs < 0 || o.faults < 0 || o.faults > 0 && o.nodes == 1:
		return nil, errors.New("-handoffs and -faults must not be less than 0, and -faults needs -nodes 3 or 5")
	case o.nodes > 1 && (o.addr != "" || o.memory || o.contended || !o.redlockd):
		return nil, errors.New("-nodes starts a cluster of its own: leave out -addr, -memory, -contended and -redlockd")
	}
	if o.addr != "" || o.nodes > 1 {
		o.redis = false
	}
	if o.dir == "" {
		dir, err := harness.OutDir()
		if err != nil {
			return nil, err
		}
		o.dir = dir
	}
	return o, nil
}

// numbers reads a list like 1,16,64.
func numbers(to *[]int) func(string) error {
	return func(text string) error {
		*to = nil
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(part))
			if err != nil || n < 1 || n > 100_000 {
				return fmt.Errorf("%q is not a number from 1 to 100000", part)
			}
			*to = append(*to, n)
		}
		return nil
	}
}

// report is all that a run found out.
type report struct {
	Time     time.Time         `json:"time"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Seconds  float64           `json:"seconds_of_a_run"`
	Samples  []sample          `json:"cycles"`
	HandOffs []handOffs        `json:"contended,omitempty"`
	Memory   []memoryFigure    `json:"memory,omitempty"`
	Passes   []pass            `json:"passes,omitempty"`
	Faults   []outage          `json:"faults,omitempty"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r := &report{
		Time: time.Now().UTC(), Seconds: o.seconds, Versions: map[string]string{},
		Machine: fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
	if o.redlockd && o.addr == "" && o.bin == "" {
		folder, err := os.MkdirTemp("", "redlockd-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		if o.bin, err = harness.Build(ctx, folder, false); err != nil {
			return err
		}
	}
	if o.nodes > 1 {
		if err := nodesReport(ctx, o, r, stdout, stderr); err != nil {
			return err
		}
		return r.write(o.json, stdout)
	}
	if err := servers(ctx, o, r, stdout, stderr); err != nil {
		return err
	}
	if o.memory && o.redlockd {
		if r.Memory, err = memory(ctx, o.bin, o.dir, stderr); err != nil {
			return err
		}
		fmt.Fprintln(stdout)
		if err := printMemory(stdout, r.Memory); err != nil {
			return err
		}
	}
	return r.write(o.json, stdout)
}

// servers runs what needs running servers.
func servers(ctx context.Context, o *options, r *report, stdout, stderr io.Writer) (err error) {
	if !o.cycles && !o.contended {
		return nil
	}
	targets, err := start(ctx, o)
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, t.stop())
		}
	}()
	if err != nil {
		return err
	}
	for _, t := range targets {
		r.Versions[t.flavor.name] = t.version
		fmt.Fprintf(stdout, "%s %s\n", t.flavor.name, t.version)
	}
	fmt.Fprintf(stdout, "%s; medians of %d rounds of %g s\n\n", r.Machine, o.rounds, o.seconds)
	if o.cycles {
		cells, err := matrix(ctx, o, targets, stderr)
		if err != nil {
			return err
		}
		for _, c := range cells {
			for _, t := range targets {
				r.Samples = append(r.Samples, c.samples[t.flavor.name]...)
			}
		}
		if err := printCells(stdout, cells, "redlockd", "redis"); err != nil {
			return err
		}
	}
	if o.contended && o.redlockd {
		return contendAll(o, r, targets[0].addr, stdout)
	}
	return nil
}

func contendAll(o *options, r *report, addr string, stdout io.Writer) error {
	for _, conns := range o.conns {
		if conns < 2 {
			continue // nobody to hand it to
		}
		for round := range o.rounds {
			h, err := contend(addr, conns, o.warm(), o.length())
			if err != nil {
				return fmt.Errorf("contended, %d connections: %w", conns, err)
			}
			h.Round = round + 1
			r.HandOffs = append(r.HandOffs, h)
		}
	}
	fmt.Fprintln(stdout)
	return printHandOffs(stdout, r.HandOffs)
}

// start starts the servers that are asked for, redlockd first. On an error it returns those that run.
func start(ctx context.Context, o *options) ([]*target, error) {
	var targets []*target
	switch {
	case o.addr != "":
		targets = append(targets, &target{flavor: redlockdFlavor, addr: o.addr, version: versionOf(o.addr)})
	case o.redlockd:
		t, err := startRedlockd(ctx, o.bin, o.dir)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	if o.redis && o.cycles { // it has no lock that hands itself on
		t, err := startRedis(ctx, o.dir)
		if err != nil {
			return targets, err
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, errors.New("nothing to measure: both servers are off, or redis alone without -cycles")
	}
	return targets, nil
}

func (r *report) write(path string, stdout io.Writer) error {
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if path == "-" {
		_, err = stdout.Write(b)
		return err
	}
	return os.WriteFile(filepath.Clean(path), b, 0o644)
}
