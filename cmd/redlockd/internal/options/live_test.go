package options

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLiveSet(t *testing.T) {
	var applied []*Config
	start := New()
	l := NewLive(start, func(c *Config) { applied = append(applied, c) })
	if err := l.Set("write-timeout", "2s"); err != nil {
		t.Fatal(err)
	}
	if len(applied) != 1 || applied[0].WriteTimeout != 2*time.Second {
		t.Fatalf("applied %v", applied)
	}
	if start.WriteTimeout != 10*time.Second {
		t.Error("the old configuration was written to")
	}
	if got, ok := l.Get("write-timeout"); !ok || got != "2000" {
		t.Errorf("write-timeout %q, %v", got, ok)
	}
	if got := l.Config().Origin("write-timeout"); got.Layer != LayerLive {
		t.Errorf("origin %v", got)
	}
}

func TestLiveSetRefuses(t *testing.T) {
	for _, c := range []struct {
		name, value string
		is          error
		says        string
	}{
		{"max-client", "6", ErrUnknown, "did you mean max-clients?"},
		{"data-dir", "/x", ErrStart, "when the node starts"},
		{"session-timeout", "20s", ErrCluster, "cluster setting"},
		{"log-level", "loud", nil, "debug, info, warn, error"},
	} {
		l := NewLive(New(), func(*Config) { t.Error("applied") })
		before, _ := l.Get(c.name)
		err := l.Set(c.name, c.value)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, _ := l.Get(c.name); after != before {
			t.Errorf("%s went from %q to %q", c.name, before, after)
		}
	}
}

func TestLivePasswordOfAnOpenNodeStays(t *testing.T) {
	c, err := load(t, []string{"--listen=0.0.0.0:1", "--requirepass=x"})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLive(c, func(*Config) {})
	if err := l.Set("requirepass", ""); err == nil {
		t.Error("the password of a node that listens to the network could be taken away")
	}
	if err := l.Set("requirepass", "y"); err != nil || l.Config().RequirePass != "y" {
		t.Errorf("changing it: %v", err)
	}
}

func TestLiveGet(t *testing.T) {
	l := NewLive(New(), func(*Config) {})
	for name, want := range map[string]string{"listen": "127.0.0.1:7379", "max-bulk-size": "65536", "protected-mode": "yes"} {
		if got, ok := l.Get(name); !ok || got != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	for _, name := range l.List() {
		if _, ok := l.Get(name); !ok {
			t.Errorf("%s is listed and cannot be read", name)
		}
	}
	for _, name := range []string{"session-timeout", "nonsense"} {
		if got, ok := l.Get(name); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}
