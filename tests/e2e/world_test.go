package e2e

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// hold is what a client was promised about a key: the answer to its grant.
type hold struct {
	fence int64
	count int64
	lease bool
}

// action is one kind of command that the load sends.
type action int

const (
	actGrant   action = iota // LOCK or TRYLOCK of a key that the client does not hold
	actReenter               // of one that it holds
	actUnlock
	actRenew
	actCount
)

// attempt is a command that was sent and, when it is found in client.pending, not answered.
type attempt struct {
	act    action
	key    string
	lease  bool
	before hold // what the client held of the key when it was sent
	above  int64
	args   []string
}

// world is what the clients of a durability test know together, over all kills of the server.
type world struct {
	mu      sync.Mutex
	fences  map[int64]string   // every fence that was ever granted, and the key
	highest int64              // of those
	holders map[string]*loader // key → the client that was told that it holds it and has not begun to release it
	faults  []string

	answered atomic.Int64 // commands answered in this round
	target   int64        // at so many the round ends
	over     atomic.Bool  // the server is being ended: connections may break now
}

func newWorld() *world {
	return &world{fences: map[int64]string{}, holders: map[string]*loader{}}
}

// begin opens a round that ends when so many commands were answered.
func (w *world) begin(target int64) {
	w.answered.Store(0)
	w.over.Store(false)
	w.target = target
}

// fault notes what must never happen.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < 50 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// top is the highest fence answered so far: a grant asked for from now on must be above it.
func (w *world) top() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

// granted notes a grant that a client was told of.
func (w *world) granted(l *loader, key string, fence, above int64) {
	w.mu.Lock()
	other, repeated := w.fences[fence]
	holder := w.holders[key]
	w.fences[fence] = key
	w.holders[key] = l
	w.highest = max(w.highest, fence)
	w.mu.Unlock()
	if repeated {
		w.fault("fence %d was given twice: for %s and for %s", fence, other, key)
	}
	if fence <= above {
		w.fault("fence %d of %s is not above %d, which was answered before it was asked for", fence, key, above)
	}
	// In an orderly end the server closes connections while others are still answered.
	gone := w.over.Load() && holder != nil && holder.kind == kindAnonymous
	if holder != nil && holder != l && !gone {
		w.fault("%s was granted to client %d while client %d holds it", key, l.id, holder.id)
	}
}

// holding notes who holds a key, when that is found out afterwards.
func (w *world) holding(l *loader, key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holders[key] = l
}

// releasing notes that a client is about to give a key back.
func (w *world) releasing(l *loader, key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holders[key] == l {
		delete(w.holders, key)
	}
}

// forget drops what a client held, because its connection has ended.
func (w *world) forget(l *loader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.holders, func(_ string, holder *loader) bool { return holder == l })
}
