package e2e

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestVanishedClient: a client whose machine lost its power says nothing and acknowledges nothing. The server notices
// within --tcp-timeout, by probing a silent connection or by a reply that is not acknowledged, and frees what the
// client held and waited for.
func TestVanishedClient(t *testing.T) {
	s := harness.Start(t, "--tcp-timeout", "3s")
	control := s.Client()
	t.Run("while it is silent", func(t *testing.T) {
		control := control.With(t)
		held := control.Int("LOCK wanted")
		c := s.Client().With(t)
		c.Int("LOCK mine")
		c.Send("LOCK wanted")
		untilWaiters(t, control, "wanted", 1)
		vanish(t, c)
		untilWaiters(t, control, "wanted", 0)
		harness.Until(t, "the hold of the vanished client is released", func() bool { return control.Int("ISLOCKED mine") == 0 })
		if got := control.Int("FENCE wanted"); got != held {
			t.Errorf("fence %d, want %d", got, held)
		}
		control.Want("UNLOCK wanted", ":0")
	})
	t.Run("while it is answered", func(t *testing.T) {
		control := control.With(t)
		held := control.Int("LOCK wanted")
		c := s.Client().With(t)
		c.Send("LOCK wanted")
		untilWaiters(t, control, "wanted", 1)
		vanish(t, c)
		control.Want("UNLOCK wanted", ":0")
		if got := control.Int("LOCK wanted"); got <= held+1 { // waits until the server gives up on it
			t.Errorf("fence %d: the vanished client was passed over, it was the first in line", got)
		}
		control.Want("UNLOCK wanted", ":0")
	})
}

// vanish has the kernel drop every packet that comes in for a connection, as if the machine were gone: nothing is
// acknowledged, and nothing answers. It waits until the server has acknowledged all, so that nothing is sent again.
func vanish(t *testing.T, c *harness.Client) {
	t.Helper()
	raw, err := c.Conn().Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	onSocket := func(do func(fd int) error) {
		t.Helper()
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil || failed != nil {
			t.Fatalf("on the socket: %v, %v", err, failed)
		}
	}
	harness.Until(t, "the server has acknowledged all", func() bool {
		var unacked uint32
		onSocket(func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil {
				unacked = info.Unacked
			}
			return err
		})
		return unacked == 0
	})
	dropAll := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	onSocket(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &dropAll[0]})
	})
}
