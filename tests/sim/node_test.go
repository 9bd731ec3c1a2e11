package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redlockd/redlockd/cluster"
	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/sessions"
	"github.com/redlockd/redlockd/store"
)

// node is a place where redlockd runs: its name, its address and its disk. The
// processes come and go. Its fields are under world.mu.
type node struct {
	w    *world
	name string
	disk *vfs.MemFS
	proc *process // nil: down
	// member: it belongs to the cluster, as far as the world was told.
	member bool
	// forgotten: somebody has set out to remove it.
	forgotten bool
	// busy: a fault has it, which will bring it back.
	busy bool
}

func (n *node) addr() string { return n.name + ":17379" }

// process is one run of redlockd on a node.
type process struct {
	n     *node
	disk  *vfs.MemFS
	store *store.Store
	table *sessions.Table
	clock *clock
	// cluster is nil until it is open; opened is closed when that was tried.
	cluster atomic.Pointer[cluster.Node]
	opened  chan struct{}
	// dead: nobody hears of it any more, whatever it still does.
	dead atomic.Bool
	// answers holds back what is applied, and its clients; log holds back Raft's log.
	answers, log gate
	full         atomic.Bool  // its disk
	slow         atomic.Int64 // so is its disk; see storage
	// given is when somebody set out to remove the node: its clients are the last to know.
	given atomic.Pointer[time.Time]

	mu    sync.Mutex
	links map[*link]struct{}
}

func emptyDisk() *vfs.MemFS {
	disk := vfs.NewCrashableMem()
	return disk
}

// nonces gives each start of a node random bytes of its own: one that comes again
// would be the same registration.
func (w *world) nonces() io.Reader {
	w.rngMu.Lock()
	defer w.rngMu.Unlock()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(w.rng.Uint32())
	}
	return rand.NewChaCha8(seed)
}

// start starts a process on the node; it serves some time later. join: addresses of
// members, on an empty disk.
func (n *node) start(join []string) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.proc != nil || w.ending.Load() == overEnding || len(join) == 0 && !n.member {
		return
	}
	p := &process{n: n, disk: n.disk, clock: newClock(), opened: make(chan struct{}), links: map[*link]struct{}{}}
	p.table = sessions.NewTable(sessions.Options{Logger: w.log(n.name)})
	n.proc = p
	w.started.Add(1)
	w.wg.Go(func() { p.open(join) })
}

// open opens store and cluster; the process serves once there is a leader.
func (p *process) open(join []string) {
	defer close(p.opened)
	w := p.n.w
	var err error
	p.store, err = store.Open(store.Options{
		Dir: dataDir, FS: p.disk, Logger: w.log(p.n.name), MemTableBytes: w.conf.memTable, CacheBytes: 64 << 10,
		OnFatal: func(err error) { panic(fmt.Sprintf("seed %d, node %s: %v", w.seed, p.n.name, err)) },
	})
	if err != nil {
		w.fault("%s does not start: its store: %v", p.n.name, err)
		return
	}
	o := w.options(p)
	o.Join = join
	if w.conf.nodes > 1 {
		l, err := w.net.listen(p.n.addr())
		if err != nil {
			w.fault("%s does not start: %v", p.n.name, err)
			return
		}
		if p.dead.Load() {
			_ = l.Close()
		}
		o.Peer = &peer.Options{
			Listener: l, Dial: w.net.dialer(p.n.addr(), func() bool { return !p.dead.Load() }), Ping: 2 * time.Second,
		}
		if len(join) == 0 && p.n.founder() {
			o.InitialCluster = w.founders()
		} else {
			o.PeerAddr = p.n.addr()
			o.Await = len(join) == 0
		}
	}
	c, err := cluster.Open(o)
	if err != nil && strings.Contains(err.Error(), "is not in the stored configuration") && w.forgetting(p.n) {
		w.wg.Go(func() { // it was removed while it was down
			p.kill(100, true)
			p.n.wipe()
		})
		return
	}
	if err != nil {
		w.fault("%s does not start: %v", p.n.name, err)
		return
	}
	p.table.SetCluster(c)
	p.cluster.Store(c)
}

// options are those of the cluster package for a process.
func (w *world) options(p *process) cluster.Options {
	c := &w.conf
	return cluster.Options{
		NodeID: p.n.name, Storage: storage{p.store, &p.log, &p.slow, &p.full}, Host: &host{p.table, p}, Logger: w.log(p.n.name),
		Clock: p.clock, Rand: w.nonces(),
		RequestTimeout: c.requestTimeout, ElectionTimeout: c.electionTimeout, CommitTimeout: c.commitTimeout,
		Settings:      map[string]string{fsm.SettingSessionTimeout: fmt.Sprint(c.sessionTimeout.Milliseconds())},
		SnapshotBytes: c.snapshotBytes, SnapshotEntries: c.snapshotEntries, TrailingLogs: c.trailing,
		OnFatal: func(err error) { p.exits(err) },
	}
}

