package main

import (
	"sync"
	"time"
)

// spacePatience is how long INFO waits for the file system to tell its free space.
const spacePatience = 100 * time.Millisecond

// space tells the free space of the data directory, the last that is known where the
// file system hangs. Who asks is the reader of a client's connection: while it waited,
// nobody would see that the client is gone, nor close the connection when nobody
// vouches for this node any more.
type space struct {
	look func() (free, total uint64, err error)

	mu          sync.Mutex
	free, total uint64        // 0: not known
	looking     chan struct{} // closed when the look that is under way is over; nil: none is
}

// ask waits for the answer, but not for long.
func (s *space) ask(patience time.Duration) (free, total uint64) {
	s.mu.Lock()
	if s.looking == nil {
		s.looking = make(chan struct{})
		go s.refresh(s.looking)
	}
	looking := s.looking
	s.mu.Unlock()
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case <-looking:
	case <-over.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free, s.total
}

func (s *space) refresh(over chan struct{}) {
	free, total, err := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // an answer that is not to be had is shown as 0: INFO never fails
		free, total = 0, 0
	}
	s.free, s.total, s.looking = free, total, nil
	close(over)
}
