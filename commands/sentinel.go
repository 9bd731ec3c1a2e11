package commands

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
)

// This file is the Sentinel port: what client libraries ask of Redis Sentinel
// to find the leader and to follow it. It decides nothing: Raft did.

// SentinelOptions make a Sentinel. Fields that Options has too mean the same.
type SentinelOptions struct {
	Version, RunID string
	Port           func() int
	// MasterName is what clients call the cluster; empty: mymaster.
	MasterName string
	Cluster    Cluster // required
	Status     func() Status
	Password   func() string
	Now        func() time.Time
	Net        func() *resp.Stats
	Limits     *resp.Limits
	Logger     *slog.Logger
}

// Sentinel is the resp.Handler of the Sentinel port.
type Sentinel struct{ *Handler }

var _ resp.Handler = (*Sentinel)(nil)

// NewSentinel returns a Sentinel over the cluster's view. Observe makes it look for a new leader.
func NewSentinel(o SentinelOptions) *Sentinel {
	if o.Cluster == nil {
		panic("commands: NewSentinel needs SentinelOptions.Cluster")
	}
	if o.MasterName == "" {
		o.MasterName = "mymaster"
	}
	h := newHandler(Options{
		Version: o.Version, RunID: o.RunID, Port: o.Port, Open: openLocal(), Status: o.Status, Cluster: o.Cluster, ClusterMode: ClusterOff,
		Password: o.Password, Now: o.Now, Net: o.Net, Limits: o.Limits, Logger: o.Logger, Table: sentinelTable(),
	})
	h.sections = sentinelSections()
	h.sentinel = &sentinel{h: h, name: o.MasterName}
	return &Sentinel{h}
}

// Observe looks who leads, and tells subscribers +switch-master when that is
// another node, or another address, than before. It is cheap: to be called
// whenever the leader may have changed, or often.
func (s *Sentinel) Observe() { s.sentinel.observe() }

// sentinel is what the Sentinel port remembers.
type sentinel struct {
	h    *Handler
	name string

	mu     sync.Mutex
	master Member // the newest leader known; ID empty: none so far
	since  time.Time
}

// observe returns the leader, or the last one while there is none; led says which.
func (s *sentinel) observe() (master Member, since time.Time, led bool) {
	now, led := s.h.o.Cluster.Leader()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, ok := now.endpoint(); led && ok {
		before := s.master
		s.master = now
		if before.Addr != now.Addr {
			s.since = s.h.o.Now()
			s.switched(&before, &now)
		}
	}
	return s.master, s.since, led
}

// switched tells of a new leader. The caller holds the lock, so that what is
// told comes in the order in which it happened.
func (s *sentinel) switched(before, now *Member) {
	oldHost, oldPort, ok := before.endpoint()
	if !ok {
		return // the first one
	}
	host, port, _ := now.endpoint()
	s.h.Publish("+switch-master", fmt.Sprintf("%s %s %d %s %d", s.name, oldHost, oldPort, host, port))
}

// localSession is the session side of a connection that has none: it only has
// a number and a name.
type localSession struct {
	id   fsm.ConnID
	mu   sync.Mutex
	name string
}

func openLocal() Opener {
	var last atomic.Uint64
	return func(string, sessions.Answerer) (Session, error) {
		return &localSession{id: fsm.ConnID(last.Add(1))}, nil
	}
}

func (s *localSession) ID() (fsm.ConnID, error) { return s.id, nil }
func (s *localSession) Do(fsm.Op, any)          { panic("commands: the Sentinel port has no ops") }
func (s *localSession) Flush()                  {}
func (s *localSession) Known() bool             { return false }
func (s *localSession) Touch()                  {}
func (s *localSession) Alive() error            { return nil }
func (s *localSession) Closed()                 {}

func (s *localSession) SetName(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
	return nil
}

func (s *localSession) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

func (s *localSession) Info() sessions.Info { return sessions.Info{ID: s.id, Name: s.Name()} }

func (s *sentinel) role(c *client) {
	w := c.rc.Begin()
	w.Array(2)
	w.BulkString("sentinel")
	w.Array(1)
	w.BulkString(s.name)
	c.rc.End(0)
}

func sentinelSections() []section {
	return []section{
		{name: "Server", write: infoServer},
		{name: "Clients", write: infoClients},
		{name: "Stats", write: infoStats},
		{name: "Sentinel", write: infoSentinel},
		{name: "Commandstats", more: true, write: infoCommandStats},
	}
}

func infoSentinel(h *Handler, b *infoWriter) {
	s := h.sentinel
	master, _, led := s.observe()
	status, address := "ok", master.Addr
	if !led {
		status = "odown"
	}
	b.line("sentinel_masters", 1)
	b.line("sentinel_tilt", 0)
	b.line("sentinel_tilt_since_seconds", -1)
	b.line("sentinel_running_scripts", 0)
	b.line("sentinel_scripts_queue_length", 0)
	b.line("sentinel_simulate_failure_flags", 0)
	b.line("master0", fmt.Sprintf("name=%s,status=%s,address=%s,slaves=%d,sentinels=%d",
		s.name, status, address, len(s.replicas(&master)), len(s.others())+1))
}

// replicas are the voting members with an address for clients but for the master.
func (s *sentinel) replicas(master *Member) []Member {
	var found []Member
	for _, m := range s.h.o.Cluster.Members() {
		if _, _, ok := m.endpoint(); ok && m.Voter() && m.ID != master.ID {
			found = append(found, m)
		}
	}
	return found
}

