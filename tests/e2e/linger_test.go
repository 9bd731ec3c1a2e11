package e2e

import (
	"net"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// setLinger has the next Close of a connection send a reset in place of an orderly end.
func setLinger(t *testing.T, c *harness.Client) {
	t.Helper()
	if err := c.Conn().Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
}
