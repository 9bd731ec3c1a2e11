package resp

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// tune makes the kernel watch a TCP peer so that one that vanishes without a word is given up after timeout:
// while bytes of ours are under way by TCP_USER_TIMEOUT, else by keepalive probes at a third and two thirds of
// it. TCP_NODELAY is what Go sets by itself.
func tune(nc net.Conn, timeout time.Duration) error {
	tc, ok := nc.(*net.TCPConn)
	if !ok || timeout <= 0 {
		return nil
	}
	third := max((timeout / 3).Truncate(time.Second), time.Second)
	err := tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: third, Interval: third, Count: 2})
	// A little less than the whole, because Linux compares at the probe that falls on the whole, give or take.
	err = errors.Join(err, userTimeout(tc, timeout-min(timeout/10, time.Second/2)))
	if err != nil {
		return fmt.Errorf("set keepalive and TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
