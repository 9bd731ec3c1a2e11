package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stalled is a log that nobody takes until it is released.
type stalled struct {
	released chan struct{}
	mu       sync.Mutex
	text     strings.Builder
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.released
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *stalled) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestStalledLogHoldsNobodyUp: a node whose log nobody takes serves, and stops.
func TestStalledLogHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cfg := configure(t, "--listen=unix:"+path)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := &stalled{released: make(chan struct{})}
	defer close(log.released)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, cfg, log) }()
	limit := time.Now().Add(patience)
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			if got := say(t, c, "LOCK k"); got != ":1" {
				t.Error(got)
			}
			_ = c.Close()
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

// TestDroppedLinesAreCounted: what the queue has no room for is missing, and told.
func TestDroppedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stalled{released: make(chan struct{})}
		l := newLines(to, "text")
		log, _ := newLogger(l, "text", "info")
		log.Info("first")
		synctest.Wait() // it is being written
		for range maxLines + 7 {
			log.Info("more")
		}
		close(to.released)
		l.close()
		got := to.String()
		if n := strings.Count(got, "msg=more"); n != maxLines {
			t.Errorf("%d lines, want %d", n, maxLines)
		}
		if !strings.Contains(got, "level=WARN") || !strings.Contains(got, "lines=7\n") {
			t.Errorf("nothing is said of 7 that are missing:\n%.300s", got)
		}
	})
}

// TestFatalEndsWithoutLog: the end does not wait for a log that nobody takes, and else
// says why it came.
func TestFatalEndsWithoutLog(t *testing.T) {
	for _, stalls := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			to := &stalled{released: make(chan struct{})}
			if !stalls {
				close(to.released)
			}
			l := newLines(to, "text")
			code := make(chan int, 2)
			l.exit = func(c int) { code <- c }
			log, _ := newLogger(l, "text", "info")
			go l.fatal(log, true)(errors.New("the disk hangs"))
			if c := <-code; c != exitFatal {
				t.Errorf("exit code %d, want %d", c, exitFatal)
			}
			if stalls {
				close(to.released)
			} else if got := to.String(); !strings.Contains(got, "the disk hangs") || !strings.Contains(got, "goroutine profile:") {
				t.Errorf("the last words are %q", got)
			}
			l.close()
		})
	}
}
