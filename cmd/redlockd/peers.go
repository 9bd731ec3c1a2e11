package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redlockd/redlockd/cluster"
	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
	"github.com/redlockd/redlockd/commands"
	"github.com/redlockd/redlockd/resp"
)

// This file brings the nodes of the cluster from the options to cluster, and
// from cluster to commands.

func peerOptions(cfg *options.Config, s *sockets, log *slog.Logger) *peer.Options {
	if len(s.peers) == 0 {
		return nil
	}
	o := &peer.Options{Listener: s.peers[0], Insecure: cfg.InsecurePeers, Logger: log}
	if cfg.PeerTLSCert != "" {
		o.TLS = &peer.TLS{CertFile: cfg.PeerTLSCert, KeyFile: cfg.PeerTLSKey, CAFile: cfg.PeerTLSCA}
	}
	return o
}

// peerAddr is where the others reach this node; its listener knows the real port.
func peerAddr(cfg *options.Config, s *sockets) string {
	if len(s.peers) > 0 && cfg.PeerAddr() == cfg.PeerListen {
		if host, port, err := net.SplitHostPort(cfg.PeerListen); err == nil && port == "0" {
			_, port, _ = net.SplitHostPort(s.peers[0].Addr().String())
			return net.JoinHostPort(host, port)
		}
	}
	return cfg.PeerAddr()
}

func initialCluster(cfg *options.Config) map[string]string {
	if len(cfg.InitialCluster) == 0 {
		return nil
	}
	all := map[string]string{}
	for _, p := range cfg.InitialCluster {
		all[p.ID] = p.Addr
	}
	return all
}

// announce is what the other nodes tell clients of this one: its address, and
// behind a blank that of its Sentinel port, if it has one.
func announce(cfg *options.Config, s *sockets) string {
	var addrs []net.Addr
	for _, l := range s.clients {
		addrs = append(addrs, l.Addr())
	}
	text := cfg.AnnounceAddr(addrs)
	if len(s.sentinel) > 0 {
		text += " " + cfg.AnnounceSentinel(s.sentinel[0].Addr())
	}
	return text
}

func clusterMode(cfg *options.Config) commands.ClusterMode {
	switch cfg.ClusterEnabled {
	case options.ClusterYes:
		return commands.ClusterOn
	case options.ClusterNo:
		return commands.ClusterOff
	}
	return commands.ClusterAuto
}

// members is the cluster as commands see it.
type members struct {
	n  *cluster.Node
	id string
}

var _ commands.Cluster = members{}

func (m members) MyID() string { return m.id }

func (m members) Members() []commands.Member {
	clusterID := m.n.ClusterID()
	all := m.n.Members()
	found := make([]commands.Member, len(all))
	for i := range all {
		found[i] = member(clusterID, &all[i])
	}
	return found
}

func member(clusterID string, c *cluster.Member) commands.Member {
	client, sentinel, _ := strings.Cut(c.Announce, " ")
	m := commands.Member{
		ID: c.ID, NodeID: commands.NodeHex(clusterID, c.ID), Addr: client, Sentinel: sentinel, PeerAddr: c.Addr,
		Role: c.Role, Suffrage: "nonvoter", Leader: c.Leader, Connected: c.Connected, MatchIndex: c.LogLast, LastContactMS: -1,
	}
	if c.Voter {
		m.Suffrage = commands.SuffrageVoter
	}
	if c.LastContact >= 0 {
		m.LastContactMS = c.LastContact.Milliseconds()
	}
	return m
}

func (m members) Leader() (commands.Member, bool) {
	one, ok := m.n.Leader()
	if !ok {
		return commands.Member{}, false
	}
	return member(m.n.ClusterID(), &one), true
}

func (m members) Meet(ctx context.Context, address string) error { return m.n.Meet(ctx, address) }
func (m members) Forget(ctx context.Context, id string) error    { return m.n.Forget(ctx, id) }
func (m members) Failover(ctx context.Context, id string) error  { return m.n.Failover(ctx, id) }

// watchEvery is how often the Sentinel port looks who leads by itself: the address
// of a new leader may become known after it leads.
const watchEvery = time.Second

// openSentinel makes the Sentinel port's server, and watches the leader for it.
func (n *node) openSentinel(cfg *options.Config, s *sockets, limits *resp.Limits, password func() string, log *slog.Logger) {
	handler := commands.NewSentinel(commands.SentinelOptions{
		Version: version, RunID: runID(), Port: func() int { return firstPort(s.sentinel) }, MasterName: cfg.SentinelMasterName,
		Cluster: members{n.cluster, cfg.NodeID}, Status: n.status, Password: password,
		Net: func() *resp.Stats { return n.sentinel.Stats() }, Limits: limits, Logger: log,
	})
	n.sentinel = resp.NewServer(resp.Options{Handler: handler, Limits: limits, Logger: log})
	quit, done := make(chan struct{}), make(chan struct{})
	n.watched = func() { close(quit); <-done }
	go func() {
		defer close(done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			changed := n.cluster.LeaderChanged()
			handler.Observe()
			select {
			case <-changed:
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
}
