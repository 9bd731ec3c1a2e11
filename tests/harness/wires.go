package harness

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Wires is the network between the nodes of a cluster: each node is reached through a listener of ours, and what
// passes from one node to another is cut, delayed and healed by their names. It needs no root and no firewall.
//
//	n1 ──► [listener of n2] ──lane n1→n2──► n2's own address
//	                        ◄─lane n2→n1──
//
// A cut is silence, as by a firewall that drops packets: connections stay, nothing passes, and what was sent while it
// lasted arrives when it ends, as TCP sends it again. Who is on the far end of a connection is told by the function
// given to [NewWires]; a connection of a stranger is closed.
type Wires struct {
	who func(accepted net.Conn) string

	mu        sync.Mutex
	lanes     map[[2]string]*lane
	cables    map[*cable]struct{}
	names     map[string]struct{}
	listeners []net.Listener
	closed    bool
	strangers int
	running   sync.WaitGroup
}

// NewWires returns a network without nodes. who names the node at the far end of an accepted connection; "" when it
// is none of the cluster's.
func NewWires(who func(accepted net.Conn) string) *Wires {
	return &Wires{who: who, lanes: map[[2]string]*lane{}, cables: map[*cable]struct{}{}, names: map[string]struct{}{}}
}

// Add gives a node an address at which the others reach it. target is where it listens itself.
func (w *Wires) Add(name, target string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("proxy of %s: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", errors.Join(errors.New("the wires are closed"), l.Close())
	}
	w.names[name] = struct{}{}
	w.listeners = append(w.listeners, l)
	w.running.Go(func() { w.accept(l, name, target) })
	return l.Addr().String(), nil
}

func (w *Wires) accept(l net.Listener, to, target string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			_ = conn.Close() // refused
			continue
		}
		// Finding out who it is takes time on a busy machine: the next one does not wait for that.
		w.running.Go(func() { w.connect(conn, to, target) })
		w.mu.Unlock()
	}
}

// connect carries a connection to a node, if it comes from another one.
func (w *Wires) connect(conn net.Conn, to, target string) {
	from := w.who(conn)
	w.mu.Lock()
	if from == "" || w.closed {
		if from == "" {
			w.strangers++
		}
		w.mu.Unlock()
		_ = conn.Close() // refused
		return
	}
	c := newCable(from, to, conn, w.lane(from, to), w.lane(to, from))
	w.cables[c] = struct{}{}
	w.mu.Unlock()
	c.carry(target)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.cables, c)
}

// lane returns the lane between two nodes. The caller holds mu.
func (w *Wires) lane(from, to string) *lane {
	l := w.lanes[[2]string{from, to}]
	if l == nil {
		l = newLane()
		w.lanes[[2]string{from, to}] = l
	}
	return l
}

func (w *Wires) change(from, to string, f func(*lane)) {
	w.mu.Lock()
	l := w.lane(from, to)
	w.mu.Unlock()
	f(l)
}

// CutOneWay stops what goes from one node to another; the other direction passes.
func (w *Wires) CutOneWay(from, to string) {
	w.change(from, to, func(l *lane) { l.set(true, l.delayed()) })
}

// CutAfter is CutOneWay once so many more bytes have gone that way: in the middle of what is sent.
func (w *Wires) CutAfter(from, to string, bytes int64) {
	w.change(from, to, func(l *lane) { l.cutAfter(bytes) })
}

// IsCut reports whether nothing passes from one node to another.
func (w *Wires) IsCut(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lane(from, to).isCut()
}

// Cut stops both directions between two nodes.
func (w *Wires) Cut(a, b string) {
	w.CutOneWay(a, b)
	w.CutOneWay(b, a)
}

// Isolate cuts a node off from all others.
func (w *Wires) Isolate(name string) {
	for _, other := range w.others(name) {
		w.Cut(name, other)
	}
}

func (w *Wires) others(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var others []string
	for other := range w.names {
		if other != name {
			others = append(others, other)
		}
	}
	return others
}

// Delay lets all that goes from one node to another arrive later by d, in order; 0 ends that.
func (w *Wires) Delay(from, to string, d time.Duration) {
	w.change(from, to, func(l *lane) { l.set(l.isCut(), d) })
}

// Mend ends cuts and delays between two nodes.
func (w *Wires) Mend(a, b string) {
	w.change(a, b, func(l *lane) { l.set(false, 0) })
	w.change(b, a, func(l *lane) { l.set(false, 0) })
}

// Heal ends all cuts and delays.
func (w *Wires) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lanes {
		l.set(false, 0)
	}
}

// Reset breaks the connections that there are between two nodes, whoever opened them; new ones may come at once.
func (w *Wires) Reset(a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.cables {
		if c.from == a && c.to == b || c.from == b && c.to == a {
			c.abort()
		}
	}
}

// Passed is how many bytes have been handed on from one node to another.
func (w *Wires) Passed(from, to string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lane(from, to).passed.Load()
}

// Cables is how many connections there are between two nodes, whoever opened them.
func (w *Wires) Cables(a, b string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for c := range w.cables {
		if c.from == a && c.to == b || c.from == b && c.to == a {
			n++
		}
	}
	return n
}

// Strangers is how many connections were refused because nobody knew them.
func (w *Wires) Strangers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.strangers
}

// Close ends all connections and listeners and returns when nothing runs any more.
func (w *Wires) Close() error {
	w.mu.Lock()
	w.closed = true
	var errs []error
	for _, l := range w.listeners {
		errs = append(errs, l.Close())
	}
	w.listeners = nil
	for c := range w.cables {
		c.abort()
	}
	w.mu.Unlock()
	w.running.Wait()
	return errors.Join(errs...)
}
