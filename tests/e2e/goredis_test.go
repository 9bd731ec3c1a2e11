package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestGoRedisHandshake: what go-redis sends when it connects, with all it can be told to.
func TestGoRedisHandshake(t *testing.T) {
	s := harness.Start(t, "--requirepass", "s3cret")
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", protocol), func(t *testing.T) {
			client := harness.GoRedis(t, s.Addr(), func(o *redis.Options) {
				o.Protocol = protocol
				o.Password = "s3cret"
				o.ClientName = "worker"
			})
			ctx := context.Background()
			if name, err := client.ClientGetName(ctx).Result(); err != nil || name != "worker" {
				t.Errorf("client name %q, %v", name, err)
			}
			info, err := client.ClientInfo(ctx).Result()
			if err != nil {
				t.Fatalf("CLIENT INFO as go-redis reads it: %v", err)
			}
			if info.Name != "worker" || !strings.HasPrefix(info.LibName, "go-redis") || info.LibVer == "" {
				t.Errorf("CLIENT INFO: name %q, lib-name %q, lib-ver %q", info.Name, info.LibName, info.LibVer)
			}
			if _, err := client.Command(ctx).Result(); err != nil {
				t.Errorf("COMMAND as go-redis reads it: %v", err)
			}
			if got, err := client.Time(ctx).Result(); err != nil || time.Since(got).Abs() > 24*time.Hour {
				t.Errorf("TIME %v, %v", got, err)
			}
			config, err := client.ConfigGet(ctx, "session-*").Result()
			if err != nil || config["session-timeout"] != "10000" {
				t.Errorf("CONFIG GET %v, %v", config, err)
			}
		})
	}
	wrong := harness.GoRedis(t, s.Addr(), func(o *redis.Options) { o.Password = "wrong" })
	if err := wrong.Ping(context.Background()).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestGoRedisPoolSession: a client name makes a whole pool one session, without a line of code.
func TestGoRedisPoolSession(t *testing.T) {
	s := harness.Start(t)
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", protocol), func(t *testing.T) {
			name := fmt.Sprintf("billing-%d", protocol)
			pool := func() *redis.Client {
				return harness.GoRedis(t, s.Addr(), func(o *redis.Options) {
					o.Protocol = protocol
					o.ClientName = "session:" + name
				})
			}
			client, ctx := pool(), context.Background()
			first, second := client.Conn(), client.Conn()
			ids := [2]int64{}
			for i, conn := range []*redis.Conn{first, second} {
				var err error
				if ids[i], err = conn.ClientID(ctx).Result(); err != nil {
					t.Fatal(err)
				}
			}
			if ids[0] == ids[1] {
				t.Fatal("the pool gave one connection twice")
			}
			fence, err := first.Do(ctx, "LOCK", name).Int64()
			if err != nil || fence == 0 {
				t.Fatalf("LOCK %d, %v", fence, err)
			}
			// Threads that share a name exclude each other; any connection of the session may release.
			if got, err := second.Do(ctx, "TRYLOCK", name).Int64(); err != nil || got != 0 {
				t.Errorf("TRYLOCK on another connection %d, %v; want 0", got, err)
			}
			if left, err := second.Do(ctx, "UNLOCK", name, "FENCE", fence).Int64(); err != nil || left != 0 {
				t.Errorf("UNLOCK on another connection %d, %v", left, err)
			}

			// The hold outlives the pool: the next process of that name has it.
			if fence, err = first.Do(ctx, "LOCK", name, "OWNER", "job").Int64(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(first.Close(), second.Close(), client.Close()); err != nil {
				t.Fatal(err)
			}
			next := pool()
			again, err := next.Do(ctx, "LOCK", name, "OWNER", "job").Int64()
			if err != nil || again != fence {
				t.Errorf("LOCK of the next process %d, %v; want the fence %d of the hold", again, err, fence)
			}
		})
	}
}

// TestGoRedisExcludes has many goroutines of a pool add to a number that only the lock guards.
func TestGoRedisExcludes(t *testing.T) {
	s := harness.Start(t)
	const workers, rounds = 8, 25
	client := harness.GoRedis(t, s.Addr(), func(o *redis.Options) { o.PoolSize = workers })
	// go-redis 9.23 notes in its options, shared by all connections, that the server
	// refused MAINT_NOTIFICATIONS, and several Conns do so at once: a data race of
	// its own. One connection that learns it first leaves nothing to note.
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	total := 0
	var last int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			conn, ctx := client.Conn(), context.Background()
			defer func() { _ = conn.Close() }()
			for range rounds {
				fence, err := conn.Do(ctx, "LOCK", "counter").Int64()
				if err != nil {
					t.Errorf("LOCK: %v", err)
					return
				}
				if fence <= last {
					t.Errorf("fence %d after %d", fence, last)
				}
				total, last = total+1, fence
				if _, err := conn.Do(ctx, "UNLOCK", "counter").Result(); err != nil {
					t.Errorf("UNLOCK: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if total != workers*rounds {
		t.Errorf("%d rounds, want %d", total, workers*rounds)
	}
}

// TestGoRedisPipeline: replies of a pipeline come in its order, errors among them.
func TestGoRedisPipeline(t *testing.T) {
	s := harness.Start(t)
	client, ctx := harness.GoRedis(t, s.Addr()), context.Background()
	pipe := client.Pipeline()
	var cmds []*redis.Cmd
	const n = 500
	for i := range n {
		key := fmt.Sprintf("k%d", i)
		cmds = append(cmds, pipe.Do(ctx, "LOCK", key), pipe.Do(ctx, "UNLOCK", key), pipe.Do(ctx, "UNLOCK", key))
	}
	_, _ = pipe.Exec(ctx) // answers the first error, which is meant
	var last int64
	for i := range n {
		fence, err := cmds[3*i].Int64()
		if err != nil || fence <= last {
			t.Fatalf("LOCK %d: %d, %v; want more than %d", i, fence, err, last)
		}
		last = fence
		if left, err := cmds[3*i+1].Int64(); err != nil || left != 0 {
			t.Fatalf("UNLOCK %d: %d, %v", i, left, err)
		}
		if err := cmds[3*i+2].Err(); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("NOTOWNER lock \"k%d\"", i)) {
			t.Fatalf("second UNLOCK %d: %v", i, err)
		}
	}
}

// TestGoRedisTimeout: a client that gives up on its LOCK closes the connection, and is out of the queue.
func TestGoRedisTimeout(t *testing.T) {
	s := harness.Start(t)
	c := s.Client()
	c.Want("LOCK k", ":1")
	client := harness.GoRedis(t, s.Addr())
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := client.Do(ctx, "LOCK", "k").Err(); err == nil {
		t.Error("LOCK of a held lock succeeded")
	}
	harness.Until(t, "the queue is empty", func() bool { return len(c.Line("LOCKWAITERS k").Items) == 0 })
	c.Want("UNLOCK k", ":0")
	c.Want("ISLOCKED k", ":0")
}
