package sim

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/tests/check"
)

// config is what a seed decides about its cluster.
type config struct {
	nodes, clients  int
	length          time.Duration // of the time with faults
	sessionTimeout  time.Duration
	electionTimeout time.Duration
	commitTimeout   time.Duration
	requestTimeout  time.Duration
	snapshotBytes   int64
	snapshotEntries uint64
	trailing        uint64
	memTable        int64
	calm            time.Duration // between two faults, on average
	loss            float64       // of segments, always
	thinking        time.Duration // of clients between two programs, on average
	burst           int           // commands of a pipeline, at most
	// strict: a node that is forgotten has ended its clients' connections before
	// others get their locks. Only where it can be told: no other fault then.
	strict bool
}

func (c config) String() string {
	return fmt.Sprintf("%d nodes, %d clients, session-timeout %v, elections %v, requests %v, snapshots each %d bytes or %d entries leaving %d, a fault each %v",
		c.nodes, c.clients, c.sessionTimeout, c.electionTimeout, c.requestTimeout, c.snapshotBytes, c.snapshotEntries, c.trailing, c.calm)
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newConfig draws the cluster of a seed.
func newConfig(seed uint64, length time.Duration) config {
	r := rand.New(rand.NewPCG(seed, 1))
	return config{
		nodes: pick(r, 1, 1, 3, 3, 3, 3, 5), clients: 6 + r.IntN(7), length: length,
		sessionTimeout:  pick(r, 2*time.Second, 3*time.Second, 5*time.Second),
		electionTimeout: pick(r, 700*time.Millisecond, 1200*time.Millisecond, 2*time.Second),
		commitTimeout:   pick(r, 80*time.Millisecond, 200*time.Millisecond),
		requestTimeout:  pick(r, time.Second, 2*time.Second, 5*time.Second),
		snapshotBytes:   pick(r, int64(1<<10), 3<<10, 12<<10),
		snapshotEntries: pick(r, uint64(32), 128, 1024),
		trailing:        pick(r, uint64(2), 8, 64),
		memTable:        pick(r, int64(64<<10), 256<<10),
		calm:            pick(r, 6*time.Second, 12*time.Second, 25*time.Second),
		loss:            pick(r, 0, 0, 0.0005),
		thinking:        pick(r, 3*time.Second, 6*time.Second, 10*time.Second),
		burst:           pick(r, 12, 32),
	}
}

// The phases of a world.
const (
	overNot    = iota
	overFaults // nothing new: clients finish, all was healed
	overEnding // no process starts any more
)

// world is one seed's cluster with its clients.
type world struct {
	seed  uint64
	conf  config
	net   *network
	nodes []*node // founders first, then spare ones
	truth *truth
	hist  *check.History
	stats *stats
	trace slog.Handler // nil: nothing is logged
	begun time.Time

	ending  atomic.Int32
	started atomic.Int64 // processes
	wg      sync.WaitGroup
	// over is closed when clients are to finish.
	over chan struct{}
	// given: clients have had all the time they need for the last answers.
	given atomic.Bool
	// limited: some locks may be entered so often, or were once.
	limited atomic.Bool

	rngMu sync.Mutex
	rng   *rand.Rand // of what is drawn while it runs

	mu       sync.Mutex
	sessions map[string]*session
	pending  map[place]*call   // acquires whose answer is not there
	granted  map[string]string // by key: the newest grant that a client was told
	gone     []string          // owners that will not come back

	keysMu sync.Mutex
	keys   map[string]bool // all that were used

	faultMu sync.Mutex
	faults  []string
}

// newWorld makes the world of a seed; to be called in its bubble.
func newWorld(seed uint64, conf config) *world {
	w := &world{
		seed: seed, conf: conf, rng: rand.New(rand.NewPCG(seed, 2)), stats: newStats(), begun: time.Now(),
		over: make(chan struct{}), sessions: map[string]*session{}, pending: map[place]*call{}, granted: map[string]string{}, keys: map[string]bool{}, hist: check.New(),
	}
	w.net = newNetwork(rand.New(rand.NewPCG(seed, 3)))
	w.truth = newTruth(w)
	all := w.conf.nodes
	if all > 1 {
		all += 2
	}
	for i := range all {
		w.nodes = append(w.nodes, &node{w: w, name: fmt.Sprint("n", i+1), disk: emptyDisk(), member: i < w.conf.nodes})
	}
	if w.conf.loss > 0 {
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				w.net.set(way{a.addr(), b.addr()}, func(s *wayState) { s.loss = w.conf.loss })
			}
		}
	}
	return w
}

// maxFaults bounds what one seed complains about.
const maxFaults = 20

// fault notes something that must not be.
func (w *world) fault(format string, args ...any) {
	w.faultMu.Lock()
	defer w.faultMu.Unlock()
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, fmt.Sprintf("at %v: ", w.now())+fmt.Sprintf(format, args...))
	}
}

// now is the time since the world began.
func (w *world) now() time.Duration { return time.Since(w.begun).Round(time.Microsecond) }

// running returns the processes that are there, by name.
func (w *world) running() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*process
	for _, n := range w.nodes {
		if n.proc != nil {
			all = append(all, n.proc)
		}
	}
	return all
}

// leader returns the process that leads, if one does.
func (w *world) leader() *process {
	for _, p := range w.running() {
		if c := p.cluster.Load(); c != nil && c.Status().Role == "leader" {
			return p
		}
	}
	return nil
}

// watch counts leaders, until the end.
func (w *world) watch() {
	terms := map[uint64]bool{}
	for w.ending.Load() != overEnding {
		for _, p := range w.running() {
			if c := p.cluster.Load(); c != nil && !p.dead.Load() {
				if s := c.Status(); s.Role == "leader" && !terms[s.Term] {
					terms[s.Term] = true
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.stats.add("leader changes", max(len(terms)-1, 0))
}

// eventually waits for a condition; false: it did not come.
func eventually(limit time.Duration, cond func() bool) bool {
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// run is a seed from its start to its last check but those of tests/check.
func (w *world) run(plan []event, show func(string, ...any)) {
	for _, n := range w.nodes[:w.conf.nodes] {
		n.start(nil)
	}
	if !eventually(time.Minute, func() bool { return w.serving() == w.conf.nodes }) {
		w.fault("the cluster does not start")
	}
	w.wg.Go(w.watch)
	var clients sync.WaitGroup
	for i := range w.conf.clients {
		c := newClient(w, i)
		clients.Go(c.run)
	}
	began := time.Now()
	var faults sync.WaitGroup
	for _, e := range plan {
		time.Sleep(time.Until(began.Add(e.at)))
		show("%v: %v", w.now(), e)
		faults.Go(func() { w.do(e) })
	}
	time.Sleep(time.Until(began.Add(w.conf.length)))
	w.ending.Store(overFaults)
	close(w.over)
	faults.Wait()
	w.finish(&clients)
	w.wg.Wait()
}

// serving counts the processes that serve.
func (w *world) serving() int {
	n := 0
	for _, p := range w.running() {
		if p.serves() {
			n++
		}
	}
	return n
}

// stats counts what happened.
type stats struct {
	mu sync.Mutex
	n  map[string]int
}

func newStats() *stats { return &stats{n: map[string]int{}} }

func (s *stats) add(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n[what] += n
}

func (s *stats) merge(o *stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, v := range o.n {
		s.add(k, v)
	}
}

func (s *stats) get(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[what]
}

func (s *stats) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.n)) {
		fmt.Fprintf(&b, ", %d %s", s.n[k], k)
	}
	return strings.TrimPrefix(b.String(), ", ")
}
