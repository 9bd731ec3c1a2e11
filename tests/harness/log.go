package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxLogLines bounds what a Log keeps in memory; the file has everything.
const maxLogLines = 200_000

// errLogEnded is what waiting for a line ends with when the process ended without having written it.
var errLogEnded = errors.New("the process ended")

// Log follows what a process writes, line by line. It is an io.Writer and safe for many goroutines.
type Log struct {
	mu      sync.Mutex
	file    io.Writer // everything goes here as well
	lines   []string
	partial []byte
	ended   bool
	changed chan struct{} // closed and replaced whenever a line was added or the log ended
}

// NewLog returns an empty log that copies everything to file.
func NewLog(file io.Writer) *Log {
	return &Log{file: file, changed: make(chan struct{})}
}

// Write takes the next bytes of the process.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		if len(l.lines) < maxLogLines {
			l.lines = append(l.lines, string(l.partial[:i]))
		}
		l.partial = l.partial[i+1:]
	}
	l.wake()
	return l.file.Write(p)
}

func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// end marks that nothing more comes.
func (l *Log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.lines = append(l.lines, string(l.partial))
		l.partial = nil
	}
	l.ended = true
	l.wake()
}

// Lines returns the lines so far.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[:len(l.lines):len(l.lines)]
}

// Find returns the first line that contains text.
func (l *Log) Find(text string) (string, bool) {
	for _, line := range l.Lines() {
		if strings.Contains(line, text) {
			return line, true
		}
	}
	return "", false
}

// Wait returns the first line for which match is true, also one written before the call. It ends with an error when
// the context or the process ends first.
func (l *Log) Wait(ctx context.Context, match func(line string) bool) (string, error) {
	seen := 0
	for {
		l.mu.Lock()
		lines, ended, changed := l.lines, l.ended, l.changed
		l.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if match(lines[seen]) {
				return lines[seen], nil
			}
		}
		if ended {
			return "", errLogEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for a line in the log: %w", ctx.Err())
		}
	}
}

// Tail returns the last n lines, for messages.
func (l *Log) Tail(n int) string {
	lines := l.Lines()
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
