package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redlockd/redlockd/cluster"
	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
	"github.com/redlockd/redlockd/commands"
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
	"github.com/redlockd/redlockd/store"
)

// node is one redlockd, put together:
//
//	store ◀── cluster ──▶ sessions.Table (its Host) ──▶ commands.Handler ──▶ resp.Server
type node struct {
	store    *store.Store
	cluster  *cluster.Node
	server   *resp.Server
	sentinel *resp.Server // nil without a Sentinel port
	watched  func()       // ends the watch over who leads
	// flush writes the replies of one delivery; set before anybody is accepted.
	flush func([]sessions.Answerer)
	space space
}

// errShutdown is why the node stops when a client said SHUTDOWN.
var errShutdown = errors.New("a client said SHUTDOWN")

// open puts a node together over its data directory; it becomes part of the
// cluster by itself, and nobody is accepted yet. stop is called by SHUTDOWN. log goes to
// out, which has the last word where a room can not go on.
func open(cfg *options.Config, listeners *sockets, log *slog.Logger, threshold *slog.LevelVar,
	stop context.CancelCauseFunc, out *lines,
) (*node, error) {
	s, err := store.Open(store.Options{
		Dir: cfg.DataDir, Logger: log, CacheBytes: cfg.CacheSize, MemTableBytes: cfg.MemTableSize, WriteLimit: cfg.DiskTimeout,
		OnFatal: out.fatal(log, true),
	})
	if err != nil {
		return nil, err
	}
	n := &node{store: s, space: space{look: s.DiskFree}}
	table := sessions.NewTable(sessions.Options{
		Logger:   log,
		FlushAll: func(touched []sessions.Answerer) { n.flush(touched) },
		// At a thousand new connections a second that is once in 25 days.
		OnExhausted: func(inc fsm.Incarnation) { n.cluster.Renew(inc, sessions.ErrExhausted) },
	})
	c, err := cluster.Open(cluster.Options{
		NodeID: cfg.NodeID, PeerAddr: peerAddr(cfg, listeners), Storage: s, Host: table, Logger: log,
		RequestTimeout: cfg.RequestTimeout, Settings: cfg.Cluster(),
		Peer: peerOptions(cfg, listeners, log), InitialCluster: initialCluster(cfg), Join: cfg.Join, Await: cfg.AwaitMeet,
		Announce: announce(cfg, listeners), OnFatal: out.fatal(log, false),
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	n.cluster = c
	table.SetCluster(c)
	limits := resp.NewLimits()
	limit := func(now *options.Config) {
		setLimits(limits, now)
		fit, _ := fitFiles(now.MaxClients, listeners.clientPorts())
		limits.Clients.Store(fit)
	}
	limit(cfg)
	live := options.NewLive(cfg, func(now *options.Config) {
		limit(now)
		setLevel(threshold, now.LogLevel)
	})
	password := func() string { return live.Config().RequirePass }
	handler := commands.NewHandler(commands.Options{
		Version: version, RunID: runID(), Port: func() int { return firstPort(listeners.clients) },
		Open: commands.OpenIn(table), State: commands.StateOf(c.View), Status: n.status,
		Cluster: members{c, cfg.NodeID}, ClusterMode: clusterMode(cfg), Redirect: cfg.FollowerMode == options.FollowerRedirect,
		Settings: nodeSettings{live}, Password: password, Backup: n.backup,
		Shutdown: func() { stop(errShutdown) },
		Net:      func() *resp.Stats { return n.server.Stats() }, Limits: limits, Logger: log,
	})
	n.server = resp.NewServer(resp.Options{Handler: handler, Limits: limits, Logger: log, Quiet: handler.Quiet})
	n.flush = commands.FlushAll(n.server)
	if len(listeners.sentinel) > 0 {
		n.openSentinel(cfg, listeners, limits, password, log)
	}
	return n, nil
}

// close stops the node in the order in which nothing is lost: clients first,
// then the cluster, then the disk.
func (n *node) close(ctx context.Context) error {
	n.cluster.Leave()
	return errors.Join(n.stopClients(ctx), n.cluster.Close(ctx), n.store.Close())
}

// stopClients ends the clients' connections once they have taken their replies. One
// that does not read has two thirds of the time: the cluster needs some to hand the
// leadership over, and without that all nodes would stand still for an election.
func (n *node) stopClients(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	var sentinel error
	if n.sentinel != nil {
		n.watched()
		sentinel = n.sentinel.Shutdown(ctx)
	}
	return errors.Join(sentinel, n.server.Shutdown(ctx))
}

// setLimits copies the limits of the configuration to where they act.
func setLimits(l *resp.Limits, c *options.Config) {
	l.Clients.Store(c.MaxClients)
	l.TCPTimeout.Store(c.TCPTimeout)
	l.IdleTimeout.Store(c.IdleTimeout)
	l.WriteTimeout.Store(c.WriteTimeout)
	l.FrameTimeout.Store(c.FrameTimeout)
	l.Linger.Store(c.LingerTimeout)
	l.Args.Store(c.MaxArguments)
	l.Bulk.Store(c.MaxBulk)
	l.Frame.Store(c.MaxCommand)
	l.Inline.Store(c.MaxInline)
	l.PipelineCommands.Store(c.PipelineCommands)
	l.PipelineBytes.Store(c.PipelineBytes)
	l.Output.Store(c.Output)
	l.OutputHard.Store(c.MaxOutput)
	l.OutputTotal.Store(c.MaxTotalOutput)
	l.AuthTimeout.Store(c.AuthTimeout)
	l.UnauthArgs.Store(c.AuthMaxArguments)
	l.UnauthBulk.Store(c.AuthMaxBulk)
	l.UnauthFrame.Store(c.AuthMaxCommand)
}

// nodeSettings is the live configuration as CONFIG sees it.
type nodeSettings struct{ *options.Live }

// Set implements commands.Settings.
func (s nodeSettings) Set(name, value string) error {
	err := s.Live.Set(name, value)
	if errors.Is(err, options.ErrStart) {
		return fmt.Errorf("%w: %w", commands.ErrImmutable, err)
	}
	return err
}

// runID is what INFO shows: 40 hexadecimal digits, drawn anew at each start.
func runID() string {
	var id [20]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(id[:])
}

// firstPort is the port that INFO shows, 0 where there are only unix sockets.
func firstPort(listeners []net.Listener) int {
	for _, l := range listeners {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			return a.Port
		}
	}
	return 0
}
