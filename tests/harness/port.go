package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports lie below Linux's range for outgoing connections (32768 and up), so that no client's own port can take
// the one of a server between its kill and its restart.
const (
	firstPort = 20000
	lastPort  = 31999
)

var (
	portMu    sync.Mutex
	portTaken = map[int]bool{}
)

// FreePort returns a loopback port that nothing listens on and that this process has not given out before. Another
// process may still take it: who starts a server with it tries again with another.
func FreePort() (int, error) {
	portMu.Lock()
	defer portMu.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if portTaken[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		portTaken[port] = true
		return port, l.Close()
	}
	return 0, errors.New("no free port found between 20000 and 31999")
}
