// Perturb makes a copy of Raft, and of our own packages around it, whose goroutines
// pause at random: where a message was just received, where a goroutine begins, and
// between two steps of Raft that belong together. Most such moments are too short
// to be met by chance; one of them let a follower apply what was never committed.
//
//	go run ./tests/perturb -out DIR     prints the flags of go build that use the copy
//	make perturbed SEEDS=60             the simulation with it
//
// Nothing of it is in the sources: Raft's copy comes in by a replace directive in a
// go.mod of its own, ours by -overlay. A pause is a time.Sleep: in the simulation's virtual
// time the others go on meanwhile.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const raftModule = "github.com/hashicorp/raft"

// ours are the packages of this module that are perturbed.
var ours = []string{"cluster", "cluster/peer"}

func main() {
	out := flag.String("out", "", "write the copies into this directory")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "perturb:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	if out == "" {
		return errors.New("-out says where the copies go")
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	root, err := goList("-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	raft, err := goList("-m", "-f", "{{.Dir}}", raftModule)
	if err != nil {
		return err
	}
	if err := copyRaft(raft, filepath.Join(out, "raft")); err != nil {
		return err
	}
	overlay := map[string]string{}
	for _, dir := range ours {
		if err := overlayPackage(root, dir, filepath.Join(out, "ours", dir), overlay); err != nil {
			return err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "overlay.json"), b, 0o644); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if name == "go.mod" {
			b = fmt.Appendf(b, "\nreplace %s => %s\n", raftModule, filepath.Join(out, "raft"))
		}
		if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("-modfile=%s -overlay=%s\n", filepath.Join(out, "go.mod"), filepath.Join(out, "overlay.json"))
	return nil
}

func goList(args ...string) (string, error) {
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output() //nolint:gosec // fixed arguments
	if err != nil {
		return "", fmt.Errorf("go list %v: %w", args, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// copyRaft writes Raft with its pauses.
func copyRaft(from, to string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." {
				return filepath.SkipDir // the packages below are Raft's own tests and tools
			}
			return os.MkdirAll(to, 0o755)
		}
		if rel != "go.mod" && !isSource(rel) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if rel != "go.mod" {
			if b, err = anchored(rel, b); err != nil {
				return err
			}
			if rel == "fsm.go" {
				if n := bytes.Count(b, []byte(stopOfApply)); n != 1 {
					return fmt.Errorf("%s ends in another way than this program knows", path)
				}
				b = bytes.Replace(b, []byte(stopOfApply), []byte(stopAnswered), 1)
			}
			if b, _, err = pauses(path, b); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	return errors.Join(err, os.WriteFile(filepath.Join(to, "perturb.go"), source("raft"), 0o644))
}

func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// overlayPackage writes one package of ours with its pauses.
func overlayPackage(root, dir, to string, overlay map[string]string) error {
	from := filepath.Join(root, dir)
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	pkg := ""
	for _, e := range entries {
		if e.IsDir() || !isSource(e.Name()) {
			continue
		}
		path := filepath.Join(from, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if b, err = anchored(dir+"/"+e.Name(), b); err != nil {
			return err
		}
		if b, pkg, err = pauses(path, b); err != nil {
			return err
		}
		if err := put(filepath.Join(to, e.Name()), b, path, overlay); err != nil {
			return err
		}
	}
	return put(filepath.Join(to, "perturb.go"), source(pkg), filepath.Join(from, "perturb.go"), overlay)
}

func put(name string, b []byte, instead string, overlay map[string]string) error {
	overlay[instead] = name
	return os.WriteFile(name, b, 0o644)
}
