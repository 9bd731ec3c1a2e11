package options

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// DefaultPeerListen is where a node of a cluster listens for its peers unless told otherwise.
const DefaultPeerListen = "127.0.0.1:17379"

// The words of follower-mode and cluster-enabled.
const (
	FollowerProxy    = "proxy"
	FollowerRedirect = "redirect"

	ClusterAuto = "auto"
	ClusterYes  = "yes"
	ClusterNo   = "no"
)

// Peer is one node of --initial-cluster.
type Peer struct {
	// ID is its node-id, Addr where the others reach it.
	ID, Addr string
}

func parsePeers(s string) ([]Peer, error) {
	var list []Peer
	ids, addrs := map[string]bool{}, map[string]bool{}
	for one := range strings.SplitSeq(s, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		id, addr, ok := strings.Cut(one, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not a node: write its node-id, = and host:port (n1=10.0.0.1:17379)", one)
		}
		var checked string
		if err := name(&checked).Set(id); err != nil {
			return nil, err
		}
		if err := checkReachable(addr); err != nil {
			return nil, err
		}
		if ids[id] || addrs[addr] {
			return nil, fmt.Errorf("%q names a node or an address for the second time", one)
		}
		ids[id], addrs[addr] = true, true
		list = append(list, Peer{id, addr})
	}
	return list, nil
}

// checkReachable refuses what others cannot connect to.
func checkReachable(s string) error {
	a, err := ParseAddress(s)
	if err == nil && a.Network != "tcp" {
		err = fmt.Errorf("%q must be host:port", s)
	}
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(s)
	if port == "0" {
		return fmt.Errorf("%q has port 0, to which nobody can connect: give the real one", s)
	}
	if unspecified(host) {
		return fmt.Errorf("%q names no machine: give the host that others connect to", s)
	}
	return nil
}

// unspecified reports whether a host stands for all of this machine's addresses.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// Clustered reports whether the node listens for peers: it founds a cluster
// with others, joins one, or was told where to listen.
func (c *Config) Clustered() bool {
	return len(c.InitialCluster) > 0 || len(c.Join) > 0 || c.AwaitMeet || c.origins["peer-listen"].Layer != LayerDefault
}

// PeerAddr is where the other nodes reach this one: peer-advertise, its own
// entry in initial-cluster, or peer-listen (port 0: not known before it listens).
func (c *Config) PeerAddr() string {
	if c.PeerAdvertise != "" {
		return c.PeerAdvertise
	}
	if own, ok := c.ownPeer(); ok {
		return own.Addr
	}
	return c.PeerListen
}

func (c *Config) ownPeer() (Peer, bool) {
	for _, p := range c.InitialCluster {
		if p.ID == c.NodeID {
			return p, true
		}
	}
	return Peer{}, false
}

// AnnounceAddr is where clients reach this node: announce, or its first TCP
// listener, whose real address is given, on the host that its peers use if that
// listens on all of them. Empty: clients cannot be told.
func (c *Config) AnnounceAddr(listeners []net.Addr) string { return c.announced(c.Announce, listeners) }

// AnnounceSentinel is the same for the Sentinel port.
func (c *Config) AnnounceSentinel(listener net.Addr) string {
	host, _, err := net.SplitHostPort(c.Announce)
	if err != nil {
		return c.announced("", []net.Addr{listener})
	}
	if a, ok := listener.(*net.TCPAddr); ok {
		return net.JoinHostPort(host, strconv.Itoa(a.Port))
	}
	return ""
}

func (c *Config) announced(given string, listeners []net.Addr) string {
	if given != "" {
		return given
	}
	for _, l := range listeners {
		a, ok := l.(*net.TCPAddr)
		if !ok {
			continue
		}
		host := a.IP.String()
		if a.IP.IsUnspecified() {
			peer, _, err := net.SplitHostPort(c.PeerAddr())
			if err != nil || unspecified(peer) {
				return ""
			}
			host = peer
		}
		return net.JoinHostPort(host, strconv.Itoa(a.Port))
	}
	return ""
}

// Warnings are things that work and are hardly meant.
func (c *Config) Warnings() []string {
	var w []string
	if n := len(c.InitialCluster); n > 0 && n%2 == 0 {
		w = append(w, fmt.Sprintf("initial-cluster has %d nodes: one node less would survive as many failures", n))
	}
	if c.InsecurePeers && c.Clustered() && c.PeerTLSCert == "" && !localAddr(c.PeerListen) {
		w = append(w, "insecure-peers: whoever reaches "+c.PeerListen+" can take part in the cluster")
	}
	return w
}

func localAddr(s string) bool {
	a, err := ParseAddress(s)
	return err == nil && a.Local()
}

// checkCluster looks at what no single option about the cluster can see.
func (c *Config) checkCluster() error {
	tls := 0
	for _, file := range []string{c.PeerTLSCert, c.PeerTLSKey, c.PeerTLSCA} {
		if file != "" {
			tls++
		}
	}
	if tls != 0 && tls != 3 {
		return errors.New("peer-tls-cert, peer-tls-key and peer-tls-ca go together: give all three, or none")
	}
	if !c.Clustered() {
		return nil
	}
	if len(c.InitialCluster) > 0 && (len(c.Join) > 0 || c.AwaitMeet) {
		return errors.New("initial-cluster founds a cluster, join and await-meet go to one that exists: give one of them")
	}
	own, ok := c.ownPeer()
	if len(c.InitialCluster) > 0 && !ok {
		return fmt.Errorf("initial-cluster has no node %q, which is this one: give the --node-id that stands in the list, or put it there", c.NodeID)
	}
	if ok && c.PeerAdvertise != "" && c.PeerAdvertise != own.Addr {
		return fmt.Errorf("initial-cluster tells the others to reach this node at %s, peer-advertise at %s: make them the same, or leave peer-advertise out",
			own.Addr, c.PeerAdvertise)
	}
	if host, _, err := net.SplitHostPort(c.PeerAddr()); err != nil || unspecified(host) {
		return fmt.Errorf("the other nodes cannot be told where this one is: %s names no machine: give --peer-advertise", c.PeerAddr())
	}
	if localAddr(c.PeerListen) && ok && !localAddr(own.Addr) {
		return fmt.Errorf("initial-cluster tells the others to reach this node at %s, but it listens for them on %s only: give --peer-listen", own.Addr, c.PeerListen)
	}
	if tls == 0 && !c.InsecurePeers {
		return c.checkPeersLocal()
	}
	if len(c.Join) > 0 && !slices.ContainsFunc(c.Join, localAddr) && localAddr(c.PeerAddr()) && c.PeerAdvertise == "" {
		// It would be a member that nobody reaches, until it is removed.
		return fmt.Errorf("this node joins at %s, whose nodes would be told to reach it at %s, and only this machine can: give --peer-listen",
			strings.Join(c.Join, ","), c.PeerAddr())
	}
	return nil
}

// checkPeersLocal holds nodes without TLS to this machine.
func (c *Config) checkPeersLocal() error {
	all := append([]string{c.PeerListen}, c.Join...)
	for _, p := range c.InitialCluster {
		all = append(all, p.Addr)
	}
	if c.PeerAdvertise != "" {
		all = append(all, c.PeerAdvertise)
	}
	for _, addr := range all {
		if !localAddr(addr) {
			return fmt.Errorf("%s is beyond this machine, and nodes speak without TLS: give --peer-tls-cert, --peer-tls-key and --peer-tls-ca, "+
				"or say --insecure-peers if the network between the nodes is closed otherwise", addr)
		}
	}
	return nil
}
