package commands

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
)

// RedisVersion is the Redis release whose answers the handshake resembles.
// Client libraries read it to choose what they send; it must be plain x.y.z.
const RedisVersion = "7.2.0"

// Options make a Handler. The functions are called by any goroutine and must not block,
// but where they say so.
type Options struct {
	// Version is redlockd's own; INFO shows it as redlockd_version.
	Version string
	// RunID is 40 hexadecimal digits, drawn anew at each start.
	RunID string
	// Port is the TCP port of the first listener, 0 if there is none.
	Port func() int
	// Open makes the session side of a new connection: OpenIn(table).
	Open Opener
	// State reads the lock machine: StateOf(node.View).
	State State
	// Status tells how this node does.
	Status func() Status
	// Cluster is the nodes; nil: this one alone, by its Status.
	Cluster Cluster
	// ClusterMode says when clients see a Redis Cluster.
	ClusterMode ClusterMode
	// Redirect makes a follower send lock commands to the leader (MOVED, or
	// READONLY where clients see no cluster) instead of forwarding them.
	Redirect bool
	// Backup takes a backup of the state, and may wait for it until ctx ends; nil:
	// there are none.
	Backup func(ctx context.Context) (*Backup, error)
	// Settings are the node's own settings; nil: none.
	Settings Settings
	// Password returns the password in force, empty: none is required. nil: none ever.
	Password func() string
	// Shutdown is called by SHUTDOWN and must return at once.
	Shutdown func()
	// Now is the wall clock of TIME and INFO; nil: time.Now.
	Now func() time.Time
	// Net returns the counters of the RESP server; nil: none.
	Net func() *resp.Stats
	// Limits are those of the RESP server; nil: none are shown.
	Limits *resp.Limits
	// Table is the commands served; nil: NewTable().
	Table *Table
	// Logger gets what an operator should know, such as a client killed; nil: slog.Default.
	Logger *slog.Logger
}

// Session is what a connection needs of its *sessions.Conn; see there.
type Session interface {
	ID() (fsm.ConnID, error)
	Do(op fsm.Op, tag any)
	Flush()
	SetName(name string) error
	Name() string
	Known() bool
	Touch()
	Alive() error
	Info() sessions.Info
	Closed()
}

// Opener opens the session side of a connection with an address; an error refuses the client.
type Opener func(addr string, a sessions.Answerer) (Session, error)

// OpenIn makes an Opener of a sessions table.
func OpenIn(t *sessions.Table) Opener {
	return func(addr string, a sessions.Answerer) (Session, error) {
		return t.Open("", addr, a)
	}
}

// State is what INFO and CONFIG GET read of the lock machine.
type State interface {
	// Setting returns a cluster setting as text.
	Setting(name string) (value string, ok bool)
	Stats() fsm.Stats
	// Now is the cluster time in ms.
	Now() int64
}

// StateOf reads the machine through a view between two applies.
func StateOf(view func(func(*fsm.Machine))) State { return machineView(view) }

type machineView func(func(*fsm.Machine))

func (v machineView) Setting(name string) (value string, ok bool) {
	v(func(m *fsm.Machine) { value, ok = m.Setting(name) })
	return value, ok
}

func (v machineView) Stats() (s fsm.Stats) {
	v(func(m *fsm.Machine) { s = m.Stats() })
	return s
}

func (v machineView) Now() (ms int64) {
	v(func(m *fsm.Machine) { ms = m.Now() })
	return ms
}

// Settings are the settings of one node, which CONFIG GET and CONFIG SET reach
// beside the cluster's (fsm.SettingNames).
type Settings interface {
	// List names all of them.
	List() []string
	// Get returns one as text.
	Get(name string) (value string, ok bool)
	// Set changes one. Its error says what is wrong with the value, without the
	// name; ErrImmutable: it can be set at the start only.
	Set(name, value string) error
}

// ErrImmutable is what Settings.Set answers for a setting of the start, in Redis's words.
var ErrImmutable = errors.New("can't set immutable config")

// Status is how a node does, for INFO and ROLE.
type Status struct {
	NodeID      string
	ClusterID   string
	Incarnation fsm.Incarnation
	Role        string // leader, follower, candidate
	Leader      string // the leader's node id, empty: none known
	Term        uint64
	Commit      uint64 // newest committed index known here
	Applied     uint64 // newest index applied here
	LogFirst    uint64
	LogLast     uint64
	Snapshot    uint64 // index of the newest snapshot
	Nodes       int    // in the configuration
	// Hash is that of all of the state at HashIndex, the newest at which nodes compare it; nodes with the same index have the same.
	HashIndex, Hash uint64
	// LastContact is how long ago the leader was heard, 0 on the leader itself, -1 never.
	LastContact time.Duration
	// DiskFree and DiskTotal are bytes; 0: not known.
	DiskFree, DiskTotal uint64
	// StoreBytes is what the data directory holds.
	StoreBytes uint64
}

// withDefaults fills in what is optional.
func (o Options) withDefaults() Options {
	if o.Port == nil {
		o.Port = func() int { return 0 }
	}
	if o.Status == nil {
		o.Status = func() Status { return Status{} }
	}
	if o.Backup == nil {
		o.Backup = func(context.Context) (*Backup, error) { return nil, errors.New("ERR this node takes no backups") }
	}
	if o.Settings == nil {
		o.Settings = noSettings{}
	}
	if o.Password == nil {
		o.Password = func() string { return "" }
	}
	if o.Shutdown == nil {
		o.Shutdown = func() {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Net == nil {
		none := &resp.Stats{}
		o.Net = func() *resp.Stats { return none }
	}
	if o.Limits == nil {
		o.Limits = &resp.Limits{}
	}
	if o.Table == nil {
		o.Table = NewTable()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

type noSettings struct{}

func (noSettings) List() []string            { return nil }
func (noSettings) Get(string) (string, bool) { return "", false }
func (noSettings) Set(string, string) error  { return ErrImmutable }
