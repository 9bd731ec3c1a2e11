package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/fault/inject"
	"github.com/redlockd/redlockd/tests/harness"
)

const (
	sessionTimeout = 4 * time.Second
	// sessionsOutlive is what sessions surely outlive without a leader: session-timeout less 5 % and a keepalive period,
	// and some for a busy machine.
	sessionsOutlive = sessionTimeout*95/100 - sessionTimeout/3 - 300*time.Millisecond
	// recoverLimit is how long after a fault, or after its end, each live node of a majority has answered a LOCK again.
	recoverLimit = 5 * time.Second
	// roundTime is how long one history lasts: a longer run is judged piece by piece.
	roundTime = 5 * time.Minute

	leastAnswered = 30_000 // in the two minutes of the short form
)

// leastFaults is each kind once, however long that takes.
var leastFaults = len(faultKinds)

// run is one run of the schedule.
type run struct {
	t      *testing.T
	c      *harness.Cluster
	load   *load
	pages  map[*harness.Node]*inject.Page
	random *rand.Rand

	faults    int
	recovered []time.Duration
	tallies   map[string]*tally // by kind
	answered  int64
	hashes    int   // states of nodes that were compared
	lost      int64 // bytes of WAL that were cut off
	fence     int64 // the highest of the rounds before
}

// TestFaults befalls a cluster of three with one fault after the other, all kinds in turn and in random order, under a
// load whose clients note all they are told.
func TestFaults(t *testing.T) {
	useFaultyServer(t)
	r := &run{t: t, pages: map[*harness.Node]*inject.Page{}, random: seeded(t), tallies: map[string]*tally{}}
	r.c = harness.PrepareCluster(t, 3,
		"--session-timeout", sessionTimeout.String(), "--request-timeout", "20s")
	for _, n := range r.c.Nodes() {
		r.arm(n)
	}
	r.c.StartAll()
	for _, n := range r.c.Nodes() { // the first incarnations were registered under the default session-timeout
		harness.Until(t, "session-timeout is in force", func() bool {
			return n.InfoField("sessions", "session_timeout_ms") == fmt.Sprint(sessionTimeout.Milliseconds())
		})
		n.Restart()
	}
	total := minutes(t)
	end := time.Now().Add(total)
	var queue []faultKind
	for round := 1; !t.Failed() && (time.Now().Before(end) || r.faults < leastFaults); round++ {
		queue = r.round(round, end, queue)
	}
	r.tell(total)
}

// round runs one load, for at most roundTime, with the faults that are left of the last one before others.
func (r *run) round(number int, end time.Time, queue []faultKind) []faultKind {
	began := time.Now()
	r.load = newLoad(r.t, r.c, sessionTimeout, r.random)
	r.load.nodes, r.load.round = r.c.Nodes()[:3], number
	if r.fence > 0 { // fences rise from round to round, too
		r.load.h.Begin("an earlier round", check.Acquire, "earlier").Done(r.fence)
	}
	judged := false
	defer func() {
		if !judged { // something has ended the test: what the clients were told may tell why
			for _, n := range r.c.Up() {
				_ = n.Process().Signal(syscall.SIGQUIT) // what it was at is in its log then
			}
			r.load.over.Store(true)
			r.load.running.Wait()
			r.load.recovered()
			r.t.Logf("round %d: %v", number, check.Check(r.load.h, check.Options{Dir: r.folder(number)}))
		}
	}()
	r.load.start(4, 2, 1)
	for !r.load.failed() && !r.t.Failed() && time.Since(began) < roundTime && (time.Now().Before(end) || r.faults < leastFaults) {
		if len(queue) == 0 {
			queue = slices.DeleteFunc(slices.Clone(faultKinds), func(k faultKind) bool {
				return !strings.Contains(k.name, os.Getenv("LOCKTEST_FAULT"))
			})
			if len(queue) == 0 {
				r.t.Fatalf("LOCKTEST_FAULT=%q names no fault", os.Getenv("LOCKTEST_FAULT"))
			}
			r.random.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
		}
		kind := queue[0]
		queue = queue[1:]
		r.befall(kind)
	}
	report := r.load.finish(r.folder(number))
	judged = true
	r.answered += r.load.answered.Load()
	r.hashes += report.Hashes
	if v, err := harness.Ask(r.load.nodes[0].Addr(), harness.Patience, "LOCK", "between-rounds"); err == nil {
		r.fence = v.Int
	}
	r.t.Logf("round %d: %v; %d times without a leader for longer than sessions need to live, %d times without a processor", number, report, r.load.gaps, len(r.load.hiccups))
	for _, f := range report.Faults {
		r.t.Error(f)
	}
	if len(report.Files) > 0 {
		r.t.Errorf("the history and the drawings are kept in %s", filepath.Dir(report.Files[0]))
	}
	return queue
}

