package peer

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// local says whether a connection with this address cannot leave the machine.
func local(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	// In memory, as tests have it. Anything else might be a network.
	return a != nil && (a.Network() == "pipe" || a.Network() == "mem")
}

// localName says whether addr ("host:port") may be local: false only for an IP address that is not. A name is decided
// by the address that the connection then has.
func localName(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || ip.IsLoopback()
}

// admit refuses a plain connection to or from another machine, where there must be TLS.
func (n *Network) admit(conn net.Conn) error {
	if n.tls != nil || n.o.Insecure || local(conn.RemoteAddr()) {
		return nil
	}
	return fmt.Errorf("peer: %s is not a loopback address: %w", conn.RemoteAddr(), ErrInsecure)
}

// tune makes the kernel find a peer that has vanished; raft's connections have no pings of ours. TCP_NODELAY is what Go
// sets by itself. An error would only mean slower detection.
func tune(conn net.Conn) {
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3})
	}
}
