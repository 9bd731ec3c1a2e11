package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog gives Raft a logger that writes to slog, one level down: what Raft
// calls a warning (an election) is daily business here. What it says again and
// again of a node that can not be reached is told once a minute.
type raftLog struct {
	to    *slog.Logger
	name  string
	args  []any
	mutes *mutes // of all loggers that came from the same one
}

var _ hclog.Logger = (*raftLog)(nil)

// newRaftLog returns Raft's logger. While ends is set, Raft is being shut down and
// all that it complains of is of its own making.
func newRaftLog(to *slog.Logger, ends func() bool) *raftLog {
	return &raftLog{to: to.With("part", "raft"), mutes: &mutes{ends: ends, seen: map[string]*muted{}}}
}

// mutes knows what was told of other nodes.
type mutes struct {
	ends func() bool
	mu   sync.Mutex
	seen map[string]*muted
}

type muted struct {
	since    time.Time // when it was told
	repeated int       // how often it came since
}

const (
	muteFor = time.Minute
	muteMax = 256
)

// aboutPeers are the messages that come for as long as other nodes can not be
// reached, or is behind; the mesh says by itself that it can not be reached. All
// others are about this node, and are told each time.
var aboutPeers = []string{
	"failed to make requestVote RPC", "failed to heartbeat to", "failed to appendEntries to", "failed to contact",
	"failed to start pipeline replication to", "failed to pipeline appendEntries", "peer has newer term, stopping replication",
	"appendEntries rejected, sending older logs", "failed to send snapshot to", "failed to install snapshot", "installSnapshot rejected to",
	"failed to decode incoming command", "failed to flush response", "rejecting vote request since we have a leader",
	"rejecting pre-vote request since we have a leader", "Election timeout reached, restarting election",
}

// peerArgs are the keys under which Raft names the other node.
var peerArgs = []any{"peer", "target", "server-id", "from"}

// level returns at which level a message is written, and how often it was held
// back since it was last written.
func (m *mutes) level(l slog.Level, msg string, args []any) (slog.Level, int) {
	if m.ends() {
		return min(l, slog.LevelDebug), 0
	}
	if !slices.Contains(aboutPeers, msg) {
		return l, 0
	}
	for i := 0; i+1 < len(args); i += 2 {
		if slices.Contains(peerArgs, args[i]) {
			msg += fmt.Sprint(" ", args[i+1])
		}
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if is := m.seen[msg]; is != nil && now.Sub(is.since) < muteFor {
		is.repeated++
		return min(l, slog.LevelDebug), 0
	}
	repeated := 0
	if is := m.seen[msg]; is != nil {
		repeated = is.repeated
	}
	if len(m.seen) >= muteMax {
		clear(m.seen)
	}
	m.seen[msg] = &muted{since: now}
	return min(l, slog.LevelInfo), repeated
}

// levelTrace is below slog's lowest name.
const levelTrace = slog.LevelDebug - 4

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.Info:
		return slog.LevelDebug
	case hclog.Debug, hclog.Trace, hclog.NoLevel, hclog.Off:
	}
	return levelTrace
}

// Log writes a message with alternating keys and values.
func (r *raftLog) Log(level hclog.Level, msg string, args ...any) {
	l, repeated := r.mutes.level(slogLevel(level), msg, args)
	if !r.to.Enabled(context.Background(), l) {
		return
	}
	out := make([]any, len(args))
	for i, a := range args {
		// Format is hclog's way to put off a Sprintf.
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		out[i] = a
	}
	if repeated > 0 {
		out = append(out, "repeated", repeated)
	}
	r.to.Log(context.Background(), l, msg, out...)
}

// Trace logs at that level.
func (r *raftLog) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }

// Debug logs at that level.
func (r *raftLog) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }

// Info logs at that level.
func (r *raftLog) Info(msg string, args ...any) { r.Log(hclog.Info, msg, args...) }

// Warn logs at that level.
func (r *raftLog) Warn(msg string, args ...any) { r.Log(hclog.Warn, msg, args...) }

// Error logs at that level.
func (r *raftLog) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLog) enabled(l hclog.Level) bool {
	return r.to.Enabled(context.Background(), slogLevel(l))
}

// IsTrace reports whether that level is written.
func (r *raftLog) IsTrace() bool { return r.enabled(hclog.Trace) }

// IsDebug reports whether that level is written.
func (r *raftLog) IsDebug() bool { return r.enabled(hclog.Debug) }

// IsInfo reports whether that level is written.
func (r *raftLog) IsInfo() bool { return r.enabled(hclog.Info) }

// IsWarn reports whether that level is written.
func (r *raftLog) IsWarn() bool { return r.enabled(hclog.Warn) }

// IsError reports whether that level is written.
func (r *raftLog) IsError() bool { return r.enabled(hclog.Error) }

// ImpliedArgs returns what With has added.
func (r *raftLog) ImpliedArgs() []any { return r.args }

// With returns a logger that adds these keys and values.
func (r *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{to: r.to.With(args...), mutes: r.mutes, name: r.name, args: append(append([]any(nil), r.args...), args...)}
}

// Name returns the logger's name.
func (r *raftLog) Name() string { return r.name }

// Named returns a logger with a longer name; it only shows in Name.
func (r *raftLog) Named(name string) hclog.Logger {
	if r.name != "" {
		name = r.name + "." + name
	}
	return r.ResetNamed(name)
}

// ResetNamed returns a logger with another name.
func (r *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{to: r.to, name: name, args: r.args, mutes: r.mutes}
}

// SetLevel does nothing: slog's handler decides.
func (r *raftLog) SetLevel(hclog.Level) {}

// GetLevel returns the lowest level that is written.
func (r *raftLog) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Trace, hclog.Info, hclog.Warn} {
		if r.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

// StandardLogger returns a logger of the standard library that writes here.
func (r *raftLog) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(o), "", 0)
}

// StandardWriter returns a writer that logs each line as information.
func (r *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return lineWriter{r}
}

type lineWriter struct{ r *raftLog }

func (w lineWriter) Write(b []byte) (int, error) {
	w.r.Info(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
