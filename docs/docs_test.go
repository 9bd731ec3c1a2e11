// Package docs has the pages for people; its test keeps what they point at true.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	target   = regexp.MustCompile("make ([a-z][a-z-]*)")
	recipe   = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
)

// TestPages checks that every link of every page leads to a file, that every test
// it names exists, and every target of make.
func TestPages(t *testing.T) {
	pages := []string{"../README.md", "../ARCHITECTURE.md", "../CONTRIBUTING.md"}
	more, err := filepath.Glob("*.md")
	if err != nil || len(more) == 0 {
		t.Fatal("no pages", err)
	}
	tests, targets := testsOf(t), targetsOf(t)
	for _, page := range append(pages, more...) {
		text := read(t, page)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which does not exist", page, m[1])
			}
		}
		for _, code := range regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1) {
			for _, m := range target.FindAllStringSubmatch(code, -1) {
				if !targets[m[1]] {
					t.Errorf("%s names make %s, which the Makefile does not have", page, m[1])
				}
			}
		}
	}
}

func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
			all[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func targetsOf(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range recipe.FindAllStringSubmatch(read(t, "../Makefile"), -1) {
		all[m[1]] = true
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