// befall has one fault happen to some node, each second time to the leader.
func (r *run) befall(kind faultKind) {
	n := r.load.nodes[r.random.IntN(3)]
	leader := r.leader()
	if r.random.IntN(2) == 0 && slices.Contains(r.load.nodes, leader) {
		n = leader
	}
	began, before, counts := time.Now(), len(r.recovered), r.load.counts()
	defer func() { // also when it ends the test
		r.t.Logf("%-28s %s, leader %-5v  %5.1f s, served again after %v", kind.name, n.ID, n == leader,
			time.Since(began).Seconds(), r.recovered[before:])
	}()
	kind.do(r, n)
	r.load.recovered()
	r.faults++
	r.count(kind.name, r.recovered[before:], r.load.counts().less(counts))
}

// tell asserts the figures of the whole run and logs them.
func (r *run) tell(total time.Duration) {
	r.t.Logf("%v of faults, %d answered requests in all, %d unsynced bytes cut off\n%s", total, r.answered, r.lost, r.table())
	if r.faults < leastFaults {
		r.t.Errorf("%d faults, want at least %d", r.faults, leastFaults)
	}
	for _, n := range r.c.Nodes()[:3] {
		if info, err := n.Info("raft"); err != nil || info["log_first_index"] == "1" {
			r.t.Errorf("%s: %v: its log begins with entry %s and was never cut: the run says nothing about snapshots", n.ID, err, info["log_first_index"])
		}
	}
	if r.hashes == 0 {
		r.t.Error("no two nodes told the state hash of the same entry: the run says nothing about equal states")
	}
	if r.answered < leastAnswered {
		r.t.Errorf("%d answered requests, want at least %d: the run says too little", r.answered, leastAnswered)
	}
}

// arm gives a node a page of faults; before it is started.
func (r *run) arm(n *harness.Node) {
	r.t.Helper()
	page, err := inject.OpenPage(filepath.Join(r.t.TempDir(), n.ID+".page"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.pages[n] = page
	r.t.Cleanup(func() {
		if err := page.Close(); err != nil {
			r.t.Error(err)
		}
	})
	n.SetEnv(inject.Env + "=" + page.Path())
}

// leader is the present one. It may change at any time.
func (r *run) leader() *harness.Node {
	r.t.Helper()
	return r.c.Leader()
}

// votes waits until every node counts so many voters.
func (r *run) votes(n int) {
	r.t.Helper()
	harness.Until(r.t, fmt.Sprintf("%d nodes vote", n), func() bool {
		for _, node := range r.c.Up() {
			if info, err := node.Info("raft"); err != nil || info["nodes"] != strconv.Itoa(n) {
				return false
			}
		}
		return true
	})
}

// until waits for a moment: a fault lasts for some time.
func (r *run) until(at time.Time) {
	harness.Poll(time.Until(at), r.load.failed)
}

// serves waits until each of the nodes has answered a LOCK that was sent after a moment, and checks how long that took.
func (r *run) serves(what string, since time.Time, nodes ...*harness.Node) {
	r.t.Helper()
	took := make([]time.Duration, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			harness.Poll(harness.Patience, func() bool {
				if !grants(n) {
					return false
				}
				took[i] = time.Since(since)
				return true
			})
		})
	}
	all.Wait()
	for i, n := range nodes {
		if took[i] == 0 {
			r.load.fault("%s: %s answers no LOCK any more", what, n.ID)
			continue
		}
		if took[i] -= r.stood(since); took[i] > recoverLimit {
			r.load.fault("%s: %s answered its first LOCK after %v, want at most %v", what, n.ID, took[i], recoverLimit)
		}
	}
	r.recovered = append(r.recovered, slices.Max(took).Round(time.Millisecond))
}

// stood is for how long the machine has stood still since a moment.
func (r *run) stood(since time.Time) time.Duration {
	var sum time.Duration
	for _, s := range r.c.Stalls() {
		if s.From.Add(s.For).After(since) {
			sum += s.For
		}
	}
	return sum
}

// grants reports whether a node grants a lock now.
func grants(n *harness.Node) bool {
	conn, err := harness.DialWithin(n.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.Send("LOCK", "probe:"+n.ID+":"+conn.LocalAddr().String()) != nil {
		return false
	}
	v, err := conn.ReceiveWithin(harness.Patience)
	return err == nil && v.Kind == harness.Int && v.Int > 0
}

// seeded returns the random numbers of a test and logs their seed; LOCKTEST_SEED repeats one.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LOCKTEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LOCKTEST_SEED: %v", err)
		}
	}
	t.Logf("LOCKTEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 4))
}

// minutes is how long a test is to last: LOCKTEST_MINUTES, or two.
func minutes(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LOCKTEST_MINUTES")
	if text == "" {
		return 2 * time.Minute
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 {
		t.Fatalf("LOCKTEST_MINUTES=%q: not a number of minutes", text)
	}
	return time.Duration(n * float64(time.Minute))
}

// folder is where the history of a bad round goes.
func (r *run) folder(round int) string {
	out, err := harness.OutDir()
	if err != nil {
		r.t.Fatal(err)
	}
	return filepath.Join(out, fmt.Sprintf("%s-round-%d-%s", strings.ReplaceAll(r.t.Name(), "/", "_"), round, time.Now().Format("0102-150405")))
}
