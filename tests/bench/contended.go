package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// handOffs is one run of many connections that all want one lock.
type handOffs struct {
	Conns   int     `json:"connections"`
	Round   int     `json:"round"`
	Rate    float64 `json:"hand_offs_per_second"`
	Fewest  int64   `json:"fewest_of_a_connection"`
	Most    int64   `json:"most_of_a_connection"`
	Seconds float64 `json:"seconds"`
}

// contend counts how often a lock changes hands. Each connection takes it, gives it back at once and stands in line
// again, so with two or more each grant is a change of the holder.
func contend(addr string, conns int, warm, length time.Duration) (handOffs, error) {
	var phase atomic.Int32
	var running sync.WaitGroup
	grants, errs := make([]int64, conns), make([]error, conns)
	deadline := time.Now().Add(warm + length + time.Minute)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return handOffs{}, err
		}
		defer conn.Close()
		running.Go(func() {
			if errs[i] = conn.SetDeadline(deadline); errs[i] == nil {
				grants[i], errs[i] = takeTurns(conn, &phase)
			}
			if errs[i] != nil {
				phase.Store(phaseStop)
			}
		})
	}
	elapsed := turnPhases(&phase, warm, length)
	running.Wait()
	total := int64(0)
	for _, n := range grants {
		total += n
	}
	return handOffs{
		Conns: conns, Rate: float64(total) / elapsed.Seconds(), Seconds: elapsed.Seconds(),
		Fewest: slices.Min(grants), Most: slices.Max(grants),
	}, errors.Join(errs...)
}

// takeTurns takes and gives back the lock until the phase says stop, and counts the measured grants.
func takeTurns(conn net.Conn, phase *atomic.Int32) (int64, error) {
	lock := harness.AppendCommand(nil, "LOCK", "bench:contended")
	unlock := harness.AppendCommand(nil, "UNLOCK", "bench:contended")
	r := bufio.NewReader(conn)
	turn := func(command []byte, good func([]byte) bool) error {
		if _, err := conn.Write(command); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSuffix(line, []byte("\r\n")); !good(line) {
			return wrongReply("redlockd", line)
		}
		return nil
	}
	var n int64
	for phase.Load() != phaseStop {
		if err := turn(lock, redlockdFlavor.acquired); err != nil {
			return n, err
		}
		if phase.Load() == phaseMeasure {
			n++
		}
		if err := turn(unlock, redlockdFlavor.released); err != nil {
			return n, err
		}
	}
	return n, nil
}

func printHandOffs(w io.Writer, all []handOffs) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "conns\tround\thand-offs/s\tof a connection\t")
	for _, h := range all {
		fmt.Fprintf(t, "%d\t%d\t%s\t%d to %d\t\n", h.Conns, h.Round, thousands(h.Rate), h.Fewest, h.Most)
	}
	return t.Flush()
}
