package commands

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"
)

// This file has INFO. Numbers are read where they are kept; nothing is counted
// for INFO alone.

// section is one part of INFO.
type section struct {
	name  string
	more  bool // shown when asked for by name, or with all
	write func(h *Handler, b *infoWriter)
}

func infoSections() []section {
	return []section{
		{name: "Server", write: infoServer},
		{name: "Clients", write: infoClients},
		{name: "Memory", write: infoMemory},
		{name: "Persistence", write: infoPersistence},
		{name: "Stats", write: infoStats},
		{name: "Replication", write: infoReplication},
		{name: "Raft", write: infoRaft},
		{name: "Locks", write: infoLocks},
		{name: "Sessions", write: infoSessions},
		{name: "Commandstats", more: true, write: infoCommandStats},
		{name: "Cluster", write: infoCluster},
	}
}

func runInfo(c *client, args [][]byte) {
	asked := map[string]bool{}
	for _, a := range args[1:] {
		asked[strings.ToLower(string(a))] = true
	}
	all := asked["all"] || asked["everything"]
	byDefault := len(args) == 1 || asked["default"] || all
	b := &infoWriter{}
	for _, s := range c.h.sections {
		if byDefault && !s.more || all || asked[strings.ToLower(s.name)] {
			b.section(s.name)
			s.write(c.h, b)
		}
	}
	c.prose(b.String())
}

// infoWriter writes the lines of INFO.
type infoWriter struct{ strings.Builder }

func (b *infoWriter) section(name string) {
	if b.Len() > 0 {
		b.WriteString("\r\n")
	}
	b.WriteString("# " + name + "\r\n")
}

func (b *infoWriter) line(name string, value any) {
	fmt.Fprintf(b, "%s:%v\r\n", name, value)
}

func infoServer(h *Handler, b *infoWriter) {
	now := h.o.Now()
	up := int64(now.Sub(h.started) / time.Second)
	b.line("redis_version", RedisVersion)
	b.line("redlockd_version", h.o.Version)
	b.line("redis_mode", h.mode())
	b.line("os", runtime.GOOS+" "+runtime.GOARCH)
	b.line("arch_bits", 32<<(^uint(0)>>63))
	b.line("go_version", runtime.Version())
	b.line("process_id", os.Getpid())
	b.line("run_id", h.o.RunID)
	b.line("tcp_port", h.o.Port())
	b.line("server_time_usec", now.UnixMicro())
	b.line("uptime_in_seconds", up)
	b.line("uptime_in_days", up/86400)
}

func infoClients(h *Handler, b *infoWriter) {
	blocked := 0
	h.each(func(c *client) bool {
		if c.sc.Info().Waiting {
			blocked++
		}
		return true
	})
	b.line("connected_clients", h.count())
	b.line("cluster_connections", 0)
	b.line("maxclients", h.o.Limits.Clients.Load())
	b.line("blocked_clients", blocked)
	b.line("tracking_clients", 0)
	b.line("unread_output_bytes", h.o.Net().Unread.Load())
}

func infoMemory(_ *Handler, b *infoWriter) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	b.line("used_memory", samples[0].Value.Uint64())
	b.line("used_memory_rss", samples[1].Value.Uint64())
}

func infoPersistence(h *Handler, b *infoWriter) {
	s := h.o.Status()
	b.line("loading", 0)
	b.line("async_loading", 0)
	b.line("store_bytes", s.StoreBytes)
	b.line("disk_free_bytes", s.DiskFree)
	b.line("disk_total_bytes", s.DiskTotal)
}

func infoStats(h *Handler, b *infoWriter) {
	n := h.o.Net()
	b.line("total_connections_received", n.Accepted.Load())
	b.line("total_commands_processed", n.Commands.Load())
	b.line("total_net_input_bytes", n.BytesIn.Load())
	b.line("total_net_output_bytes", n.BytesOut.Load())
	b.line("rejected_connections", n.Rejected.Load())
	b.line("total_reads_processed", n.Bursts.Load())
	b.line("total_writes_processed", n.Writes.Load())
	b.line("slow_writes", n.SlowWrites.Load())
	b.line("evicted_clients", n.Evicted.Load())
	b.line("protocol_errors", n.ProtocolErrors.Load())
	b.line("foreign_connections", n.Foreign.Load())
	b.line("timed_out_connections", n.Timeouts.Load())
	b.line("internal_errors", n.Panics.Load())
	var rejected, failed uint64
	h.table.Counts(func(_ string, _, r, f uint64) bool {
		rejected, failed = rejected+r, failed+f
		return true
	})
	b.line("total_error_replies", rejected+failed)
}

func infoLocks(h *Handler, b *infoWriter) {
	s := h.o.State.Stats()
	b.line("locks_held", s.Holds)
	b.line("locks_waiters", s.Waiters)
	b.line("locks_destroyed", s.Destroyed)
	b.line("lock_notices", s.Notices)
	b.line("lock_request_ids", s.IDs)
	b.line("last_fence", s.LastFence)
	b.line("total_grants", s.Grants)
	b.line("total_releases", s.Releases)
	b.line("total_lease_ends", s.Expired)
	b.line("total_forced", s.Forced)
	b.line("total_lost", s.Lost)
	b.line("total_wait_timeouts", s.Timeouts)
	b.line("total_cancelled", s.Cancelled)
}

func infoSessions(h *Handler, b *infoWriter) {
	s := h.o.State.Stats()
	b.line("sessions", s.Sessions)
	b.line("named_sessions", s.NamedSessions)
	b.line("session_connections", s.Connections)
	timeout, _ := h.o.State.Setting("session-timeout")
	b.line("session_timeout_ms", timeout)
}

func infoCommandStats(h *Handler, b *infoWriter) {
	h.table.Counts(func(name string, calls, rejected, failed uint64) bool {
		if calls+rejected+failed > 0 {
			b.line("cmdstat_"+name, fmt.Sprintf("calls=%d,rejected_calls=%d,failed_calls=%d", calls, rejected, failed))
		}
		return true
	})
}

func infoCluster(h *Handler, b *infoWriter) {
	b.line("cluster_enabled", boolInt(h.clustered()))
}
