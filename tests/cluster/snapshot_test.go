package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

func number(t *testing.T, n *harness.Node, field string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(n.InfoField("raft", field), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestBackBySnapshot: a node is away until the others' logs no longer have what it lacks. It comes back by a
// snapshot while the load goes on, and knows the same as the others.
func TestBackBySnapshot(t *testing.T) {
	long(t, "writes until the log is cut")
	c := start(t, patient(longTimeout))
	away := c.Followers()[0]
	others := c.Others(away)
	const held = 2000
	conn := others[0].Client()
	for i := range held {
		conn.Send(fmt.Sprintf("LOCK held:%d LEASE 3600000 KEEP", i))
		if i%500 == 499 {
			for range 500 {
				fenceOf(t, conn)
			}
		}
	}
	conn.Want("UNLOCK held:0 FENCE "+fmt.Sprint(conn.Int("FENCE held:0")), ":0")
	c.AwaitApplied()
	last := number(t, away, "log_last_index")
	if code := away.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}

	leader := c.LeaderOf(others...)
	began := time.Now()
	entries := writeUntil(t, others, func() bool {
		info, err := leader.Info("raft")
		if err != nil {
			return false
		}
		first, _ := strconv.ParseUint(info["log_first_index"], 10, 64) // 0 of none is right
		return first > last+1
	})
	t.Logf("the log was cut after %v and %d commands: it begins at %d, and the node that was away ends at %d",
		time.Since(began).Round(time.Second), entries, number(t, leader, "log_first_index"), last)

	w := newWorld(t, c, longTimeout, seeded(t))
	w.start(2, 0, others...)
	change := others[1].Client()
	change.Int("LOCK held:0 LEASE 3600000 KEEP")
	began = time.Now()
	away.Start()
	t.Logf("the node is back after %v", time.Since(began).Round(time.Millisecond))
	if n := number(t, away, "snapshot_index"); n <= last {
		t.Errorf("its snapshot is at %d, it had %d before: it did not come back by a snapshot", n, last)
	}
	w.progress(others...)
	w.finish()

	// What it says is linearizable wherever it comes from: so look at its own state as the leader's.
	away.Client().Want("CLUSTER FAILOVER "+away.ID, "+OK")
	harness.Until(t, "the node that was away leads", func() bool { return c.Leader() == away })
	var keys int
	cursor := "0"
	for first := true; first || cursor != "0"; first = false {
		v := away.Client().Line("LOCKSCAN " + cursor + " MATCH held:* COUNT 1000")
		cursor = v.Items[0].Text
		keys += len(v.Items[1].Items)
	}
	if keys != held {
		t.Errorf("it knows of %d held locks, want %d", keys, held)
	}
}

// writeUntil lets clients lock and unlock long names in long pipelines until a condition holds.
func writeUntil(t *testing.T, nodes []*harness.Node, holds func() bool) int64 {
	t.Helper()
	var over atomic.Bool
	var commands atomic.Int64
	var running sync.WaitGroup
	errs := make(chan error, 16)
	for i := range 8 {
		conn, err := harness.Dial(nodes[i%len(nodes)].Addr())
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			defer conn.Close()
			key := fmt.Sprintf("filler:%d:%s", i, strings.Repeat("x", 480))
			var piece []byte
			for range 8 {
				piece = harness.AppendCommand(piece, "LOCK", key)
				piece = harness.AppendCommand(piece, "UNLOCK", key)
			}
			for !over.Load() {
				if err := conn.SendRaw(piece); err != nil {
					errs <- err
					return
				}
				for range 16 {
					if v, err := conn.Receive(); err != nil || v.Kind != harness.Int {
						errs <- fmt.Errorf("%v, %w", v, err)
						return
					}
				}
				commands.Add(16)
			}
		})
	}
	end := time.Now().Add(10 * time.Minute)
	for !over.Load() {
		if harness.Poll(time.Second, func() bool { return len(errs) > 0 }) || time.Now().After(end) || holds() {
			over.Store(true)
		}
	}
	running.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	if !holds() {
		t.Fatalf("gave up after %d commands", commands.Load())
	}
	return commands.Load()
}
