package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// newLogger returns the process's logger, and the switch that CONFIG SET
// log-level moves.
func newLogger(w io.Writer, format, level string) (*slog.Logger, *slog.LevelVar) {
	threshold := new(slog.LevelVar)
	setLevel(threshold, level)
	opts := &slog.HandlerOptions{Level: threshold}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), threshold
	}
	return slog.New(slog.NewTextHandler(w, opts)), threshold
}

// setLevel takes one of the words of the option log-level.
func setLevel(threshold *slog.LevelVar, level string) {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		threshold.Set(l)
	}
}

// startLog is the log of the rooms. While the node starts, what they report at
// level info (a new cluster, an election, an incarnation) counts as debug: an
// operator wants one line then, which says that it serves.
type startLog struct {
	slog.Handler
	served *atomic.Bool
}

// newStartLog returns the rooms' logger over log, and the switch to move when
// the node serves.
func newStartLog(log *slog.Logger) (*slog.Logger, *atomic.Bool) {
	served := new(atomic.Bool)
	return slog.New(startLog{log.Handler(), served}), served
}

func (h startLog) level(l slog.Level) slog.Level {
	if l == slog.LevelInfo && !h.served.Load() {
		return slog.LevelDebug
	}
	return l
}

// Enabled implements slog.Handler.
func (h startLog) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, h.level(l))
}

// Handle implements slog.Handler.
func (h startLog) Handle(ctx context.Context, r slog.Record) error {
	r.Level = h.level(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h startLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return startLog{h.Handler.WithAttrs(attrs), h.served}
}

// WithGroup implements slog.Handler.
func (h startLog) WithGroup(name string) slog.Handler {
	return startLog{h.Handler.WithGroup(name), h.served}
}
