package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// lines is where the log goes, for those who must not wait for it. A pipe that nobody
// reads any more, or a file on a disk that hangs, would stop whoever logs: the agent,
// which has to close the connections of a node that nobody vouches for; Raft, of a
// leader that then stays in office; the watchdog of the disk, which has to end the
// process. So a goroutine of its own writes the lines; those that find the queue full
// are dropped, and counted in the log.
type lines struct {
	to      io.Writer
	note    *slog.Logger // over to itself: only run uses it
	queue   chan line
	dropped atomic.Int64
	quit    chan struct{}
	done    chan struct{}
	exit    func(code int)
}

// line is a line of the log or, where written is set, the question whether all before
// it is written.
type line struct {
	text    []byte
	written chan struct{}
}

const (
	// maxLines is how many lines wait at most: a second of a node that says all it can.
	maxLines = 4096
	// lastWords is how long the end of the process waits for the log.
	lastWords = time.Second
)

func newLines(to io.Writer, format string) *lines {
	note, _ := newLogger(to, format, "warn")
	l := &lines{
		to: to, note: note, queue: make(chan line, maxLines),
		quit: make(chan struct{}), done: make(chan struct{}), exit: os.Exit,
	}
	go l.run()
	return l
}

// Write takes a line. It never waits and never fails.
func (l *lines) Write(p []byte) (int, error) {
	select {
	case l.queue <- line{text: bytes.Clone(p)}:
	default:
		l.dropped.Add(1)
	}
	return len(p), nil
}

func (l *lines) run() {
	defer close(l.done)
	for {
		select {
		case one := <-l.queue:
			l.write(one)
		case <-l.quit:
			return
		}
	}
}

func (l *lines) write(one line) {
	if n := l.dropped.Swap(0); n > 0 {
		l.note.Warn("lines of the log are missing here: whoever takes it was too slow", "lines", n)
	}
	if one.written != nil {
		close(one.written)
		return
	}
	_, _ = l.to.Write(one.text) // there is nowhere to report it
}

// flush waits until what was logged is written, but not for ever, and reports whether it is.
func (l *lines) flush() bool {
	limit := time.NewTimer(lastWords)
	defer limit.Stop()
	written := make(chan struct{})
	select {
	case l.queue <- line{written: written}:
	case <-limit.C:
		return false
	}
	select {
	case <-written:
		return true
	case <-limit.C:
		return false
	}
}

// close writes what there is, and ends; where nobody takes it, once its line is taken.
func (l *lines) close() {
	written := l.flush()
	close(l.quit)
	if written {
		<-l.done
	}
}

// fatal returns what ends the process where it can not go on, whether or not anybody
// takes its last words. goroutines says to add what all of them are doing.
func (l *lines) fatal(log *slog.Logger, goroutines bool) func(error) {
	return func(err error) {
		time.AfterFunc(2*lastWords, func() { l.exit(exitFatal) })
		log.Error("this process can not go on", "error", err)
		l.flush()
		if p := pprof.Lookup("goroutine"); goroutines && p != nil {
			_ = p.WriteTo(l.to, 1)
		}
		l.exit(exitFatal)
	}
}
