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
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const raftModule = "github.com/hashicorp/raft"

// ours are the packages of this module that are perturbed.
var ours = []string{"cluster", "cluster/peer"}

// anchors are places between two steps that are one in the reader's mind, in Raft or
// (with the folder) in ours: the pause comes before the text, which must be there once,
// so that a new version of it is looked at again. No lock is held there.
var anchors = []struct{ file, text string }{
	// Sessions were heard of, and nobody was told.
	{"cluster/agent_run.go", "\ta.mu.Lock()\n\tok := a.phase == phaseServing && a.inc == inc"},
	// Requests have timed out, and their clients were not told.
	{"cluster/agent_run.go", "\tif len(late) > 0 {\n\t\ta.log.Warn("},
	// The leader's fast answer counts, and the clients were not told.
	{"cluster/agent_peers.go", "\ta.host.Fast(replies)"},
	// Something was drawn, and not sent.
	{"cluster/forwarder.go", "\t\tif err := link.Send(frameForward"},
	{"cluster/proposer.go", "\t\t\tfut := p.raft.ApplyLog("},
	// The end of the log was read, the commit index was not.
	{"replication.go", "\t// Setup the request\n\tif err := r.setupAppendEntries(s, &req,"},
	{"replication.go", "\t// Create a new append request\n\treq := new(AppendEntriesRequest)"},
	// The commit index was read, the entries were not.
	{"replication.go", "\tif err := r.setPreviousLog(req, nextIndex)"},
	{"replication.go", "\tif err := r.setNewLogs(req, nextIndex, lastIndex)"},
	// An answer has come.
	{"replication.go", "\t// Update s based on success\n\tif resp.Success {\n\t\t// Update our replication state\n\t\tupdateLastAppended(s, &req)\n\n\t\t// Clear any failures, allow pipelining"},
	// A vote is written, and not yet given.
	{"raft.go", "\tresp.Granted = true\n\tr.setLastContact()\n}\n\n// requestPreVote"},
	// Half of a vote is written.
	{"raft.go", "\tif err := r.stable.Set(keyLastVoteCand, candidate)"},
	// A snapshot is restored, and Raft does not count with it yet.
	{"raft.go", "\t// Update the lastApplied so we don't replay old logs"},
	{"raft.go", "\t// Restore the peer set\n\tr.setLatestConfiguration(reqConfiguration, reqConfigurationIndex)"},
	{"raft.go", "\t// Clear old logs if r.logs is a MonotonicLogStore. Otherwise compact the"},
	// A snapshot is begun, written, or counted with, and the log not yet cut.
	{"snapshot.go", "\t// Make a request for the configurations and extract the committed info."},
	{"snapshot.go", "\t// Create a new snapshot."},
	{"snapshot.go", "\t// Update the last stable snapshot info."},
	{"snapshot.go", "\t// Compact the logs."},
	// An entry is stored, and not yet counted.
	{"raft.go", "\tr.leaderState.commitment.match(r.localID, lastIndex)"},
}

// At a stop Raft leaves futures without an answer that it has handed to the goroutine
// that applies: whoever waits for one waits for good. A process that stops does not
// mind (cluster.proposer.settle: one goroutine, nothing else), but a simulated one
// never ends then, and a pause makes that likely. So the copy answers them.
const (
	stopOfApply  = "\t\tcase <-r.shutdownCh:\n\t\t\treturn\n\t\t}\n\t}\n}\n\n// fsmRestoreAndMeasure"
	stopAnswered = "\t\tcase <-r.shutdownCh:\n\t\t\tr.answerAll()\n\t\t\treturn\n\t\t}\n\t}\n}\n" + `
func (r *Raft) answerAll() {
	for {
		select {
		case ptr := <-r.fsmMutateCh:
			if batch, ok := ptr.([]*commitTuple); ok {
				for _, c := range batch {
					if c.future != nil {
						c.future.respond(ErrRaftShutdown)
					}
				}
			}
		case <-time.After(time.Second):
			return
		}
	}
}

// fsmRestoreAndMeasure`
)

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

// anchored puts the pauses at the anchors of a file.
func anchored(name string, b []byte) ([]byte, error) {
	for _, a := range anchors {
		if a.file != name {
			continue
		}
		if n := bytes.Count(b, []byte(a.text)); n != 1 {
			return nil, fmt.Errorf("%s has the text %d times, not once; look at what it does there now:\n%s", name, n, a.text)
		}
		b = bytes.Replace(b, []byte(a.text), []byte("\tperturb()\n"+a.text), 1)
	}
	return b, nil
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

// pauses puts a pause at the start of each goroutine that is a function literal, and
// behind each receive and send of a select that waits. No lock is held there, by the habits
// of both Raft and us (selects with a default are found under locks): a pause under a
// lock that another goroutine wants would stop virtual time.
func pauses(path string, b []byte) ([]byte, string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, b, parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	var at []int
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectStmt:
			if !slices.ContainsFunc(n.Body.List, isDefault) {
				for _, c := range n.Body.List {
					at = append(at, fset.Position(c.(*ast.CommClause).Colon).Offset+1)
				}
			}
		case *ast.GoStmt:
			if lit, ok := n.Call.Fun.(*ast.FuncLit); ok {
				at = append(at, fset.Position(lit.Body.Lbrace).Offset+1)
			}
		}
		return true
	})
	slices.Sort(at)
	for _, i := range slices.Backward(at) {
		b = slices.Insert(b, i, []byte(" perturb();")...)
	}
	return b, f.Name.Name, nil
}

func isDefault(s ast.Stmt) bool {
	c, ok := s.(*ast.CommClause)
	return ok && c.Comm == nil
}

// source is the file that says what a pause is: mostly none, or others may run first;
// one in some dozen lasts from 10 µs to 50 ms, one in some thousand up to half a second.
func source(pkg string) []byte {
	return []byte("package " + pkg + `

import (
	"math"
	"math/rand/v2"
	"runtime"
	"time"
)

func perturb() {
	switch n := rand.IntN(4000); {
	case n == 0:
		time.Sleep(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
	case n < 80:
		time.Sleep(time.Duration(float64(10*time.Microsecond) * math.Pow(5000, rand.Float64())))
	case n < 1000:
		for range n % 8 {
			runtime.Gosched()
		}
	}
}
`)
}
