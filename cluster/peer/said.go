package peer

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// said keeps a peer that tries again and again from filling the log: the same sentence from the same host is a warning
// once a minute, and for debugging else.
type said struct {
	mu   sync.Mutex
	when map[string]time.Time
}

const (
	saidAgain = time.Minute
	saidMost  = 64
)

func (s *said) level(what string) slog.Level {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if t, ok := s.when[what]; ok && now.Sub(t) < saidAgain {
		return slog.LevelDebug
	}
	if s.when == nil || len(s.when) >= saidMost {
		s.when = map[string]time.Time{}
	}
	s.when[what] = now
	return slog.LevelWarn
}

func (n *Network) refusal(what string, from net.Addr, err error) {
	host := hostOf(from.String())
	key := what + " " + host
	args := []any{"from", from}
	if err != nil {
		why := err
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			why = op.Err // without the ports, which are new each time
		}
		key += " " + why.Error()
		args = append(args, "error", err)
	}
	n.log.Log(n.ctx, n.said.level(key), what, args...)
}
