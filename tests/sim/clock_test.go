package sim

import (
	"sync"
	"time"
)

// clock is one node's: the bubble's, but it stands still while the node is frozen.
type clock struct {
	mu     sync.Mutex
	start  time.Time
	frozen bool
	at     time.Time // when it froze
	asleep time.Duration
}

func newClock() *clock { return &clock{start: time.Now().Add(-time.Hour)} }

func (c *clock) read() time.Time {
	if c.frozen {
		return c.at
	}
	return time.Now()
}

// Now is the monotonic time: it stands still while the machine is suspended.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read().Add(-c.asleep)
}

// Boot runs on while the machine is suspended.
func (c *clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read().Sub(c.start)
}

func (c *clock) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen, c.at = true, time.Now()
}

// thaw lets it go on. suspended: the machine slept, and not only the process.
func (c *clock) thaw(suspended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen && suspended {
		c.asleep += time.Since(c.at)
	}
	c.frozen = false
}

// gate holds back whoever passes while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil: it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

// closed returns a channel that is closed when the gate opens, nil while it is open.
func (g *gate) closed() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *gate) pass() {
	for c := g.closed(); c != nil; c = g.closed() {
		<-c
	}
}
