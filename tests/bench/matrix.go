package main

import (
	"context"
	"fmt"
	"io"
)

// matrix measures every cell, the servers in alternation.
func matrix(ctx context.Context, o *options, targets []*target, progress io.Writer) ([]*cell, error) {
	var cells []*cell
	for _, pipe := range o.pipeline {
		for _, conns := range o.conns {
			c := &cell{conns: conns, pipe: pipe, samples: map[string][]sample{}}
			cells = append(cells, c)
			for round := range o.rounds {
				for _, t := range targets {
					if err := ctx.Err(); err != nil {
						return cells, err
					}
					s, err := measure(&t.flavor, t.addr, conns, pipe, o.warm(), o.length())
					if err != nil {
						return cells, err
					}
					s.Round = round + 1
					c.samples[t.flavor.name] = append(c.samples[t.flavor.name], s)
					fmt.Fprintf(progress, "round %d/%d: %4d connections, %2d in flight, %-8s %9s cycles/s\n",
						round+1, o.rounds, conns, pipe, t.flavor.name, thousands(s.Rate))
				}
			}
		}
	}
	return cells, nil
}
