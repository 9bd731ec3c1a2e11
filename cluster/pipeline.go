package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// pipeline ends the wait that Raft's own pipeline cannot end (hashicorp/raft 1.8):
// the goroutine that takes the responses returns at the first one that says no,
// and the one that sends waits for a place that only a taken response would free.
// It would wait for good: a leader would never replicate to that follower again, a
// deposed one would send heartbeats for ever, and the shutdown would not return.
// So a pipeline that has had no place for a while is closed, and at the stop every one is:
// Raft then goes on call by call, and opens another when that works.
type pipeline struct {
	raft.AppendPipeline
	vouch   func(*raft.AppendEntriesRequest) error
	began   time.Time
	since   atomic.Int64 // how long after that the send began that is under way, in ns; 0: none is
	closed  chan struct{}
	once    sync.Once
	watched chan struct{}
}

// pipelineLimit is how long a send may wait for a place. A response takes rpcTimeout at most.
const pipelineLimit = rpcTimeout + time.Second

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, fmt.Errorf("cluster: pipeline to %q: %w", id, err)
	}
	p := &pipeline{AppendPipeline: inner, vouch: t.vouch, began: time.Now(), closed: make(chan struct{}), watched: make(chan struct{})}
	go p.watch(t.quit)
	return p, nil
}

// AppendEntries implements raft.AppendPipeline. Raft calls it from one goroutine.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.vouch(args); err != nil {
		return nil, err
	}
	p.since.Store(int64(time.Since(p.began)) + 1) // not by the wall clock, which may be set back
	defer p.since.Store(0)
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	<-p.watched
	return p.AppendPipeline.Close()
}

func (p *pipeline) watch(quit <-chan struct{}) {
	defer close(p.watched)
	ticker := time.NewTicker(pipelineLimit / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			since := p.since.Load()
			if since == 0 || time.Since(p.began)-time.Duration(since) < pipelineLimit {
				continue
			}
		case <-quit:
		case <-p.closed:
			return
		}
		_ = p.AppendPipeline.Close() // it always returns nil
		return
	}
}
