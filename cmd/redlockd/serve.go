package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
)

// stopLimit is how long an orderly stop may take: two thirds of it longer than a
// request may be under way, all of it shorter than a supervisor's patience.
const stopLimit = 8 * time.Second

// startGrace is how long the first clients wait for the cluster to take the node
// in, startPatience how long a start may be silent.
const (
	startGrace    = time.Second
	startPatience = 10 * time.Second
)

// serve runs the server until a signal or SHUTDOWN stops it.
func serve(ctx context.Context, cfg *options.Config, stderr io.Writer) error {
	out := newLines(stderr, cfg.LogFormat)
	defer out.close()
	log, threshold := newLogger(out, cfg.LogFormat, cfg.LogLevel)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer watchSignals(stop, log, out)()

	// The sockets come first: where the port is busy, no data was touched.
	listeners, err := bindAll(cfg)
	if err != nil {
		return err
	}
	for _, warning := range cfg.Warnings() {
		log.Warn(warning)
	}
	if _, shortage := fitFiles(cfg.MaxClients, listeners.clientPorts()); shortage != nil {
		log.Warn("fewer clients than max-clients will get in", "error", shortage)
	}
	rooms, started := newStartLog(log)
	slow := time.AfterFunc(startPatience, func() {
		log.Warn("still starting: reading the data directory", "data", absolute(cfg.DataDir))
	})
	n, err := open(cfg, listeners, rooms, threshold, stop, out)
	slow.Stop()
	if err != nil {
		listeners.unbind()
		return err
	}
	err = n.run(ctx, cfg, listeners, log, func() { started.Store(true) })
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return errors.Join(err, n.close(limited))
}

// run accepts clients until ctx ends. Those who come while the cluster is about
// to take the node in wait for it; when that lasts, they are let in and hear
// CLUSTERDOWN, until the cluster is there.
func (n *node) run(ctx context.Context, cfg *options.Config, listeners *sockets, log *slog.Logger, started func()) error {
	serves := make(chan error, 1)
	go func() { serves <- n.cluster.Serving(ctx) }()
	grace, slow := time.NewTimer(startGrace), time.NewTimer(startPatience)
	defer grace.Stop()
	defer slow.Stop()
	failed := make(chan error, 2)
	accepting := false
	defer func() {
		if !accepting {
			unbind(listeners.clients)
			unbind(listeners.sentinel)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			log.Debug("stopping", "why", context.Cause(ctx))
			return nil
		case err := <-failed:
			return fmt.Errorf("the server stopped accepting clients: %w", err)
		case err := <-serves:
			if err != nil {
				if ctx.Err() != nil {
					continue // stopped while it started: nothing was served, nothing is lost
				}
				return err
			}
			slow.Stop()
			log.Info("serving", "listen", names(listeners.clients), "node", cfg.NodeID, "data", absolute(cfg.DataDir), "version", version)
			started()
			serves = nil
		case <-grace.C:
		case <-slow.C:
			log.Warn("still starting: no leader, or not enough nodes; clients are answered CLUSTERDOWN", "listen", names(listeners.clients), "node", cfg.NodeID)
		}
		if !accepting {
			accepting = true
			n.accept(listeners, failed)
		}
	}
}

// accept lets clients in.
func (n *node) accept(listeners *sockets, failed chan<- error) {
	go func() { failed <- n.server.Serve(listeners.clients...) }()
	if n.sentinel != nil {
		go func() { failed <- n.sentinel.Serve(listeners.sentinel...) }()
	}
}

var errSignal = errors.New("a signal asked for it")

// watchSignals stops the server on the first SIGTERM or SIGINT and ends the
// process on the second. The returned function ends the watch.
//
// SIGHUP and SIGPIPE are ignored, as by Redis. They would end the process on the spot,
// and with it every lock of its clients: SIGHUP by habit (other servers read their
// configuration anew), SIGPIPE with the first line that is logged after whoever reads
// the log has gone.
func watchSignals(stop context.CancelCauseFunc, log *slog.Logger, out *lines) func() {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case s := <-signals:
				if first {
					stop(fmt.Errorf("%w: %v", errSignal, s))
					continue
				}
				log.Warn("a second signal: ending at once", "signal", s.String())
				out.flush()
				code := exitStart
				if n, ok := s.(syscall.Signal); ok {
					code = 128 + int(n)
				}
				os.Exit(code)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
