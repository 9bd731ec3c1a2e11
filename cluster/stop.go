package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redlockd/redlockd/internal/canary"
)

// stopPatience is how long a node that stops waits while it knows of no leader:
// nothing is applied then, and nothing may come any more.
const stopPatience = time.Second

// Leave announces the stop. From now on requests that nobody can take, since
// there is no leader for stopPatience, are answered at once, so that whoever
// waits for the last replies does not wait for request-timeout. Close does it too.
func (n *Node) Leave() { n.leaving.Do(func() { go n.despair() }) }

// despair gives up what is under way once there is no leader for too long.
func (n *Node) despair() {
	defer close(n.hopeless)
	ticker := time.NewTicker(stopPatience / 20)
	defer ticker.Stop()
	since := n.opts.Clock.Now()
	for {
		select {
		case <-ticker.C:
		case <-n.quit:
			return
		}
		now := n.opts.Clock.Now()
		if _, id := n.raft.LeaderWithID(); id != "" {
			since = now
		}
		if now.Sub(since) >= stopPatience {
			n.agent.giveUp()
			return
		}
	}
}

// giveUp answers all that is queued or sent, at once.
func (a *agent) giveUp() {
	a.mu.Lock()
	a.requestTimeout = min(a.requestTimeout, markGrain)
	a.mu.Unlock()
	a.awaken()
}

// Close stops the node in order: it takes no more ops, lets those it has be
// applied until ctx ends or there is no leader for a second, hands the leadership
// over, and shuts Raft down. What is left is answered CLUSTERDOWN or UNCERTAIN.
// Holds are not released.
func (n *Node) Close(ctx context.Context) error {
	if n.closing.CompareAndSwap(false, true) {
		n.closeErr = n.close(ctx)
		close(n.closed)
	}
	<-n.closed // not a Once: its lock would stop the virtual time of a simulation
	return n.closeErr
}

func (n *Node) close(ctx context.Context) error {
	n.Leave()
	select {
	case <-n.agent.close():
	case <-n.failed:
	case <-n.hopeless:
		n.log.Info("the node stops with requests that are not applied: no leader, or not enough nodes")
	case <-ctx.Done():
		n.log.Warn("the node stops with requests that are not applied", "error", ctx.Err())
	}
	n.handOver(ctx)
	if !canary.HandOverLeft { // canary: nobody answers it any more
		n.transfers.finish(2 * n.opts.ElectionTimeout) // Raft gives up after one
	}
	close(n.quit)
	<-n.hopeless
	<-n.watched
	n.raft.DeregisterObserver(n.observer)
	if n.sought != nil {
		n.unseek()
		<-n.sought
	}
	close(n.leadership.quit)
	<-n.leadership.done
	n.leadership.settle(ctx)
	close(n.proposer.quit)
	<-n.proposer.done
	n.proposer.drain(ctx)
	if n.port != nil {
		n.port.fwd.stop()
	}
	n.raftQuiet.Store(true)
	close(n.held)
	// Raft waits for its calls to other nodes, which may not answer: they break with
	// their connections.
	down := n.raft.Shutdown()
	if n.port != nil {
		n.port.hangUp()
	}
	err := down.Error()
	if n.port != nil {
		err = errors.Join(err, n.port.close())
	}
	n.applier.keepAll() // so that the next start has nothing to replay
	n.raftLog.close()
	close(n.snapshots.quit)
	<-n.snapshots.done
	n.agent.stop()
	if err != nil {
		return fmt.Errorf("cluster: shutting Raft down: %w", err)
	}
	return nil
}
