package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// memoryFigure is the resident memory of one state of the server, in bytes.
type memoryFigure struct {
	What   string `json:"what"`
	AtOnce int64  `json:"at_once_bytes"`
	AtRest int64  `json:"at_rest_bytes"`
	// Limit is what it may take by the contract; of the loaded states, more than an idle server.
	Limit    int64 `json:"limit_bytes"`
	OverIdle bool  `json:"limit_is_over_idle"`
}

const (
	manyLocks = 100_000
	manyConns = 10_000
	restTime  = 10 * time.Second
)

// memory measures three servers, each in its own state.
func memory(ctx context.Context, bin, dir string, progress io.Writer) ([]memoryFigure, error) {
	states := []struct {
		figure memoryFigure
		load   func(addr string) (release func(), err error)
	}{
		{memoryFigure{What: "idle", Limit: 60e6}, func(string) (func(), error) { return func() {}, nil }},
		{memoryFigure{What: "100,000 held locks", Limit: 60e6, OverIdle: true}, holdLocks},
		{memoryFigure{What: "10,000 idle connections", Limit: 250e6}, openConns},
	}
	var figures []memoryFigure
	for _, s := range states {
		f, err := memoryOf(ctx, bin, dir, s.figure, s.load)
		if err != nil {
			return figures, fmt.Errorf("memory, %s: %w", s.figure.What, err)
		}
		figures = append(figures, f)
		fmt.Fprintf(progress, "memory: %-24s %s at once, %s at rest\n", f.What, mega(f.AtOnce), mega(f.AtRest))
	}
	return figures, nil
}

func memoryOf(ctx context.Context, bin, dir string, f memoryFigure, load func(string) (func(), error)) (figure memoryFigure, err error) {
	t, err := startRedlockd(ctx, bin, dir)
	if err != nil {
		return f, err
	}
	defer func() {
		if stopErr := t.stop(); err == nil {
			err = stopErr
		}
	}()
	release, err := load(t.addr)
	if err != nil {
		return f, err
	}
	defer release()
	if f.AtOnce, err = t.proc.RSS(); err != nil {
		return f, err
	}
	f.AtRest = f.AtOnce
	for end := time.Now().Add(restTime); time.Now().Before(end); time.Sleep(restTime / 50) {
		now, err := t.proc.RSS()
		if err != nil {
			return f, err
		}
		f.AtRest = min(f.AtRest, now)
	}
	return f, ctx.Err()
}

// holdLocks takes 100,000 locks over ten connections, with keys of 22 bytes and no options, and keeps them.
func holdLocks(addr string) (func(), error) {
	var conns []*harness.Conn
	release := func() {
		for _, c := range conns {
			_ = c.Close() // the server is stopped next
		}
	}
	const each, piece = manyLocks / 10, 500
	for n := range 10 {
		conn, err := harness.Dial(addr)
		if err != nil {
			release()
			return nil, err
		}
		conns = append(conns, conn)
		for from := 0; from < each; from += piece {
			var out []byte
			for i := from; i < from+piece; i++ {
				out = harness.AppendCommand(out, "LOCK", fmt.Sprintf("bench:%016x", n*each+i))
			}
			err := conn.SendRaw(out)
			for range piece {
				var v harness.Value
				if err == nil {
					v, err = conn.Receive()
				}
				if err == nil && v.Kind != harness.Int {
					err = wrongReply("redlockd", []byte(v.String()))
				}
			}
			if err != nil {
				release()
				return nil, err
			}
		}
	}
	return release, nil
}

// openConns opens 10,000 connections that have said PING once.
func openConns(addr string) (func(), error) {
	var conns []net.Conn
	release := func() {
		for _, c := range conns {
			_ = c.Close() // the server is stopped next
		}
	}
	buf := make([]byte, len("+PONG\r\n"))
	for n := range manyConns {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conns = append(conns, conn)
			if _, err = conn.Write([]byte("PING\r\n")); err == nil {
				_, err = io.ReadFull(conn, buf)
			}
		}
		if err == nil && string(buf) != "+PONG\r\n" {
			err = wrongReply("redlockd", buf)
		}
		if err != nil {
			release()
			return nil, fmt.Errorf("connection %d: %w", n+1, err)
		}
	}
	return release, nil
}

func mega(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func printMemory(w io.Writer, figures []memoryFigure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "resident memory\tat once\tat rest\tmay be\t")
	for _, f := range figures {
		limit := "under " + mega(f.Limit)
		if f.OverIdle {
			limit = fmt.Sprintf("under %s more than idle; is %s", mega(f.Limit), mega(f.AtRest-figures[0].AtRest))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", f.What, mega(f.AtOnce), mega(f.AtRest), limit)
	}
	return t.Flush()
}
