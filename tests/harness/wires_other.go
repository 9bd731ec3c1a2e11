//go:build !linux

package harness

import "net"

// CanTellPeers reports whether the harness can tell which process is on the far end of a loopback connection.
const CanTellPeers = false

func socketOf(net.Conn) string { return "" }

func (p *Process) owns(string) bool { return false }
