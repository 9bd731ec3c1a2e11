package sim

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/harness"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // worlds are small and short-lived
	goleak.VerifyTestMain(m)
}

// What a run of the usual length must bring about at least.
const (
	usualSeeds     = 200 // of make sim, unless told otherwise
	plainSeeds     = 30  // beside the tests of other packages
	raceSeeds      = 3   // under the race detector
	seedLength     = 10 * time.Minute
	lastWords      = 5 * time.Second // Raft does not wait for all of its goroutines, which tests/perturb may hold up
	leastLeaders   = 1000
	leastCrashes   = 500
	leastOperation = 1_000_000
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// TestSim runs many seeds: LOCKTEST_SEEDS of them, from LOCKTEST_FIRST on, or the
// one that LOCKTEST_SEED names, with all that happens in it. With LOCKTEST_TRACE=1
// each writes that down, and those that fail keep it.
func TestSim(t *testing.T) {
	seeds, first := number(t, "LOCKTEST_SEEDS", plainSeeds), number(t, "LOCKTEST_FIRST", 1)
	switch {
	case os.Getenv("LOCKTEST_SEED") != "":
		runSeed(t, uint64(number(t, "LOCKTEST_SEED", 0)), newStats(), true)
		return
	case os.Getenv("LOCKTEST_SEEDS") != "":
	case testing.Short():
		seeds = 4
	case harness.Race:
		seeds = raceSeeds
	}
	began, all := time.Now(), newStats()
	t.Run("seeds", func(t *testing.T) {
		for i := range seeds {
			t.Run(fmt.Sprint(first+i), func(t *testing.T) {
				t.Parallel()
				runSeed(t, uint64(first+i), all, false)
			})
		}
	})
	t.Logf("%d seeds of %v in %v: %v", seeds, seedLength, time.Since(began).Round(time.Second), all)
	if seeds >= usualSeeds && !t.Failed() {
		for what, least := range map[string]int{"leader changes": leastLeaders, "crash restarts": leastCrashes, "operations": leastOperation} {
			if n := all.get(what); n < least {
				t.Errorf("only %d %s, at least %d are wanted", n, what, least)
			}
		}
	}
}

// runSeed runs one seed and judges it.
func runSeed(t *testing.T, seed uint64, all *stats, loud bool) {
	t.Helper()
	conf := newConfig(seed, seedLength)
	runWorld(t, fmt.Sprint("sim-", seed), seed, conf, newPlan(seed, &conf), all, loud)
	if t.Failed() || loud {
		t.Logf("again with: LOCKTEST_SEED=%d go test ./tests/sim -run TestSim -v", seed)
	}
}

// runWorld runs a world with its faults and judges it. Where something is wrong the
// history is kept, and where it is loud all the nodes' logs are.
func runWorld(t *testing.T, name string, seed uint64, conf config, plan []event, all *stats, loud bool) {
	t.Helper()
	began := time.Now()
	show := func(string, ...any) {}
	if loud {
		show = t.Logf
	}
	var trace io.Writer
	if loud || os.Getenv("LOCKTEST_TRACE") != "" {
		trace = traceFile(t, name, loud)
	}
	var w *world
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed, conf)
		if trace != nil {
			w.trace = traceTo(trace, w)
		}
		w.run(plan, show)
		for _, f := range w.faults {
			// Before synctest complains about what such a node leaves; and of the test
			// around, which goes on: what failed in the bubble is not judged.
			t.Error(f)
		}
		time.Sleep(lastWords)
	})
	ran := time.Since(began)
	report := check.Check(w.hist, check.Options{Dir: "../out/" + name, Keep: t.Failed(), Timeout: time.Duration(number(t, "LOCKTEST_CHECK", 60)) * time.Second})
	all.merge(w.stats)
	all.add("ms of running", int(ran.Milliseconds()))
	all.add("ms of checking", int((time.Since(began) - ran).Milliseconds()))
	for _, f := range report.Faults {
		t.Error(f)
	}
	if t.Failed() || loud {
		t.Logf("%v\n%v in %v", w.conf, w.stats, time.Since(began).Round(time.Millisecond))
	}
}

// traceFile is where a world's log goes; unless it is kept, only for as long as the
// test has not failed.
func traceFile(t *testing.T, world string, kept bool) io.Writer {
	t.Helper()
	name := fmt.Sprintf("../out/%s.log", world)
	err := os.MkdirAll("../out", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if kept {
		t.Cleanup(func() { _ = f.Close() })
		t.Log("the nodes' log is in", name)
		return f
	}
	lines := bufio.NewWriter(f)
	t.Cleanup(func() {
		_ = lines.Flush()
		_ = f.Close()
		if !t.Failed() {
			_ = os.Remove(name)
			return
		}
		t.Log("the nodes' log is in", name)
	})
	return lines
}

// traceTo makes a log of everything, in virtual time.
func traceTo(out io.Writer, w *world) slog.Handler {
	return slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("at", w.now().String())
		}
		return a
	}})
}
