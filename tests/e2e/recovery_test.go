package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// serveLimit is the contract: so soon after a kill -9 the node serves again.
const serveLimit = 3 * time.Second

// TestServesSoonAfterKill: a million commands in the log, 100,000 held locks, kill -9.
func TestServesSoonAfterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a million commands: skipped by -short")
	}
	const (
		held     = 100_000
		commands = 1_000_000
		conns    = 50
	)
	s := harness.Start(t)
	began := time.Now()
	holdMany(t, s, conns, held/conns)
	churn(t, s, conns, (commands-held)/conns/2)
	c := s.Client()
	top := c.Int("LOCK top")
	t.Logf("written in %v; %d MB resident; %s", time.Since(began).Round(time.Millisecond), s.RSS()>>20, logRange(c))

	killAndTime(t, s)
	conn, err := harness.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	keys, err := scanAll(conn, "COUNT", "10000", "MATCH", "held:*")
	if err != nil || len(keys) != held {
		t.Errorf("%d locks are held, %v; want %d", len(keys), err, held)
	}
	if got := s.Client().Int("LOCK top"); got <= top {
		t.Errorf("fence %d after the kills, want more than %d", got, top)
	}
}

// TestServesSoonWithManyEntries is the same with as many entries in the log, and not only commands: a load without
// pipelines brings few of them into one entry. It takes minutes: LOCKTEST_ENTRIES=1000000 says how many.
func TestServesSoonWithManyEntries(t *testing.T) {
	want, err := strconv.ParseInt(os.Getenv("LOCKTEST_ENTRIES"), 10, 64)
	if err != nil {
		t.Skip("writes for minutes: skipped without LOCKTEST_ENTRIES=1000000")
	}
	s := harness.Start(t)
	const conns = 4
	holdMany(t, s, conns, 25_000)
	var last atomic.Int64
	inParallel(t, s, conns, func(n int, conn *harness.Conn) error {
		for i := 0; last.Load() < want; i++ {
			for _, word := range []string{"LOCK", "UNLOCK"} {
				if v, err := conn.Do(word, fmt.Sprintf("entry:%d", n)); err != nil || v.Kind != harness.Int {
					return fmt.Errorf("%s: %v, %w", word, v, err)
				}
			}
			if n == 0 && i%1000 == 0 {
				info, err := conn.Do("INFO", "raft")
				if err != nil {
					return err
				}
				last.Store(infoNumber(info.Text, "log_last_index"))
			}
		}
		return nil
	})
	killAndTime(t, s)
}

// killAndTime kills the server three times and checks how soon it serves again.
func killAndTime(t *testing.T, s *harness.Server) {
	t.Helper()
	for range 3 {
		s.Kill()
		s.Start()
		took := time.Since(s.Process().Started())
		c := s.Client()
		first := c.Field("LOCKINFO held:0:0", "session-name").Text
		answered := time.Since(s.Process().Started())
		t.Logf("serves %v after the start, first answer at %v; %d MB resident; %s", took.Round(time.Millisecond),
			answered.Round(time.Millisecond), s.RSS()>>20, logRange(c))
		if took > serveLimit && !harness.Race { // the race detector is five to ten times slower
			t.Errorf("serves after %v, the contract says %v", took, serveLimit)
		}
		if first != heldSession {
			t.Errorf("the first lock is held by session %q, want %q", first, heldSession)
		}
	}
}

const heldSession = "holder"

// logRange tells which entries the node's log has.
func logRange(c *harness.Client) string {
	info := c.Line("INFO raft").Text
	return fmt.Sprintf("log entries %d to %d", infoNumber(info, "log_first_index"), infoNumber(info, "log_last_index"))
}

// infoNumber reads a number of INFO; -1 where there is none.
func infoNumber(info, name string) int64 {
	_, after, _ := strings.Cut(info, name+":")
	value, _, _ := strings.Cut(after, "\r\n")
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// holdMany takes locks for a named session, over many connections.
func holdMany(t *testing.T, s *harness.Server, conns, each int) {
	t.Helper()
	inParallel(t, s, conns, func(n int, conn *harness.Conn) error {
		if v, err := conn.Do("SESSION", "ATTACH", heldSession, "TTL", "86400000"); err != nil || len(v.Items) != 2 {
			return fmt.Errorf("SESSION ATTACH: %v, %w", v, err)
		}
		return pipelined(conn, each, func(b []byte, i int) []byte {
			return harness.AppendCommand(b, "LOCK", fmt.Sprintf("held:%d:%d", n, i), "OWNER", "o")
		})
	})
}

// churn takes locks and gives them back, over many connections.
func churn(t *testing.T, s *harness.Server, conns, each int) {
	t.Helper()
	inParallel(t, s, conns, func(n int, conn *harness.Conn) error {
		return pipelined(conn, 2*each, func(b []byte, i int) []byte {
			word := "LOCK"
			if i%2 == 1 {
				word = "UNLOCK"
			}
			return harness.AppendCommand(b, word, fmt.Sprintf("churn:%d:%d", n, i/2))
		})
	})
}

// inParallel runs work on many connections of their own.
func inParallel(t *testing.T, s *harness.Server, conns int, work func(n int, conn *harness.Conn) error) {
	t.Helper()
	var wg sync.WaitGroup
	for n := range conns {
		wg.Go(func() {
			conn, err := harness.Dial(s.Addr())
			if err == nil {
				defer conn.Close()
				err = work(n, conn)
			}
			if err != nil {
				t.Errorf("connection %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// pipelined sends commands in pieces of 200 and takes their replies, which must be integers.
func pipelined(conn *harness.Conn, n int, command func(b []byte, i int) []byte) error {
	const piece = 200
	var out []byte
	for from := 0; from < n; from += piece {
		to := min(from+piece, n)
		out = out[:0]
		for i := from; i < to; i++ {
			out = command(out, i)
		}
		if err := conn.SendRaw(out); err != nil {
			return err
		}
		for i := from; i < to; i++ {
			if v, err := conn.Receive(); err != nil || v.Kind != harness.Int {
				return fmt.Errorf("reply %d: %v, %w", i, v, err)
			}
		}
	}
	return nil
}
