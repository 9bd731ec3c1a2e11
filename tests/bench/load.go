package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The phases of a run. Cycles count that end while it measures.
const (
	phaseWarm int32 = iota
	phaseMeasure
	phaseStop
)

// newHistogram takes microseconds up to a minute, with two digits: an HDR histogram of all connections stays small.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 2)
}

// worker is one connection.
type worker struct {
	conn     net.Conn
	r        *bufio.Reader
	flavor   *flavor
	acquire  template
	release  template
	random   *rand.PCG
	phase    *atomic.Int32
	latency  *hdrhistogram.Histogram // in microseconds, of the measured cycles
	measured int64
}

func newWorker(f *flavor, addr string, pipeline int, phase *atomic.Int32) (*worker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return &worker{
		conn: conn, r: bufio.NewReader(conn), flavor: f, phase: phase,
		acquire: newTemplate(f.acquire, pipeline), release: newTemplate(f.release, pipeline),
		random:  rand.NewPCG(rand.Uint64(), rand.Uint64()),
		latency: newHistogram(),
	}, nil
}

// run drives cycles until the phase says stop. Every lock that it took is given back.
func (w *worker) run() error {
	for {
		phase := w.phase.Load()
		if phase == phaseStop {
			return nil
		}
		if err := w.cycles(phase == phaseMeasure); err != nil {
			return err
		}
	}
}

// cycles drives one cycle in each place of the pipeline.
func (w *worker) cycles(count bool) error {
	pipeline := len(w.acquire.slots)
	for i := range pipeline {
		n := w.random.Uint64()
		w.acquire.fill(i, n)
		w.release.fill(i, n)
	}
	began := time.Now()
	if _, err := w.conn.Write(w.acquire.bytes); err != nil {
		return err
	}
	for range pipeline {
		if err := w.reply(w.flavor.acquired); err != nil {
			return err
		}
	}
	if _, err := w.conn.Write(w.release.bytes); err != nil {
		return err
	}
	for range pipeline {
		if err := w.reply(w.flavor.released); err != nil {
			return err
		}
		if !count {
			continue
		}
		w.measured++
		if err := w.latency.RecordValue(time.Since(began).Microseconds()); err != nil {
			return fmt.Errorf("a cycle that took more than a minute: %w", err)
		}
	}
	return nil
}

func (w *worker) reply(good func([]byte) bool) error {
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", w.flavor.name, err)
	}
	if line = bytes.TrimSuffix(line, []byte("\r\n")); !good(line) {
		return wrongReply(w.flavor.name, line)
	}
	return nil
}

// turnPhases turns the phases and returns how long it measured. A connection that failed has turned it to the end.
func turnPhases(phase *atomic.Int32, warm, length time.Duration) time.Duration {
	time.Sleep(warm)
	phase.CompareAndSwap(phaseWarm, phaseMeasure)
	began := time.Now()
	time.Sleep(length)
	phase.Store(phaseStop)
	return time.Since(began)
}

// sample is one run of one cell.
type sample struct {
	Server  string  `json:"server"`
	Conns   int     `json:"connections"`
	Pipe    int     `json:"pipeline"`
	Round   int     `json:"round"`
	Cycles  int64   `json:"cycles"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"cycles_per_second"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Max     float64 `json:"max_ms"`
}

// measure runs one cell once: it connects, warms up, measures and closes.
func measure(f *flavor, addr string, conns, pipeline int, warm, length time.Duration) (sample, error) {
	var phase atomic.Int32
	var workers []*worker
	defer func() {
		for _, w := range workers {
			_ = w.conn.Close() // the run is over, or has its error already
		}
	}()
	for range conns {
		w, err := newWorker(f, addr, pipeline, &phase)
		if err != nil {
			return sample{}, err
		}
		workers = append(workers, w)
	}
	deadline := time.Now().Add(warm + length + time.Minute)
	var running sync.WaitGroup
	errs := make([]error, conns)
	for i, w := range workers {
		running.Go(func() {
			if errs[i] = w.conn.SetDeadline(deadline); errs[i] == nil {
				errs[i] = w.run()
			}
			if errs[i] != nil {
				phase.Store(phaseStop)
			}
		})
	}
	elapsed := turnPhases(&phase, warm, length)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return sample{}, fmt.Errorf("%d connections, %d in flight: %w", conns, pipeline, err)
	}
	return summary(workers, sample{Server: f.name, Conns: conns, Pipe: pipeline, Seconds: elapsed.Seconds()}), nil
}

func summary(workers []*worker, s sample) sample {
	all := newHistogram()
	for _, w := range workers {
		all.Merge(w.latency)
		s.Cycles += w.measured
	}
	ms := func(quantile float64) float64 { return float64(all.ValueAtQuantile(quantile)) / 1000 }
	s.Rate = float64(s.Cycles) / s.Seconds
	s.P50, s.P99, s.P999, s.Max = ms(50), ms(99), ms(99.9), float64(all.Max())/1000
	return s
}
