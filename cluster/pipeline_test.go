package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestPipelineEnds: a pipeline whose responses nobody takes any more does not hold its sender for ever, neither in
// office nor at the stop.
func TestPipelineEnds(t *testing.T) {
	far, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case rpc := <-far.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 9}, nil)
			case <-over:
				return
			}
		}
	}()
	near, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, stop := range []bool{true, false} {
		quit := make(chan struct{})
		tr := &transport{NetworkTransport: near, quit: quit, leads: func(uint64) bool { return true }}
		p, err := tr.AppendEntriesPipeline("n2", far.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() {
			for { // the first may still find a place
				if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{}); err != nil {
					sent <- err
					return
				}
			}
		}()
		if stop {
			close(quit)
		}
		// At the stop the connection may have gone under a send.
		if err := <-sent; !stop && !errors.Is(err, raft.ErrPipelineShutdown) {
			t.Errorf("a send that has no place: %v, want %v", err, raft.ErrPipelineShutdown)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	close(over)
	<-ended
	if err := errors.Join(near.Close(), far.Close()); err != nil {
		t.Error(err)
	}
}
