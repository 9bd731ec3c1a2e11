package e2e

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestVanishedClient: a client whose machine lost its power says nothing. The server finds out by probing the silent
// connection, within --tcp-timeout, and frees what the client held and waited for.
func TestVanishedClient(t *testing.T) {
	s := harness.Start(t, "--tcp-timeout", "3s")
	control := s.Client()
	control.Want("LOCK wanted", ":1")
	c := s.Client()
	c.Want("LOCK mine", ":2")
	c.Send("LOCK wanted")
	untilWaiters(t, control, "wanted", 1)
	vanish(t, c.Conn().Conn.(*net.TCPConn))
	untilWaiters(t, control, "wanted", 0)
	harness.Until(t, "the hold of the vanished client is released", func() bool { return control.Int("ISLOCKED mine") == 0 })
}

// vanish closes a connection without a packet: sockets under TCP_REPAIR send no FIN and no RST. The kernel asks for
// CAP_NET_ADMIN.
func vanish(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) }); err != nil {
		t.Fatal(err)
	}
	if errors.Is(set, unix.EPERM) || errors.Is(set, unix.ENOPROTOOPT) {
		t.Skipf("needs CAP_NET_ADMIN to close a connection without a packet (%v): skipped", set)
	}
	if set != nil {
		t.Fatal(set)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}
