package commands

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redlockd/redlockd/fsm"
)

// This file lets go-redis find and follow the leader: three servers in this
// process, of which a fake cluster says who leads.

// trio is three nodes and their Sentinel ports.
type trio struct {
	views     []*fakeCluster
	nodes     []*world
	sentinels []*world
}

func newTrio(t *testing.T, redirect bool, mode ClusterMode) *trio {
	t.Helper()
	tr := &trio{}
	for i, id := range []string{"n1", "n2", "n3"} {
		v := newFakeCluster(id)
		tr.views = append(tr.views, v)
		tr.nodes = append(tr.nodes, newWorldOf(t, "", v, func(o *Options) { o.Redirect, o.ClusterMode = redirect, mode }))
		tr.sentinels = append(tr.sentinels, newSentinelWorld(t, "", v))
		tr.nodes[i].answerWith(t, int64(i+1))
	}
	for _, v := range tr.views {
		v.mu.Lock()
		for i := range v.members {
			v.members[i].Addr, v.members[i].Sentinel = tr.nodes[i].addr, tr.sentinels[i].addr
		}
		v.mu.Unlock()
	}
	tr.lead("n1")
	return tr
}

func (tr *trio) lead(id string) {
	for _, v := range tr.views {
		v.lead(id)
	}
	for _, s := range tr.sentinels {
		s.sentinel.Observe()
	}
}

func (tr *trio) addrs(of []*world) []string {
	var addrs []string
	for _, w := range of {
		addrs = append(addrs, w.addr)
	}
	return addrs
}

// answerWith answers all ops with a number, which tells the nodes apart.
func (w *world) answerWith(t *testing.T, number int64) {
	quit := make(chan struct{})
	var running sync.WaitGroup
	answer := func(s *fakeSession) {
		for {
			select {
			case a := <-s.asks:
				s.answer(a, fsm.Reply{Int: number})
			case <-quit:
				return
			}
		}
	}
	running.Go(func() {
		for {
			select {
			case s := <-w.sessions:
				running.Go(func() { answer(s) })
			case <-quit:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(quit)
		running.Wait()
	})
}

// follow locks by the client until the node that leads has answered.
func follow(t *testing.T, c redis.UniversalClient, want int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var got int64
	var err error
	until(t, func() bool {
		got, err = c.Do(ctx, "LOCK", "orders:42").Int64()
		return err == nil && got == want
	})
}

// listened waits until a client listens at a Sentinel: it would miss +switch-master
// else, and a connection that has been used is served where it is.
func (tr *trio) listened(t *testing.T) {
	t.Helper()
	until(t, func() bool {
		listening := 0
		for _, s := range tr.sentinels {
			s.h.each(func(o *client) bool {
				channels, _ := s.h.hub.counts(o)
				listening += channels
				return true
			})
		}
		return listening > 0
	})
}

func TestGoRedisFailoverClient(t *testing.T) {
	for _, proto := range []int{2, 3} {
		tr := newTrio(t, true, ClusterOff)
		c := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "mymaster", SentinelAddrs: tr.addrs(tr.sentinels[:1]), Protocol: proto, ClientName: "session:billing-3",
			MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond,
		})
		t.Cleanup(func() { _ = c.Close() })
		for _, leader := range []struct {
			id     string
			number int64
		}{{"n1", 1}, {"n3", 3}, {"n2", 2}, {"n1", 1}} {
			tr.lead(leader.id)
			follow(t, c, leader.number)
			tr.listened(t)
		}
	}
}

// TestGoRedisFailoverClientForwarded: +switch-master alone makes it
// move, also where the old leader forwards and never refuses.
func TestGoRedisFailoverClientForwarded(t *testing.T) {
	tr := newTrio(t, false, ClusterAuto)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "mymaster", SentinelAddrs: tr.addrs(tr.sentinels)})
	t.Cleanup(func() { _ = c.Close() })
	follow(t, c, 1)
	tr.listened(t)
	tr.lead("n2")
	follow(t, c, 2)
}

