package options

import "time"

// Config is the configuration of one node. Its fields are described in the
// table; all sizes are bytes.
type Config struct {
	ConfigFile string

	// Serving.
	Listen          []string
	RequirePass     string
	RequirePassFile string
	ProtectedMode   bool

	// The node.
	DataDir        string
	NodeID         string
	RequestTimeout time.Duration

	// The nodes of the cluster.
	InitialCluster     []Peer
	Join               []string
	AwaitMeet          bool
	PeerListen         string
	PeerAdvertise      string
	Announce           string
	FollowerMode       string
	ClusterEnabled     string
	SentinelListen     string
	SentinelMasterName string
	PeerTLSCert        string
	PeerTLSKey         string
	PeerTLSCA          string
	InsecurePeers      bool

	// Clients.
	MaxClients    int64
	TCPTimeout    time.Duration
	IdleTimeout   time.Duration
	WriteTimeout  time.Duration
	FrameTimeout  time.Duration
	LingerTimeout time.Duration

	MaxArguments     int64
	MaxBulk          int64
	MaxCommand       int64
	MaxInline        int64
	PipelineCommands int64
	PipelineBytes    int64
	Output           int64
	MaxOutput        int64
	MaxTotalOutput   int64

	// Clients that have not given the password yet.
	AuthTimeout      time.Duration
	AuthMaxArguments int64
	AuthMaxBulk      int64
	AuthMaxCommand   int64

	// The disk.
	CacheSize    int64
	MemTableSize int64
	DiskTimeout  time.Duration

	// Logs.
	LogLevel  string
	LogFormat string

	// cluster holds the cluster settings by name: they go to the machine as
	// text, which knows best what they mean.
	cluster map[string]string
	origins map[string]Origin
}

// New returns the defaults.
func New() *Config {
	c := &Config{cluster: map[string]string{}, origins: map[string]Origin{}}
	for i := range table {
		o := &table[i]
		if err := o.bind(c).Set(o.Default); err != nil {
			panic("options: default of " + o.Name + ": " + err.Error()) // a bug in the table
		}
		c.origins[o.Name] = Origin{}
	}
	return c
}

// Origin tells where a value came from.
type Origin struct {
	// Layer is which of the layers gave the value.
	Layer Layer
	// Where names the place as an error or a person wants it: "--listen",
	// "REDLOCKD_LISTEN", "/etc/redlockd.toml: listen". Empty for a default.
	Where string
}

// Layer is one place where values come from.
type Layer uint8

// The layers, the weakest first.
const (
	LayerDefault Layer = iota
	LayerFile
	LayerEnvironment
	LayerFlag
	LayerLive // CONFIG SET
)

// Origin returns where the option's value came from.
func (c *Config) Origin(name string) Origin { return c.origins[name] }

// Cluster returns the cluster settings that somebody gave, by name; those left
// at their defaults are not in it, so that a node which says nothing about a
// setting never changes it for the others.
func (c *Config) Cluster() map[string]string {
	given := map[string]string{}
	for name, value := range c.cluster {
		if c.origins[name].Layer != LayerDefault {
			given[name] = value
		}
	}
	return given
}

func (c *Config) clone() *Config {
	n := *c
	n.cluster = make(map[string]string, len(c.cluster))
	for k, v := range c.cluster {
		n.cluster[k] = v
	}
	n.origins = make(map[string]Origin, len(c.origins))
	for k, v := range c.origins {
		n.origins[k] = v
	}
	return &n
}