// others are the other members that answer as Sentinels.
func (s *sentinel) others() []Member {
	me := s.h.o.Cluster.MyID()
	var found []Member
	for _, m := range s.h.o.Cluster.Members() {
		if _, _, ok := splitAddr(m.Sentinel); ok && m.ID != me {
			found = append(found, m)
		}
	}
	return found
}

// votes counts the voters that this node has a connection to, and how many are a majority.
func (s *sentinel) votes() (usable, quorum int) {
	all := 0
	for _, m := range s.h.o.Cluster.Members() {
		if m.Voter() {
			all++
			usable += boolInt(m.Connected)
		}
	}
	return usable, all/2 + 1
}

// named runs f where the name is the master's, and answers as Redis does elsewhere.
func named(f func(c *client, s *sentinel)) func(*client, [][]byte) {
	return func(c *client, args [][]byte) {
		if s := c.h.sentinel; string(args[2]) == s.name {
			f(c, s)
			return
		}
		c.failed("ERR No such master with that name")
	}
}

// fields gathers the pairs of an instance as Sentinel describes one: all values
// are strings.
type fields [][2]string

func (f *fields) add(name string, value any) {
	*f = append(*f, [2]string{name, fmt.Sprint(value)})
}

func (f *fields) write(w *resp.Writer) {
	w.Map(len(*f))
	for _, pair := range *f {
		text(w, pair[0], pair[1])
	}
}

// instance begins the description of a node.
func instance(name, addr, flags string, m *Member, role string) *fields {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = "", "0"
	}
	ago := max(m.LastContactMS, 0)
	f := &fields{}
	f.add("name", name)
	f.add("ip", host)
	f.add("port", port)
	f.add("runid", m.NodeID)
	f.add("flags", flags)
	f.add("link-pending-commands", 0)
	f.add("link-refcount", 1)
	f.add("last-ping-sent", 0)
	f.add("last-ok-ping-reply", ago)
	f.add("last-ping-reply", ago)
	f.add("down-after-milliseconds", 2000)
	if role != "" {
		f.add("info-refresh", ago)
		f.add("role-reported", role)
	}
	return f
}

func (s *sentinel) describeMaster() *fields {
	master, since, led := s.observe()
	flags := "master"
	if !led {
		flags = "s_down,o_down,master"
	}
	_, quorum := s.votes()
	f := instance(s.name, master.Addr, flags, &master, "master")
	f.add("role-reported-time", max(s.h.o.Now().Sub(since).Milliseconds(), 0))
	f.add("config-epoch", s.h.o.Status().Term)
	f.add("num-slaves", len(s.replicas(&master)))
	f.add("num-other-sentinels", len(s.others()))
	f.add("quorum", quorum)
	f.add("failover-timeout", 180000)
	f.add("parallel-syncs", 1)
	return f
}

func runSentinelMasters(c *client, _ [][]byte) {
	f := c.h.sentinel.describeMaster()
	w := c.rc.Begin()
	w.Array(1)
	f.write(w)
	c.rc.End(0)
}

func runSentinelMaster(c *client, s *sentinel) {
	f := s.describeMaster()
	w := c.rc.Begin()
	f.write(w)
	c.rc.End(0)
}

func runSentinelReplicas(c *client, s *sentinel) {
	master, since, led := s.observe()
	host, port, _ := master.endpoint()
	replicas := s.replicas(&master)
	w := c.rc.Begin()
	w.Array(len(replicas))
	for i := range replicas {
		m := &replicas[i]
		flags, link := "slave", "ok"
		if !m.Connected {
			flags = "s_down,slave,disconnected"
		}
		if !led {
			link = "err"
		}
		f := instance(m.Addr, m.Addr, flags, m, "slave")
		f.add("role-reported-time", max(s.h.o.Now().Sub(since).Milliseconds(), 0))
		f.add("master-link-down-time", 0)
		f.add("master-link-status", link)
		f.add("master-host", host)
		f.add("master-port", port)
		f.add("slave-priority", 100)
		f.add("slave-repl-offset", m.MatchIndex)
		f.add("replica-announced", 1)
		f.write(w)
	}
	c.rc.End(0)
}

func runSentinelSentinels(c *client, s *sentinel) {
	others := s.others()
	w := c.rc.Begin()
	w.Array(len(others))
	for i := range others {
		m := &others[i]
		flags := "sentinel"
		if !m.Connected {
			flags = "s_down,sentinel,disconnected"
		}
		f := instance(m.NodeID, m.Sentinel, flags, m, "")
		f.add("last-hello-message", max(m.LastContactMS, 0))
		f.add("voted-leader", "?")
		f.add("voted-leader-epoch", 0)
		f.write(w)
	}
	c.rc.End(0)
}

// runSentinelAddr answers null for a name that is not the cluster's, and while
// no leader was ever known; the last one between two leaders.
func runSentinelAddr(c *client, args [][]byte) {
	s := c.h.sentinel
	master, _, _ := s.observe()
	host, port, ok := master.endpoint()
	w := c.rc.Begin()
	if !ok || string(args[2]) != s.name {
		w.NullArray()
	} else {
		w.Array(2)
		w.BulkString(host)
		w.BulkString(strconv.Itoa(port))
	}
	c.rc.End(0)
}

func runSentinelQuorum(c *client, s *sentinel) {
	usable, quorum := s.votes()
	if usable < quorum {
		c.failed(problem(fmt.Sprintf("NOQUORUM %d usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover", usable)))
		return
	}
	w := c.rc.Begin()
	w.Simple(fmt.Sprintf("OK %d usable Sentinels. Quorum and failover authorization can be reached", usable))
	c.rc.End(0)
}
