package cluster

import "sync"

// errands are items that the leader itself wants in the log. One that gets lost
// is found missing by Node.tidy and comes again.
type errands struct {
	mu    sync.Mutex
	items [][]byte
}

func (e *errands) add(item []byte) {
	e.mu.Lock()
	e.items = append(e.items, item)
	e.mu.Unlock()
}

func (e *errands) ready() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.items) > 0
}

func (e *errands) draw(r *round) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, item := range e.items {
		r.add(item)
	}
	e.items = nil
}

// drop forgets what was not drawn: in a later office it would be out of date, and a
// node that has joined anew would be removed for what it was.
func (e *errands) drop() {
	e.mu.Lock()
	e.items = nil
	e.mu.Unlock()
}

func (*errands) failed(*ProposeError) {}
