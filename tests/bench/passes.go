package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// printer is where lines for people go.
type printer = io.Writer

// pass is how long a lock takes from one client to the next, at rest: from before the UNLOCK is sent to the grant.
type pass struct {
	Between string  `json:"between"`
	Count   int64   `json:"hand_offs"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// passes measures hand-offs between clients of two followers, of the leader and a follower, and of the leader alone.
func (c *nodes) passes(count int) ([]pass, error) {
	leader, followers, err := c.seats()
	if err != nil {
		return nil, err
	}
	pairs := []struct {
		name string
		a, b *node
	}{
		{"two clients of the leader", leader, leader},
		{"leader and follower", leader, followers[0]},
		{"two clients of a follower", followers[0], followers[0]},
		{"two followers", followers[0], followers[1]},
	}
	var all []pass
	for _, pair := range pairs {
		p, err := passBetween(pair.a.addr, pair.b.addr, count)
		if err != nil {
			return all, fmt.Errorf("hand-offs between %s: %w", pair.name, err)
		}
		p.Between = pair.name
		all = append(all, p)
	}
	return all, nil
}

func passBetween(addrA, addrB string, count int) (pass, error) {
	var conns [3]*harness.Conn
	for i, addr := range []string{addrA, addrB, addrA} {
		conn, err := harness.Dial(addr)
		if err != nil {
			return pass{}, err
		}
		defer conn.Close()
		conns[i] = conn
	}
	a, b, look := conns[0], conns[1], conns[2]
	const key = "bench:passed"
	if v, err := a.Do("LOCK", key); err != nil || v.Int <= 0 {
		return pass{}, fmt.Errorf("LOCK: %v, %w", v, err)
	}
	h := newHistogram()
	for range count {
		if err := b.Send("LOCK", key); err != nil {
			return pass{}, err
		}
		var err error
		if !harness.Poll(startLimit, func() bool {
			var v harness.Value
			v, err = look.Do("LOCKWAITERS", key)
			return err != nil || len(v.Items) == 1
		}) || err != nil {
			return pass{}, errors.Join(errors.New("nobody stands in line"), err)
		}
		began := time.Now()
		if err := a.Send("UNLOCK", key); err != nil {
			return pass{}, err
		}
		v, err := b.Receive()
		if err != nil || v.Int <= 0 {
			return pass{}, fmt.Errorf("the grant: %v, %w", v, err)
		}
		if err := h.RecordValue(time.Since(began).Microseconds()); err != nil {
			return pass{}, err
		}
		if v, err := a.Receive(); err != nil || v.String() != ":0" {
			return pass{}, fmt.Errorf("UNLOCK: %v, %w", v, err)
		}
		a, b = b, a
	}
	ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return pass{Count: h.TotalCount(), P50: ms(50), P99: ms(99), Max: float64(h.Max()) / 1000}, nil
}

func printPasses(w io.Writer, all []pass) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "from UNLOCK to the grant\thand-offs\tp50 ms\tp99 ms\tmost ms\t")
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.2f\t\n", p.Between, p.Count, p.P50, p.P99, p.Max)
	}
	return t.Flush()
}
