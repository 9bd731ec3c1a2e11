package options

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

func TestPageIsFresh(t *testing.T) {
	path := filepath.Join("..", "..", "..", "..", "docs", "configuration.md")
	var page bytes.Buffer
	if err := WritePage(&page); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s is stale: run make generate", path)
	}
}

func TestEveryRowIsWhole(t *testing.T) {
	seen := map[string]bool{}
	groups := strings.Join(Groups(), "\n")
	for i := range table {
		o := &table[i]
		if seen[o.Name] || o.Name != strings.ToLower(o.Name) {
			t.Errorf("%q is there twice, or not in small letters", o.Name)
		}
		seen[o.Name] = true
		if o.Help == "" || !strings.Contains(groups, o.Group) {
			t.Errorf("%s has no help or no known group", o.Name)
		}
		if !strings.HasPrefix(o.Env(), "REDLOCKD_") || serviceLink(o.Env()) {
			t.Errorf("%s: %s would be passed over", o.Name, o.Env())
		}
	}
}

// TestClusterSettingsAreTheMachines holds the table against the machine: the
// same settings, in the same order, with the same defaults.
func TestClusterSettingsAreTheMachines(t *testing.T) {
	var names []string
	c, machine := New(), fsm.New()
	for i := range table {
		o := &table[i]
		if o.Scope != ScopeCluster {
			continue
		}
		names = append(names, o.Name)
		if want, _ := machine.Setting(o.Name); o.bind(c).String() != want {
			t.Errorf("%s: default %s, of the machine %s", o.Name, o.bind(c).String(), want)
		}
	}
	if got, want := strings.Join(names, " "), strings.Join(fsm.SettingNames(), " "); got != want {
		t.Errorf("table:   %s\nmachine: %s", got, want)
	}
}

func TestTOMLComesBack(t *testing.T) {
	c, err := load(t, []string{
		"--listen=127.0.0.1:1,unix:/tmp/a b.sock", "--requirepass=secret", "--session-timeout=12s",
		`--data-dir=/a "quoted" dir`, "--max-bulk-size=2kb", "--protected-mode=no", "--requirepass-file=",
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "secret") {
		t.Errorf("the password is shown:\n%s", b.String())
	}
	back, err := load(t, []string{"--config", write(t, "r.toml", b.String())})
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	for i := range table {
		o := &table[i]
		if o.Secret || o.FlagOnly {
			continue
		}
		if got, want := o.bind(back).String(), o.bind(c).String(); got != want {
			t.Errorf("%s: %q came back as %q", o.Name, want, got)
		}
	}
	// What nobody gave is nobody's word: a node of one would else listen for peers, and
	// each of its starts would take back what CONFIG SET has changed for the cluster.
	if back.Clustered() != c.Clustered() || !maps.Equal(back.Cluster(), c.Cluster()) {
		t.Errorf("clustered %v with %v came back as %v with %v", c.Clustered(), c.Cluster(), back.Clustered(), back.Cluster())
	}
}
