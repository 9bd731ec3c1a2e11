package resp

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTCPOptions: the kernel is told to give up a silent peer within TCPTimeout.
func TestTCPOptions(t *testing.T) {
	d := newDesk()
	_, tcp, _ := start(t, d, func(l *Limits) { l.TCPTimeout.Store(15 * time.Second) })
	c := dial(t, tcp)
	c.send("PING\r\n")
	c.want("+PONG\r\n")
	raw, err := d.conn(0).nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		name         string
		level, which int
		want         int
	}{
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 14_500},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 5},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		var got int
		var optErr error
		err := raw.Control(func(fd uintptr) { got, optErr = unix.GetsockoptInt(int(fd), o.level, o.which) })
		if err != nil || optErr != nil || got != o.want {
			t.Errorf("%s is %d, want %d (%v, %v)", o.name, got, o.want, err, optErr)
		}
	}
}
