package check

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRead judges every case once more, from what is kept of it.
func TestRead(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.write(s)
			h := s.end()
			var kept bytes.Buffer
			if err := h.write(&kept); err != nil {
				t.Fatal(err)
			}
			again, err := Read(&kept)
			if err != nil {
				t.Fatal(err)
			}
			want, got := Check(h, Options{}).Faults, Check(again, Options{}).Faults
			if slices.Sort(want); !slices.Equal(want, slices.Sorted(slices.Values(got))) {
				t.Errorf("complaints %q, want %q", got, want)
			}
		})
	}
	for _, bad := range []string{"{", `{"kind":"steal","outcome":"done"}`, `{"kind":"acquire"}`} {
		if h, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: read %v", bad, h)
		}
	}
}

// TestAgain judges the history that LOCKTEST_HISTORY names.
func TestAgain(t *testing.T) {
	name := os.Getenv("LOCKTEST_HISTORY")
	if name == "" {
		t.Skip("LOCKTEST_HISTORY names no history")
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	h, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	r := Check(h, Options{})
	t.Log(r)
	if len(r.Faults) > 0 {
		t.Error(fmt.Sprint(len(r.Faults), " complaints"))
	}
}
