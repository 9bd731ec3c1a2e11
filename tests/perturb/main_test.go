package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The copies are complete, and none lacks its pauses. Raft's places are checked
// by run itself.
func TestRun(t *testing.T) {
	out := t.TempDir()
	if err := run(out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	raft, err := filepath.Glob(filepath.Join(out, "raft", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range raft {
		o.Replace[name] = name
	}
	pauses, places := map[string]int{}, 0
	for from, to := range o.Replace {
		b, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		pauses[filepath.Base(filepath.Dir(from))] += strings.Count(string(b), " perturb();")
		places += strings.Count(string(b), "\tperturb()\n")
	}
	if places != len(anchors) {
		t.Errorf("%d of %d anchors were found", places, len(anchors))
	}
	for _, pkg := range []string{"raft", "cluster", "peer"} {
		if pauses[pkg] == 0 {
			t.Errorf("%s does not pause: %v", pkg, pauses)
		}
	}
}

// A pause comes behind what a goroutine received, and not where it does not wait.
func TestPauses(t *testing.T) {
	const source = `package p

func f(a chan int) {
	go func() { f(a) }()
	select {
	case <-a:
		f(a)
	case a <- 1:
	}
	select {
	case <-a:
	default:
	}
}
`
	const want = `package p

func f(a chan int) {
	go func() { perturb(); f(a) }()
	select {
	case <-a: perturb();
		f(a)
	case a <- 1: perturb();
	}
	select {
	case <-a:
	default:
	}
}
`
	got, pkg, err := pauses("p.go", []byte(source))
	if err != nil || pkg != "p" || string(got) != want {
		t.Errorf("%s %v\n%s", pkg, err, got)
	}
}