func TestGoRedisSentinelClient(t *testing.T) {
	tr := newTrio(t, false, ClusterAuto)
	s := redis.NewSentinelClient(&redis.Options{Addr: tr.sentinels[1].addr})
	t.Cleanup(func() { _ = s.Close() })
	ctx := t.Context()
	if got, err := s.GetMasterAddrByName(ctx, "mymaster").Result(); err != nil || got[0]+":"+got[1] != tr.nodes[0].addr {
		t.Errorf("the leader is at %v, %v", got, err)
	}
	if _, err := s.GetMasterAddrByName(ctx, "other").Result(); err != redis.Nil { //nolint:errorlint // go-redis promises this very value
		t.Errorf("a name that is not there: %v", err)
	}
	if got, err := s.Master(ctx, "mymaster").Result(); err != nil || got["flags"] != "master" || got["num-slaves"] != "2" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Masters(ctx).Result(); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Replicas(ctx, "mymaster").Result(); err != nil || len(got) != 2 || got[0]["name"] != tr.nodes[1].addr {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Sentinels(ctx, "mymaster").Result(); err != nil || len(got) != 2 || got[0]["ip"]+":"+got[0]["port"] != tr.sentinels[0].addr {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.CkQuorum(ctx, "mymaster").Result(); err != nil || got == "" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestGoRedisClusterClient(t *testing.T) {
	for _, redirect := range []bool{true, false} {
		tr := newTrio(t, redirect, ClusterAuto)
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: tr.addrs(tr.nodes[1:2]), MinRetryBackoff: time.Millisecond})
		t.Cleanup(func() { _ = c.Close() })
		follow(t, c, 1)
		tr.lead("n3")
		if !redirect {
			c.ReloadState(t.Context())
		}
		// Connections that hold something stay where they are; new ones move.
		until(t, func() bool {
			n, err := c.Do(t.Context(), "LOCK", "orders:42").Int64()
			if err == nil && n != 3 {
				tr.nodes[n-1].h.each(func(o *client) bool { o.rc.Kill(); return true })
			}
			return err == nil && n == 3
		})
	}
}

func TestGoRedisClusterCommands(t *testing.T) {
	tr := newTrio(t, false, ClusterAuto)
	c := redis.NewClient(&redis.Options{Addr: tr.nodes[1].addr})
	t.Cleanup(func() { _ = c.Close() })
	ctx := t.Context()
	slots, err := c.ClusterSlots(ctx).Result() //nolint:staticcheck // the command that clients of old ask
	if err != nil || len(slots) != 1 || slots[0].End != 16383 || len(slots[0].Nodes) != 3 || slots[0].Nodes[0].Addr != tr.nodes[0].addr {
		t.Errorf("%+v, %v", slots, err)
	}
	shards, err := c.ClusterShards(ctx).Result()
	if err != nil || len(shards) != 1 || len(shards[0].Nodes) != 3 || shards[0].Nodes[1].Role != "replica" || shards[0].Nodes[0].Health != "online" {
		t.Errorf("%+v, %v", shards, err)
	}
	if n, err := c.ClusterKeySlot(ctx, "{a}b").Result(); err != nil || n != 15495 {
		t.Errorf("%d, %v", n, err)
	}
	if id, err := c.ClusterMyID(ctx).Result(); err != nil || id != NodeHex(fakeClusterID, "n2") {
		t.Errorf("%s, %v", id, err)
	}
	if err := c.ReadOnly(ctx).Err(); err != nil {
		t.Error(err)
	}
	if err := c.ReadWrite(ctx).Err(); err != nil {
		t.Error(err)
	}
	if n, err := c.Do(ctx, "LOCK", "orders:42").Int64(); err != nil || n != 2 {
		t.Errorf("a follower that forwards: %d, %v", n, err)
	}
}
