package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// constants returns the canaries that package internal/canary has, by the name of
// the constant.
func constants(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "internal/canary/canary.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) += on == "(\w+)"$`).FindAllStringSubmatch(string(b), -1) {
		all[m[1]] = m[2]
	}
	if len(all) < 16 {
		t.Fatal("only", len(all), "canaries")
	}
	return all
}

// Each constant has a suite that is to catch it, and each suite a constant.
func TestTableIsComplete(t *testing.T) {
	all := constants(t)
	var tags []string
	for _, tag := range all {
		tags = append(tags, tag)
		if !slices.ContainsFunc(canaries, func(c canary) bool { return c.name == tag }) {
			t.Errorf("canary %q has no suite in table.go", tag)
		}
	}
	for i, c := range canaries {
		if !slices.Contains(tags, c.name) {
			t.Errorf("table.go has %q, package canary does not", c.name)
		}
		if slices.ContainsFunc(canaries[:i], func(x canary) bool { return x.name == c.name }) {
			t.Errorf("table.go has %q twice", c.name)
		}
	}
}

// The files of the build tags are those that go generate writes.
func TestFilesAreFresh(t *testing.T) {
	dir := t.TempDir()
	if err := writeFiles(dir); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"on_*.go", "off.go"} {
		want, _ := filepath.Glob(filepath.Join(dir, pattern))
		have, _ := filepath.Glob(filepath.Join(root, "internal/canary", pattern))
		if len(want) != len(have) {
			t.Errorf("%d files %s, should be %d: run go generate ./internal/canary", len(have), pattern, len(want))
		}
		for _, f := range want {
			a, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(root, "internal/canary", filepath.Base(f))); err != nil || string(a) != string(b) {
				t.Errorf("%s is stale: run go generate ./internal/canary (%v)", filepath.Base(f), err)
			}
		}
	}
}

// Each constant is used by live packages, and says there what it breaks.
func TestEachHasABranch(t *testing.T) {
	used := map[string]bool{}
	word := regexp.MustCompile(`\bcanary\.(\w+)`)
	for _, dir := range []string{"fsm", "store", "cluster", "cluster/peer", "sessions"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range word.FindAllStringSubmatch(string(b), -1) {
				used[m[1]] = true
			}
		}
	}
	for name := range constants(t) {
		if !used[name] {
			t.Errorf("canary.%s switches nothing", name)
		}
	}
}