// founder says whether the node was there from the start.
func (n *node) founder() bool {
	for _, x := range n.w.nodes[:n.w.conf.nodes] {
		if x == n {
			return true
		}
	}
	return false
}

// founders are the nodes that the cluster starts with.
func (w *world) founders() map[string]string {
	all := map[string]string{}
	for _, n := range w.nodes[:w.conf.nodes] {
		all[n.name] = n.addr()
	}
	return all
}

// exits takes in that the process ends itself: a supervisor starts it again.
func (p *process) exits(err error) {
	w := p.n.w
	removed := errors.Is(err, cluster.ErrRemoved)
	switch {
	case removed:
		w.stats.add("removed", 1)
	case errors.Is(err, store.ErrRestartRaft):
		w.stats.add("restart for a snapshot", 1)
	case strings.Contains(err.Error(), "leadership transfer that never ends"):
		w.stats.add("stuck transfer", 1)
	case p.dead.Load():
		return // it was ended already
	default:
		w.fault("%s ends: %v", p.n.name, err)
	}
	w.wg.Go(func() {
		if !p.kill(100, true) {
			return
		}
		time.Sleep(300 * time.Millisecond)
		if removed {
			p.n.wipe()
			return
		}
		p.n.start(nil)
	})
}

// wipe makes the node one that was never there.
func (n *node) wipe() {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.proc == nil {
		n.member, n.forgotten, n.disk = false, false, emptyDisk()
	}
}

// forgetting says whether somebody has set out to remove the node.
func (w *world) forgetting(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return n.forgotten
}

// kill ends the process from one moment to the next. Of what was not synced about
// percent stays; loud: the others see its connections end. false: it was gone.
func (p *process) kill(percent int, loud bool) bool {
	w := p.n.w
	w.mu.Lock()
	if p.n.proc != p {
		w.mu.Unlock()
		return false
	}
	p.dead.Store(true)
	w.net.kill(p.n.addr(), loud)
	w.rngMu.Lock()
	p.n.disk = powerCut(p.disk, percent, w.rng)
	w.rngMu.Unlock()
	p.n.proc = nil
	w.mu.Unlock()
	p.loseClients(loud)
	w.wg.Go(p.bury)
	return true
}

// loseClients ends the connections of all clients. Not loud: they do not see it.
func (p *process) loseClients(loud bool) {
	p.mu.Lock()
	links := p.links
	p.links = nil
	p.mu.Unlock()
	for l := range links {
		l.lose(time.Now(), loud)
	}
}

// bury ends what is left of a dead process.
func (p *process) bury() {
	p.answers.lift()
	p.log.lift()
	p.slow.Store(0)
	p.clock.thaw(false)
	<-p.opened
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if c := p.cluster.Load(); c != nil {
		_ = c.Close(now) // of a dead process nothing is expected
	}
	if p.store != nil {
		_ = p.store.Close()
	}
}

// stop ends the process in order.
func (p *process) stop() {
	<-p.opened
	c := p.cluster.Load()
	if c == nil || p.dead.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		p.n.w.fault("%s does not stop in order: %v", p.n.name, err)
	}
	w := p.n.w
	w.mu.Lock()
	if p.n.proc != p {
		w.mu.Unlock()
		return
	}
	p.dead.Store(true)
	p.n.proc = nil
	w.net.kill(p.n.addr(), true)
	w.mu.Unlock()
	p.loseClients(true)
	if err := p.store.Close(); err != nil {
		w.fault("%s does not close its store: %v", p.n.name, err)
	}
}

// serves says whether the process can take clients now.
func (p *process) serves() bool {
	c := p.cluster.Load()
	return c != nil && !p.dead.Load() && c.Status().Incarnation != 0
}

// host is the process's table, as its clients see it: what is applied while the
// process is frozen is answered when it has thawed, and a dead one answers nothing.
type host struct {
	*sessions.Table
	p *process
}

var _ cluster.Host = (*host)(nil)

// Deliver notes what the entry did, and then answers.
func (h *host) Deliver(eff *fsm.Effects) {
	h.p.n.w.truth.note(h.p.n.name, eff)
	h.p.answers.pass()
	h.Table.Deliver(eff)
}

// Fast answers ahead of that.
func (h *host) Fast(replies []fsm.Reply) {
	h.p.answers.pass()
	h.Table.Fast(replies)
}

// Installed compares with a state that came from another node.
func (h *host) Installed(look func(fsm.ConnID) fsm.Standing) {
	h.p.n.w.stats.add("snapshots installed", 1)
	h.Table.Installed(look)
}

// logger of a node, discarded unless one seed is looked at.
func (w *world) log(node string) *slog.Logger {
	if w.trace == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(w.trace).With("on", node)
}
