package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTemplate(t *testing.T) {
	f := redisFlavor("sha")
	tmpl := newTemplate(f.acquire, 2)
	tmpl.fill(0, 0x0123456789abcdef)
	tmpl.fill(1, 0xfedcba9876543210)
	one := func(n string) string {
		return "*6\r\n$3\r\nSET\r\n$22\r\nbench:" + n + "\r\n$16\r\n" + n + "\r\n$2\r\nNX\r\n$2\r\nPX\r\n$5\r\n30000\r\n"
	}
	if want := one("0123456789abcdef") + one("fedcba9876543210"); string(tmpl.bytes) != want {
		t.Errorf("got %q\nwant %q", tmpl.bytes, want)
	}
}

func TestReplies(t *testing.T) {
	redis := redisFlavor("sha")
	for _, c := range []struct {
		name  string
		good  func([]byte) bool
		reply string
		want  bool
	}{
		{"LOCK", redlockdFlavor.acquired, ":1", true},
		{"LOCK", redlockdFlavor.acquired, ":0", false},
		{"LOCK", redlockdFlavor.acquired, ":-1", false},
		{"LOCK", redlockdFlavor.acquired, "-CLUSTERDOWN x", false},
		{"LOCK", redlockdFlavor.acquired, "", false},
		{"UNLOCK", redlockdFlavor.released, ":0", true},
		{"UNLOCK", redlockdFlavor.released, ":1", false},
		{"SET", redis.acquired, "+OK", true},
		{"SET", redis.acquired, "$-1", false},
		{"EVALSHA", redis.released, ":1", true},
		{"EVALSHA", redis.released, ":0", false},
		{"EVALSHA", redis.released, "-NOSCRIPT x", false},
	} {
		if c.good([]byte(c.reply)) != c.want {
			t.Errorf("%s answered %q: %v, want %v", c.name, c.reply, !c.want, c.want)
		}
	}
}

// script is a connection that takes everything and answers each piece with the next reply.
type script struct {
	net.Conn
	replies [][]byte
	next    int
	unread  []byte
}

func (s *script) Write(p []byte) (int, error) {
	s.unread = s.replies[s.next%len(s.replies)]
	s.next++
	return len(p), nil
}

func (s *script) Read(p []byte) (int, error) {
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

func scripted(pipeline int, replies ...string) *worker {
	s := &script{}
	for _, r := range replies {
		s.replies = append(s.replies, []byte(r))
	}
	return &worker{
		conn: s, r: bufio.NewReader(s), flavor: &redlockdFlavor, phase: &atomic.Int32{}, random: rand.NewPCG(1, 2),
		acquire: newTemplate(redlockdFlavor.acquire, pipeline), release: newTemplate(redlockdFlavor.release, pipeline),
		latency: newHistogram(),
	}
}

// TestCycleAllocatesNothing: the generator shares the cores with what it measures.
func TestCycleAllocatesNothing(t *testing.T) {
	w := scripted(16, strings.Repeat(":7\r\n", 16), strings.Repeat(":0\r\n", 16))
	allocs := testing.AllocsPerRun(100, func() {
		if err := w.cycles(true); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 16 cycles, want none", allocs)
	}
	if w.measured != 16*101 || w.latency.TotalCount() != w.measured {
		t.Errorf("%d cycles counted and %d in the histogram, want %d", w.measured, w.latency.TotalCount(), 16*101)
	}
}

func TestWrongReplyEndsTheRun(t *testing.T) {
	for _, replies := range [][]string{{":0\r\n", ":0\r\n"}, {":1\r\n", ":1\r\n"}, {"-ERR x\r\n"}} {
		if err := scripted(1, replies...).run(); err == nil {
			t.Errorf("%q: no error", replies)
		}
	}
}

// fakeLocks serves LOCK and UNLOCK of keys that are never wanted twice, and the handshake of versionOf.
func fakeLocks(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					switch strings.TrimSpace(line) {
					case "LOCK":
						fmt.Fprint(c, ":5\r\n")
					case "UNLOCK":
						fmt.Fprint(c, ":0\r\n")
					case "INFO":
						fmt.Fprint(c, "$24\r\nredlockd_version:7.8.9\r\n\r\n")
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func TestRunAgainstAServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs.json")
	var out, progress bytes.Buffer
	err := run(context.Background(), []string{
		"-addr", fakeLocks(t), "-seconds", "0.02", "-warmup", "0", "-rounds", "2", "-conns", "1,3", "-pipeline", "1,4", "-contended", "-json", file,
	}, &out, &progress)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 8 || len(r.HandOffs) != 2 || r.Versions["redlockd"] != "7.8.9" {
		t.Errorf("%d runs, %d of hand-offs, versions %v", len(r.Samples), len(r.HandOffs), r.Versions)
	}
	for _, s := range r.Samples {
		if s.Cycles == 0 || s.Rate <= 0 || s.P50 > s.P99 || s.P99 > s.P999 || s.P999 > s.Max {
			t.Errorf("run %+v", s)
		}
	}
	if lines := strings.Count(out.String(), "redlockd"); lines != 5 { // the version, and a line of each cell
		t.Errorf("table:\n%s", out.String())
	}
}

func TestRedisIsMeasured(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (Debian: apt-get install redis-server): skipped")
	}
	dir := t.TempDir()
	var out bytes.Buffer
	err := run(context.Background(), []string{
		"-redlockd=false", "-dir", dir, "-seconds", "0.05", "-warmup", "0", "-rounds", "1", "-conns", "2", "-pipeline", "1,16",
	}, &out, io.Discard)
	if err != nil || strings.Count(out.String(), " redis ") != 2 {
		t.Errorf("%v\n%s", err, out.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFlags(t *testing.T) {
	o, err := parse([]string{"-conns", "5, 6", "-addr", "x:1"}, io.Discard)
	if err != nil || !slices.Equal(o.conns, []int{5, 6}) || !slices.Equal(o.pipeline, []int{1, 16}) || o.redis {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"-conns", "0"},
		{"-conns", "x"},
		{"-pipeline", ""},
		{"-rounds", "0"},
		{"-seconds", "0"},
		{"extra"},
		{"-addr", "x:1", "-memory"},
		{"-nodes", "2"},
		{"-nodes", "3", "-memory"},
		{"-nodes", "3", "-addr", "x:1"},
		{"-faults", "1"},
		{"-nodes", "3", "-handoffs", "-1"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestTable(t *testing.T) {
	rates := func(server string, rates ...float64) []sample {
		var samples []sample
		for _, r := range rates {
			samples = append(samples, sample{Server: server, Rate: r, P50: 1, P99: 2, P999: 3})
		}
		return samples
	}
	c := &cell{conns: 64, pipe: 16, samples: map[string][]sample{
		"redlockd": rates("redlockd", 150_000, 90_000, 120_000), "redis": rates("redis", 100_000, 1, 110_000),
	}}
	var out bytes.Buffer
	if err := printCells(&out, []*cell{c}, "redlockd", "redis"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"120,000", "90,000", "150,000", "1.20"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	for n, want := range map[float64]string{0: "0", 999.6: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%v is written %s, want %s", n, got, want)
		}
	}
}
