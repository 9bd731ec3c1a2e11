package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
	"github.com/redlockd/redlockd/commands"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/store"
)

// TestLimitsAreOneSet holds the table against the limits of resp: the same
// defaults, and none left out.
func TestLimitsAreOneSet(t *testing.T) {
	var l resp.Limits
	setLimits(&l, options.New())
	if got, want := dump(&l), dump(resp.NewLimits()); got != want {
		t.Errorf("by the table:\n%sof resp:\n%s", got, want)
	}
}

// dump writes every field of the limits with its value.
func dump(l *resp.Limits) string {
	var b strings.Builder
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		out := v.Field(i).Addr().MethodByName("Load").Call(nil)
		fmt.Fprintf(&b, "%s %v\n", v.Type().Field(i).Name, out[0])
	}
	return b.String()
}

func TestStoreDefaultsAreOneSet(t *testing.T) {
	c := options.New()
	if c.CacheSize != store.DefaultCacheBytes || c.MemTableSize != store.DefaultMemTableBytes || c.DiskTimeout != store.DefaultWriteLimit {
		t.Errorf("cache-size %d, memtable-size %d, disk-timeout %v", c.CacheSize, c.MemTableSize, c.DiskTimeout)
	}
	if exitFatal != store.ExitFatal {
		t.Errorf("exit code %d here, %d in store", exitFatal, store.ExitFatal)
	}
}

func TestNodeSettings(t *testing.T) {
	var s commands.Settings = nodeSettings{options.NewLive(options.New(), func(*options.Config) {})}
	if err := s.Set("node-id", "n2"); err == nil || !strings.Contains(err.Error(), commands.ErrImmutable.Error()) {
		t.Errorf("a setting of the start: %v", err)
	}
	if err := s.Set("max-clients", "3"); err != nil {
		t.Error(err)
	}
	if v, ok := s.Get("max-clients"); v != "3" || !ok {
		t.Errorf("max-clients is %q, %v", v, ok)
	}
}

// TestConfigSetTakesAllBack: of settings that allow one another, the last one first.
func TestConfigSetTakesAllBack(t *testing.T) {
	n := start(t, configure(t, "--auth-max-bulk-size=128"))
	c := dial(t, "tcp", n.addr)
	long := strings.Repeat("x", 200)
	for _, line := range []string{"CONFIG SET auth-max-bulk-size 256 requirepass " + long + " node-id n2", "CONFIG SET requirepass " + long} {
		if got := say(t, c, line); !strings.HasPrefix(got, "-ERR") {
			t.Errorf("%s: %s", line, got)
		}
	}
	n.stop()
	if err := n.ends(); err != nil {
		t.Error(err)
	}
}
