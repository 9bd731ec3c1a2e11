package resp

import (
	"runtime"
	"sync"
)

const (
	flushInline = 4 // up to so many connections the caller writes itself: cheaper than waking somebody
	flushChunk  = 8 // how many connections a flush worker takes at once
)

// flusher writes the output of many connections by a few goroutines, so that who answers them does not wait for
// as many system calls. The goroutines start with the first use and end with the server.
type flusher struct {
	mu      sync.Mutex
	some    sync.Cond
	queue   []*Conn
	head    int
	idle    int
	started bool
	closed  bool
	workers sync.WaitGroup
}

func (f *flusher) init() { f.some.L = &f.mu }

// FlushAll flushes the connections: a few at once, by the caller, more by the server's flush workers, soon after
// the call has returned. Replies of one connection stay in order in any case. conns is not kept.
func (s *Server) FlushAll(conns []*Conn) {
	if len(conns) <= flushInline || !s.flush.add(conns) {
		for _, c := range conns {
			c.Flush()
		}
	}
}

// FlushSoon leaves the flush of one connection to the server's flush workers.
func (c *Conn) FlushSoon() {
	one := [1]*Conn{c}
	if !c.srv.flush.add(one[:]) {
		c.Flush()
	}
}

// add queues connections; false: the flusher has ended. A connection is queued once, so the queue is no longer
// than there are connections.
func (f *flusher) add(conns []*Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if !f.started {
		f.started = true
		for range runtime.GOMAXPROCS(0) {
			f.workers.Add(1)
			go f.work()
		}
	}
	if f.head > 0 && len(f.queue)+len(conns) > cap(f.queue) {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	for _, c := range conns {
		if c.dirty.Load() && c.queued.CompareAndSwap(false, true) {
			f.queue = append(f.queue, c)
		}
	}
	for range min(f.idle, (len(f.queue)-f.head+flushChunk-1)/flushChunk) {
		f.some.Signal()
	}
	return true
}

func (f *flusher) work() {
	defer f.workers.Done()
	var chunk [flushChunk]*Conn
	for {
		n := f.take(chunk[:])
		if n == 0 {
			return
		}
		for i, c := range chunk[:n] {
			c.queued.Store(false) // before the flush: what is answered after it is queued anew
			c.Flush()
			chunk[i] = nil
		}
	}
}

// take waits for connections and returns how many it put into chunk, 0 when the flusher has ended.
func (f *flusher) take(chunk []*Conn) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.head == len(f.queue) {
		if f.closed {
			return 0
		}
		f.idle++
		f.some.Wait()
		f.idle--
	}
	n := copy(chunk, f.queue[f.head:])
	clear(f.queue[f.head : f.head+n])
	f.head += n
	if f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
	}
	return n
}

// close ends the workers after they have written what is queued.
func (f *flusher) close() {
	f.mu.Lock()
	f.closed = true
	f.some.Broadcast()
	f.mu.Unlock()
	f.workers.Wait()
}
