package harness

import (
	"sync"
	"time"
)

// Stall is a time in which the whole machine stood still, or gave this process no time at all: a virtual machine that
// was suspended, for one. Every timeout of every process may have run out in it.
type Stall struct {
	From time.Time
	For  time.Duration
}

const (
	stallTick = 50 * time.Millisecond
	// stallLeast is the shortest time without a tick that counts.
	stallLeast = time.Second
)

// stallWatch notes stalls until it is stopped.
type stallWatch struct {
	mu     sync.Mutex
	stalls []Stall
	quit   chan struct{}
	done   chan struct{}
}

func watchStalls() *stallWatch {
	w := &stallWatch{quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *stallWatch) run() {
	defer close(w.done)
	tick := time.NewTicker(stallTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		now := time.Now()
		w.note(last, now)
		last = now
	}
}

// note takes two looks at the clock that follow each other.
func (w *stallWatch) note(last, now time.Time) {
	// By the wall clock as well: the monotonic one does not run while a machine is suspended.
	gap := max(now.Sub(last), now.Round(0).Sub(last.Round(0)))
	if gap < stallLeast {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalls = append(w.stalls, Stall{last, gap})
}

func (w *stallWatch) seen() []Stall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stalls[:len(w.stalls):len(w.stalls)]
}

func (w *stallWatch) stop() {
	close(w.quit)
	<-w.done
}
