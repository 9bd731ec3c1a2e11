package options

import (
	"strings"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// Scope says whose an option is.
type Scope uint8

// The scopes.
const (
	// ScopeStart: read once, when the node starts.
	ScopeStart Scope = iota
	// ScopeLive: this node's; CONFIG SET changes it while it serves.
	ScopeLive
	// ScopeCluster: in the replicated state; CONFIG SET changes it for all
	// nodes, and a node that is started with it proposes it.
	ScopeCluster
)

// Option is one row of the table.
type Option struct {
	// Name is the flag without its dashes, and the key in the file.
	Name string
	// Group is the headline above it in help and manual.
	Group   string
	Default string
	Scope   Scope
	// Secret values are never printed.
	Secret bool
	// Bare is the value of the flag without one, as --insecure-peers; empty: it needs one.
	Bare string
	// FlagOnly options cannot stand in the file that they name.
	FlagOnly bool
	Help     string
	bind     func(*Config) Value
}

// Env returns the option's environment variable.
func (o *Option) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// Type returns the word for the option's kind of value.
func (o *Option) Type() string {
	c := Config{cluster: map[string]string{}}
	return o.bind(&c).Type()
}

const envPrefix = "REDLOCKD_"

// The headlines, in the order of help and manual.
const (
	groupServe   = "Serving"
	groupNode    = "The node"
	groupPeers   = "The nodes of the cluster"
	groupClients = "Limits for clients"
	groupDisk    = "The disk"
	groupLogs    = "Logs"
	groupCluster = "The cluster (shared by all nodes; given here, a node proposes them at its start)"
)

// Groups lists the headlines in their order.
func Groups() []string {
	return []string{groupServe, groupNode, groupPeers, groupClients, groupDisk, groupLogs, groupCluster}
}

// Table returns the options in the order of help and manual.
func Table() []Option { return table }

// Names lists the options' names in the order of the table.
func Names() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].Name
	}
	return names
}

