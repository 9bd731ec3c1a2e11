// Canaries shows that the tests bite: it switches on one bug at a time (package
// internal/canary), runs the suite that is to catch it, and fails where that
// passes. `make canaries` runs all of them.
//
//	go run ./tests/canaries -only batch_gap,fence_lost
//	go run ./tests/canaries -files internal/canary    (go generate)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "run these canaries only, separated by commas")
	files := flag.String("files", "", "write the files of the build tags into this directory, and run nothing")
	limit := flag.Duration("limit", 3*time.Minute, "end a suite that takes longer; it has not caught anything then")
	all := flag.Bool("all", false, "run the rules' own scenarios too, where another suite is quicker")
	flag.Parse()
	if *all {
		for i := range canaries {
			if c := canaries[i]; c.scenario != (suite{}) {
				canaries = append(canaries, canary{name: c.name, suite: c.scenario})
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *files != "" {
		err = writeFiles(*files)
	} else {
		err = run(ctx, *only, *limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "canaries:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// run prints a line for each canary.
func run(ctx context.Context, only string, limit time.Duration) error {
	all, err := chosen(only)
	if err != nil {
		return err
	}
	// Without a canary the suites pass: else a failure would show nothing.
	for _, s := range suites(all) {
		r := test(ctx, "", s, limit)
		if r.err != nil || r.failed != "" {
			return fmt.Errorf("%s fails without any canary: %s %w\n%s", s.pkg, r.failed, r.err, r.out)
		}
		fmt.Printf("%-24s %-10s passes, as it should       %6.1f s\n", "(none)", s.pkg, r.took.Seconds())
	}
	began := time.Now()
	var missed []string
	for _, c := range all {
		r := test(ctx, "canary_"+c.name, c.suite, limit)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case r.err != nil:
			missed = append(missed, c.name)
			fmt.Printf("%-24s %-10s ERROR: %v\n%s\n", c.name, c.pkg, r.err, r.out)
		case r.failed == "":
			missed = append(missed, c.name)
			fmt.Printf("%-24s %-10s NOT CAUGHT by %s\n", c.name, c.pkg, c.tests)
		default:
			fmt.Printf("%-24s %-10s %-70s %6.1f s\n", c.name, c.pkg, r.failed, r.took.Seconds())
		}
	}
	fmt.Printf("%d canaries, %d caught, %.0f s\n", len(all), len(all)-len(missed), time.Since(began).Seconds())
	if len(missed) > 0 {
		return fmt.Errorf("not caught: %s", strings.Join(missed, ", "))
	}
	return nil
}

func chosen(only string) ([]canary, error) {
	if only == "" {
		return canaries, nil
	}
	var all []canary
	for name := range strings.SplitSeq(only, ",") {
		n := len(all)
		for _, c := range canaries {
			if c.name == name {
				all = append(all, c)
			}
		}
		if len(all) == n {
			return nil, fmt.Errorf("there is no canary %q", name)
		}
	}
	return all, nil
}

// suites returns one suite for each package, with the tests of all its canaries.
func suites(all []canary) []suite {
	var some []suite
	for _, c := range all {
		i := slices.IndexFunc(some, func(s suite) bool { return s.pkg == c.pkg })
		if i < 0 {
			some = append(some, c.suite)
		} else if !slices.Contains(strings.Split(some[i].tests, "|"), c.tests) {
			some[i].tests += "|" + c.tests
		}
	}
	return some
}

// result is what became of one suite.
type result struct {
	failed string // the test that failed, "": none
	took   time.Duration
	out    string
	err    error // it could not be run to its end
}

var (
	failLine = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	badEnd   = regexp.MustCompile(`\[(build|setup) failed\]|panic: test timed out|no tests to run`)
)

// test runs a suite with a build tag.
func test(ctx context.Context, tag string, s suite, limit time.Duration) result {
	args := []string{"test", "-count=1", "-short", "-vet=off", "-ldflags=-s -w", "-timeout", limit.String(), "-run", s.tests}
	if tag != "" {
		args = append(args, "-tags", tag, "-failfast")
	}
	began := time.Now()
	b, err := exec.CommandContext(ctx, "go", append(args, s.pkg)...).CombinedOutput()
	r := result{took: time.Since(began), out: string(b)}
	if end := badEnd.FindString(r.out); end != "" {
		r.err = errors.New(end)
		return r
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		r.err = err
		return r
	}
	for _, m := range failLine.FindAllStringSubmatch(r.out, -1) { // the innermost
		if strings.HasPrefix(m[1], r.failed) {
			r.failed = m[1]
		}
	}
	if err != nil && r.failed == "" {
		r.failed = "(the process of the tests ended)"
	}
	return r
}
