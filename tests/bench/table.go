package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// cell is the rounds of one number of connections and one pipeline, of both servers.
type cell struct {
	conns, pipe int
	samples     map[string][]sample // by server, in the order of the rounds
}

// median is the middle of some numbers, of an even count the lower of the two: always a number that was measured.
func median(samples []sample, number func(sample) float64) float64 {
	numbers := make([]float64, len(samples))
	for i, s := range samples {
		numbers[i] = number(s)
	}
	slices.Sort(numbers)
	return numbers[(len(numbers)-1)/2]
}

func rateOf(s sample) float64 { return s.Rate }

// ratio is the median rate of the first server over that of the second; 0 where one is missing.
func (c *cell) ratio(servers []string) float64 {
	ours, theirs := c.samples[servers[0]], c.samples[servers[1]]
	if len(ours) == 0 || len(theirs) == 0 {
		return 0
	}
	return median(ours, rateOf) / median(theirs, rateOf)
}

// printCells writes the table, for two servers.
func printCells(w io.Writer, cells []*cell, servers ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "conns\tin flight\tserver\tcycles/s\tlowest\thighest\tp50 ms\tp99 ms\tp99.9 ms\tratio\t")
	for _, c := range cells {
		for _, server := range servers {
			samples := c.samples[server]
			if len(samples) == 0 {
				continue
			}
			byRate := func(a, b sample) int { return cmp.Compare(a.Rate, b.Rate) }
			ratio := ""
			if r := c.ratio(servers); server == servers[0] && r > 0 {
				ratio = fmt.Sprintf("%.2f", r)
			}
			fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%s\t\n", c.conns, c.pipe, server,
				thousands(median(samples, rateOf)),
				thousands(slices.MinFunc(samples, byRate).Rate), thousands(slices.MaxFunc(samples, byRate).Rate),
				median(samples, func(s sample) float64 { return s.P50 }),
				median(samples, func(s sample) float64 { return s.P99 }),
				median(samples, func(s sample) float64 { return s.P999 }), ratio)
		}
	}
	return t.Flush()
}

// thousands writes a rate with separators, as people read it.
func thousands(x float64) string {
	s := strconv.FormatInt(int64(x+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
