package fsm_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

var (
	seedFlag  = flag.Uint64("fsm.seed", 0, "run this one seed of TestRandom and print its trace (0: all)")
	seedsFlag = flag.Int("fsm.seeds", 200, "how many seeds TestRandom runs")
	stepsFlag = flag.Int("fsm.steps", 500, "how many steps each seed has")
)

// TestRandom runs random programs on two machines and the reference model. One
// that fails is cut down to few steps and printed with its seed:
//
//	go test ./fsm -run TestRandom -fsm.seed 17
func TestRandom(t *testing.T) {
	seeds, steps := *seedsFlag, *stepsFlag
	if testing.Short() {
		seeds = min(seeds, 20)
	}
	if *seedFlag != 0 {
		runSeed(t, *seedFlag, steps)
		return
	}
	seen := map[fsm.Code]int{}
	for i := range seeds {
		codes := runSeed(t, uint64(i)+1, steps)
		if t.Failed() {
			return
		}
		for c, n := range codes {
			seen[c] += n
		}
	}
	for _, c := range []fsm.Code{
		fsm.CodeOK, fsm.CodeNotOwner, fsm.CodeLockLost, fsm.CodeLockLimit, fsm.CodeCancelled, fsm.CodeDeadlock, fsm.CodeDestroyed,
		fsm.CodeNoSession, fsm.CodeLimit, fsm.CodeErr,
	} {
		if seen[c] == 0 && steps >= 100 {
			t.Errorf("no program had an answer %s: they test too little", codeNames[c])
		}
	}
	t.Logf("answers: %v", seen)
}

// runSeed returns how often each code was answered.
func runSeed(t *testing.T, seed uint64, steps int) map[fsm.Code]int {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	data := make([]byte, steps*stepSize)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	p, err := tryProgram(data)
	if err != nil {
		data = shrink(data)
		q, short := tryProgram(data)
		t.Errorf("seed %d (-fsm.seed %d -fsm.steps %d): %v\ncut down to %d steps: %v\n%s", seed, seed, steps, err, len(data)/stepSize, short, strings.Join(q.trace, "\n"))
	}
	return p.codes
}

// tryProgram runs a program; a panic is an error like any other.
func tryProgram(data []byte) (p *program, err error) {
	p = newProgram(5)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return p, p.run(data)
}

// shrink leaves out steps, and clears what is left of them, as long as the program
// still fails; after 20 s it is content with what it has.
func shrink(data []byte) []byte {
	until := time.Now().Add(20 * time.Second)
	fails := func(d []byte) bool {
		_, err := tryProgram(d)
		return err != nil
	}
	for n := len(data) / stepSize / 2; n >= 1 && time.Now().Before(until); {
		before := len(data)
		for at := 0; at+n*stepSize <= len(data) && time.Now().Before(until); {
			if less := append(append([]byte{}, data[:at]...), data[at+n*stepSize:]...); fails(less) {
				data = less
				continue
			}
			at += n * stepSize
		}
		if n > 1 || len(data) == before {
			n /= 2
		}
	}
	for i := range data {
		if old := data[i]; old != 0 && time.Now().Before(until) {
			if data[i] = 0; !fails(data) {
				data[i] = old
			}
		}
	}
	return data
}
