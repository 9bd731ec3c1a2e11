package options

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is where a socket listens.
type Address struct {
	// Network is "tcp" or "unix".
	Network string
	// Addr is host:port, or the path of a unix socket.
	Addr string
}

// ParseAddress reads host:port or unix:/path.
func ParseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		// 108 bytes is what sockaddr_un holds on Linux, its final zero included.
		if path == "" || len(path) > 107 {
			return Address{}, fmt.Errorf("%q is not a unix socket: write unix: and a path of 1 to 107 bytes", s)
		}
		return Address{"unix", path}, nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an address: write host:port (127.0.0.1:7379, [::1]:7379) or unix:/path", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return Address{}, fmt.Errorf("%q has no port: write a number from 0 to 65535 behind the colon (0: the system picks one)", s)
	}
	return Address{"tcp", s}, nil
}

// Local reports whether only this machine can reach the address.
func (a Address) Local() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Addr)
	if err != nil || host == "" {
		return false // every interface
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() // a name could be anything: not local
}
