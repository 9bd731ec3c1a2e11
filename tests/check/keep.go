package check

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxDrawings bounds how many locks are drawn.
const maxDrawings = 5

// keep writes the history and drawings of the bad locks. What cannot be written is one more fault.
func (c *checker) keep(dir string, bad []*passage, r *Report) {
	write := func(name string, f func(io.Writer) error) {
		path := filepath.Join(dir, name)
		if err := writeFile(path, f); err != nil {
			r.Faults = append(r.Faults, fmt.Sprintf("keep the history: %v", err))
			return
		}
		r.Files = append(r.Files, path)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.Faults = append(r.Faults, fmt.Sprintf("keep the history: %v", err))
		return
	}
	write("history.jsonl", c.h.write)
	for n, p := range bad[:min(len(bad), maxDrawings)] {
		write(p.fileName(n+1), func(w io.Writer) error { return porcupine.Visualize(p.model(), p.draw(), w) })
	}
}

func writeFile(path string, f func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	return errors.Join(f(out), out.Flush(), file.Close())
}

// record is one line of a kept history: a request, or the end of a session.
type record struct {
	Owner    string  `json:"owner"`
	Kind     string  `json:"kind"` // "end" and "last-end" are ends of sessions, "forgets" says how long their notices last
	Key      string  `json:"key,omitempty"`
	Outcome  string  `json:"outcome,omitempty"`
	Value    int64   `json:"value,omitempty"`
	Fence    int64   `json:"fence,omitempty"`
	LeaseMs  float64 `json:"lease_ms,omitempty"`
	Sent     int64   `json:"sent,omitempty"` // numbers of moments; 0 of an answer: none
	Answered int64   `json:"answered,omitempty"`
	Given    int64   `json:"given,omitempty"`
	InLine   int64   `json:"in_line,omitempty"`
	InLineMs float64 `json:"in_line_ms,omitempty"`
	WaitsMs  float64 `json:"waits_ms,omitempty"` // -1: for ever
	Kept     bool    `json:"kept,omitempty"`
	// Milliseconds from the start: of the request and its answer, or between which a session ended (0: never).
	From  float64 `json:"from_ms"`
	Until float64 `json:"until_ms,omitempty"`
}

// The kinds of records that are no requests.
const (
	kindEnd     = "end"
	kindLastEnd = "last-end"
	kindForgets = "forgets"
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// write writes the history as JSON lines. The caller holds mu.
func (h *History) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, o := range h.ops {
		r := record{
			Owner: o.owner, Kind: o.kind.String(), Key: o.key, Outcome: o.outcome.String(), Value: o.value, Fence: o.fence, Kept: o.kept,
			LeaseMs: ms(o.lease), Sent: o.sent, From: ms(h.times[o.sent]),
		}
		if r.WaitsMs = ms(o.waits); o.waits == Never {
			r.WaitsMs = -1
		}
		if o.answered != never {
			r.Answered, r.Until = o.answered, ms(h.times[o.answered])
		}
		if o.given != never {
			r.Given, r.Until = o.given, ms(h.times[o.given])
		}
		if o.inLine != never {
			r.InLine, r.InLineMs = o.inLine, ms(h.times[o.inLine])
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	for owner, life := range h.lives {
		if err := enc.Encode(record{Owner: owner, Kind: kindForgets, Until: ms(life)}); err != nil {
			return err
		}
	}
	for owner, ends := range h.ends {
		for _, e := range ends {
			r := record{Owner: owner, Kind: kindEnd, From: ms(e.from)}
			if e.last {
				r.Kind = kindLastEnd
			}
			if e.until != Never {
				r.Until = ms(e.until)
			}
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}