func find(name string) *Option {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

const (
	second = time.Second
	hour   = time.Hour
)

var table = []Option{
	{
		Name: "listen", Group: groupServe, Default: "127.0.0.1:7379",
		Help: "where clients connect: host:port or unix:/path; repeat it for more than one",
		bind: func(c *Config) Value { return addresses(&c.Listen) },
	},
	{
		Name: "requirepass", Group: groupServe, Scope: ScopeLive, Secret: true,
		Help: "the password that clients give with AUTH or HELLO; empty: none. Flags show in the process list: prefer requirepass-file",
		bind: func(c *Config) Value { return text(&c.RequirePass) },
	},
	{
		Name: "requirepass-file", Group: groupServe,
		Help: "a file whose first line is the password",
		bind: func(c *Config) Value { return text(&c.RequirePassFile) },
	},
	{
		Name: "protected-mode", Group: groupServe, Default: "yes",
		Help: "refuse to listen beyond this machine without a password",
		bind: func(c *Config) Value { return yesNo(&c.ProtectedMode) },
	},
	{
		Name: "config", Group: groupServe, FlagOnly: true,
		Help: "a file in TOML with options by these names, such as listen = \"127.0.0.1:7379\"",
		bind: func(c *Config) Value { return text(&c.ConfigFile) },
	},

	{
		Name: "data-dir", Group: groupNode, Default: "./redlockd-data",
		Help: "where everything that must last is kept; made if missing",
		bind: func(c *Config) Value { return needed(&c.DataDir, "directory") },
	},
	{
		Name: "node-id", Group: groupNode, Default: "n1",
		Help: "the node's name in the cluster, for good: it never changes for a data directory",
		bind: func(c *Config) Value { return name(&c.NodeID) },
	},
	{
		Name: "request-timeout", Group: groupNode, Default: "5s",
		Help: "how long a request may wait for the cluster before it gets CLUSTERDOWN or UNCERTAIN; a LOCK that stands in line is not under it",
		bind: func(c *Config) Value { return span(&c.RequestTimeout, 100*time.Millisecond, hour) },
	},

	{
		Name: "initial-cluster", Group: groupPeers,
		Help: "the nodes that found the cluster together, the same list on each of them, this one in it: n1=host:port,n2=host:port,... where the others reach their peer-listen; once the data directory belongs to a cluster, the list may stay, follow its members, or be left out. Without it and without join a new node founds a cluster of one",
		bind: func(c *Config) Value { return nodes(&c.InitialCluster) },
	},
	{
		Name: "join", Group: groupPeers,
		Help: "join the cluster of the node that peers reach there; several are tried in turn; passed over once the data directory belongs to a cluster",
		bind: func(c *Config) Value { return peers(&c.Join) },
	},
	{
		Name: "await-meet", Group: groupPeers, Default: "no", Bare: "yes",
		Help: "with an empty data directory: wait for CLUSTER MEET on a node of the cluster, instead of join",
		bind: func(c *Config) Value { return yesNo(&c.AwaitMeet) },
	},
	{
		Name: "peer-listen", Group: groupPeers, Default: DefaultPeerListen,
		Help: "where this node listens for the other nodes; it does so if this, initial-cluster, join or await-meet is given: a cluster of one that shall grow needs it",
		bind: func(c *Config) Value { return address(&c.PeerListen) },
	},
	{
		Name: "peer-advertise", Group: groupPeers,
		Help: "where the other nodes reach this one, if that is not peer-listen (host:port)",
		bind: func(c *Config) Value { return reachable(&c.PeerAdvertise) },
	},
	{
		Name: "announce", Group: groupPeers,
		Help: "where clients reach this node, if that is not its first listen address (host:port, better an IP than a name): CLUSTER SLOTS, MOVED and Sentinel tell it",
		bind: func(c *Config) Value { return reachable(&c.Announce) },
	},
	{
		Name: "follower-mode", Group: groupPeers, Default: FollowerProxy,
		Help: "what a follower does with lock commands: proxy hands them on to the leader, redirect answers MOVED (or READONLY, with cluster-enabled=no) on connections that have done nothing here yet",
		bind: func(c *Config) Value { return choice(&c.FollowerMode, FollowerProxy, FollowerRedirect) },
	},
	{
		Name: "cluster-enabled", Group: groupPeers, Default: ClusterAuto,
		Help: "whether clients see a Redis Cluster (CLUSTER SLOTS, cluster_enabled:1); auto: as soon as there is more than one node; no: each node looks like a server of its own (docs/cluster.md says who needs that)",
		bind: func(c *Config) Value { return choice(&c.ClusterEnabled, ClusterAuto, ClusterYes, ClusterNo) },
	},
	{
		Name: "sentinel-listen", Group: groupPeers,
		Help: "where clients find the leader as they do with Redis Sentinel (host:port, usually :26379); empty: nowhere",
		bind: func(c *Config) Value { return maybeAddress(&c.SentinelListen) },
	},
	{
		Name: "sentinel-master-name", Group: groupPeers, Default: "mymaster",
		Help: "what Sentinel clients call the cluster",
		bind: func(c *Config) Value { return name(&c.SentinelMasterName) },
	},
	{
		Name: "peer-tls-cert", Group: groupPeers,
		Help: "this node's certificate (PEM), shown to the other nodes and checked by them, in both directions; needs peer-tls-key and peer-tls-ca",
		bind: func(c *Config) Value { return text(&c.PeerTLSCert) },
	},
	{
		Name: "peer-tls-key", Group: groupPeers,
		Help: "the key of that certificate (PEM)",
		bind: func(c *Config) Value { return text(&c.PeerTLSKey) },
	},
	{
		Name: "peer-tls-ca", Group: groupPeers,
		Help: "the certificates (PEM) that have signed those of all nodes: best a CA for nothing else",
		bind: func(c *Config) Value { return text(&c.PeerTLSCA) },
	},
	{
		Name: "insecure-peers", Group: groupPeers, Default: "no", Bare: "yes",
		Help: "let nodes speak to one another beyond this machine without TLS: whoever reaches the port is trusted then",
		bind: func(c *Config) Value { return yesNo(&c.InsecurePeers) },
	},

	{
		Name: "max-clients", Group: groupClients, Default: "10000", Scope: ScopeLive,
		Help: "connections at a time; further ones get an error and are closed",
		bind: func(c *Config) Value { return count(&c.MaxClients, 1, 1_000_000) },
	},
	{
		Name: "tcp-timeout", Group: groupClients, Default: "15s", Scope: ScopeLive,
		Help: "a client whose machine has acknowledged nothing for so long is gone (TCP keepalive and TCP_USER_TIMEOUT); whole seconds, for connections made from now on",
		bind: func(c *Config) Value { return seconds(&c.TCPTimeout, 3*second, 24*hour) },
	},
	{
		Name: "idle-timeout", Group: groupClients, Default: "0", Scope: ScopeLive,
		Help: "a client that sends nothing for so long, with no reply outstanding, is closed; 0: never",
		bind: func(c *Config) Value { return span(&c.IdleTimeout, 0, 8760*hour) },
	},
	{
		Name: "write-timeout", Group: groupClients, Default: "10s", Scope: ScopeLive,
		Help: "a client that does not take 64 KiB of its replies within this time is closed",
		bind: func(c *Config) Value { return span(&c.WriteTimeout, 100*time.Millisecond, hour) },
	},
	{
		Name: "frame-timeout", Group: groupClients, Default: "30s", Scope: ScopeLive,
		Help: "a command, once begun, is complete within this time, or its connection is closed",
		bind: func(c *Config) Value { return span(&c.FrameTimeout, 100*time.Millisecond, hour) },
	},
	{
		Name: "linger-timeout", Group: groupClients, Default: "1s", Scope: ScopeLive,
		Help: "how long a client that the server closes may take to read its last reply",
		bind: func(c *Config) Value { return span(&c.LingerTimeout, 0, hour) },
	},
	{
		Name: "max-arguments", Group: groupClients, Default: "64", Scope: ScopeLive,
		Help: "arguments of one command, its name included",
		bind: func(c *Config) Value { return count(&c.MaxArguments, 16, 1024) },
	},
	{
		Name: "max-bulk-size", Group: groupClients, Default: "64kb", Scope: ScopeLive,
		Help: "bytes of one argument",
		bind: func(c *Config) Value { return size(&c.MaxBulk, 1<<10, 1<<20) },
	},
	{
		Name: "max-command-size", Group: groupClients, Default: "128kb", Scope: ScopeLive,
		Help: "bytes of one command",
		bind: func(c *Config) Value { return size(&c.MaxCommand, 2<<10, 16<<20) },
	},
	{
		Name: "max-inline-size", Group: groupClients, Default: "1kb", Scope: ScopeLive,
		Help: "bytes of a command typed as a line, without the protocol",
		bind: func(c *Config) Value { return size(&c.MaxInline, 128, 64<<10) },
	},
	{
		Name: "pipeline-commands", Group: groupClients, Default: "1024", Scope: ScopeLive,
		Help: "commands of one connection that may be under way; beyond it nothing more is read from it for the moment",
		bind: func(c *Config) Value { return count(&c.PipelineCommands, 1, 1<<20) },
	},
	{
		Name: "pipeline-size", Group: groupClients, Default: "1mb", Scope: ScopeLive,
		Help: "bytes of commands of one connection that may be under way",
		bind: func(c *Config) Value { return size(&c.PipelineBytes, 64<<10, 1<<30) },
	},
	{
		Name: "output-size", Group: groupClients, Default: "1mb", Scope: ScopeLive,
		Help: "bytes of replies that a client may leave unread before no more of its commands run",
		bind: func(c *Config) Value { return size(&c.Output, 16<<10, 1<<30) },
	},
	{
		Name: "max-output-size", Group: groupClients, Default: "32mb", Scope: ScopeLive,
		Help: "bytes of replies that a client may leave unread before it is closed",
		bind: func(c *Config) Value { return size(&c.MaxOutput, 1<<20, 1<<34) },
	},
	{
		Name: "max-total-output-size", Group: groupClients, Default: "32mb", Scope: ScopeLive,
		Help: "bytes of replies that all clients together may leave unread; beyond it those that leave most are closed (as by Redis's maxmemory-clients)",
		bind: func(c *Config) Value { return size(&c.MaxTotalOutput, 1<<20, 1<<40) },
	},
	{
		Name: "auth-timeout", Group: groupClients, Default: "10s", Scope: ScopeLive,
		Help: "where a password is set: a connection that has not given it within this time is closed",
		bind: func(c *Config) Value { return span(&c.AuthTimeout, 100*time.Millisecond, hour) },
	},
	{
		Name: "auth-max-arguments", Group: groupClients, Default: "10", Scope: ScopeLive,
		Help: "arguments of one command before the password was given",
		bind: func(c *Config) Value { return count(&c.AuthMaxArguments, 7, 1024) },
	},
	{
		Name: "auth-max-bulk-size", Group: groupClients, Default: "4kb", Scope: ScopeLive,
		Help: "bytes of one argument before the password was given",
		bind: func(c *Config) Value { return size(&c.AuthMaxBulk, 128, 1<<20) },
	},
	{
		Name: "auth-max-command-size", Group: groupClients, Default: "64kb", Scope: ScopeLive,
		Help: "bytes of one command before the password was given",
		bind: func(c *Config) Value { return size(&c.AuthMaxCommand, 1<<10, 16<<20) },
	},

	{
		Name: "cache-size", Group: groupDisk, Default: "4mb",
		Help: "memory for blocks read from the disk",
		bind: func(c *Config) Value { return size(&c.CacheSize, 1<<20, 1<<40) },
	},
	{
		Name: "memtable-size", Group: groupDisk, Default: "8mb",
		Help: "memory for what was written since the last flush; up to three of this size exist when it is busy",
		bind: func(c *Config) Value { return size(&c.MemTableSize, 1<<20, 1<<30) },
	},
	{
		Name: "disk-timeout", Group: groupDisk, Default: "10s",
		Help: "a synced write that takes longer than this ends the process (exit code 75): a node whose disk hangs must not stay in office",
		bind: func(c *Config) Value { return span(&c.DiskTimeout, second, hour) },
	},

	{
		Name: "log-level", Group: groupLogs, Default: "info", Scope: ScopeLive,
		Help: "the least level that is logged",
		bind: func(c *Config) Value { return choice(&c.LogLevel, "debug", "info", "warn", "error") },
	},
	{
		Name: "log-format", Group: groupLogs, Default: "text",
		Help: "how a log line looks; logs go to standard error",
		bind: func(c *Config) Value { return choice(&c.LogFormat, "text", "json") },
	},

	cluster(fsm.SettingSessionTimeout, "time", "10s",
		"a node that the cluster has not heard of for so long has lost its connections; also the TTL of a named session that gives none"),
	cluster(fsm.SettingAcquireLimit, "limits", "0",
		"how often an owner may hold one lock at a time: a number (0: no limit; 1: locks are not reentrant), or glob=limit pairs, first match wins: orders:*=1 *=0"),
	cluster(fsm.SettingFenceFloor, "number", "0", "the next fence is above this; it only ever rises"),
	cluster(fsm.SettingMaxSessions, "number", "100000", "sessions, named and anonymous"),
	cluster(fsm.SettingMaxHolds, "number", "1000000", "held locks"),
	cluster(fsm.SettingMaxSessionHolds, "number", "1000000", "held locks of one session"),
	cluster(fsm.SettingMaxWaiters, "number", "10000", "waiters of one lock"),
	cluster(fsm.SettingMaxWaits, "number", "100000", "waiters in all"),
	cluster(fsm.SettingMaxDestroyed, "number", "100000", "destroyed names"),
	cluster(fsm.SettingMaxIDs, "number", "100000", "request IDs remembered for one session; those of UNLOCK have as much room again"),
	cluster(fsm.SettingMaxNotices, "number", "100000", "losses that their owners have not been told yet; beyond it the oldest is forgotten"),
}

// cluster is the row of a cluster setting.
func cluster(name, kind, standard, help string) Option {
	return Option{
		Name: name, Group: groupCluster, Default: standard, Scope: ScopeCluster, Help: help,
		bind: func(c *Config) Value { return setting{c, name, kind} },
	}
}
