package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/ask"
	"github.com/redlockd/redlockd/fsm"
)

// TestBackupAndRestore takes a backup under load, restores it into a new
// directory, and starts a new cluster there that another node joins.
func TestBackupAndRestore(t *testing.T) {
	old := start(t, configure(t, "--requirepass=secret", "--node-id=n1"))
	login := func(addr string) net.Conn {
		t.Helper()
		c := dial(t, "tcp", addr)
		if got := say(t, c, "AUTH secret"); got != "+OK" {
			t.Fatal(got)
		}
		return c
	}
	steps := func(c net.Conn, steps ...string) {
		t.Helper()
		for i := 0; i < len(steps); i += 2 {
			if got := say(t, c, steps[i]); got != steps[i+1] {
				t.Fatalf("%s: %s, want %s", steps[i], got, steps[i+1])
			}
		}
	}
	named, anonymous := login(old.addr), login(old.addr)
	steps(named, "SESSION ATTACH job TTL 60000", "*2")
	steps(named, "LOCK of:job OWNER w", ":1")
	steps(anonymous, "LOCK of:nobody", ":2", "TRYLOCK kept LEASE 3600000 KEEP", ":3", "DESTROY gone", "+OK")
	load := startLoad(t, old.addr, "secret")

	dir := t.TempDir()
	file, data := filepath.Join(dir, "locks.backup"), filepath.Join(dir, "data")
	env := []string{"REDLOCKD_REQUIREPASS=secret"}
	if code, out, stderr := runMain(t, env, "backup", file, "--addr", "127.0.0.1:1,"+old.addr); code != exitOK || !strings.HasPrefix(out, file+": ") {
		t.Fatalf("%d, %s%s", code, out, stderr)
	}
	last := load.end()
	for _, tt := range []struct {
		env  []string
		args []string
		want string
	}{
		{env, []string{"backup", file, "--addr", old.addr}, "exists"},
		{nil, []string{"backup", file + "2", "--addr", old.addr}, "NOAUTH"},
		{env, []string{"backup", filepath.Join(dir, "none", "x"), "--addr", old.addr}, "no such file"},
		{env, []string{"backup"}, "arg"},
		{env, []string{"backup", file + "2", "--addr", "127.0.0.1:1"}, "no backup from 127.0.0.1:1"},
	} {
		if code, _, stderr := runMain(t, tt.env, tt.args...); code != exitStart || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: %d, %s", tt.args, code, stderr)
		}
	}
	old.stop()
	if err := old.ends(); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the backup has left %v, %v", names, err)
	}

	ports := freePorts(t, 2)
	code, out, stderr := runMain(t, nil, "restore", file, "--data-dir", data, "--node-id=n7", "--peer-listen="+ports[0])
	if code != exitOK || !strings.Contains(out, "Left: 2 holds, 1 named sessions.") || !strings.Contains(out, "of node n7 alone") {
		t.Fatalf("%d, %s%s", code, out, stderr)
	}
	t.Log(out)
	if code, _, stderr := runMain(t, nil, "restore", file, "--data-dir", data, "--node-id=n7"); code != exitStart || !strings.Contains(stderr, "holds a node's data already") {
		t.Errorf("a second time: %d, %s", code, stderr)
	}
	fresh := start(t, configure(t, "--data-dir="+data, "--node-id=n7", "--peer-listen="+ports[0], "--requirepass=secret"))
	c := login(fresh.addr)
	steps(c, "FENCE of:job", ":1", "FENCE kept", ":3", "ISLOCKED of:nobody", ":0", "UNLOCK kept FENCE 3", ":0")
	steps(c, "SESSION ATTACH job TTL 60000", "*2")
	if got := say(t, c, "LOCK gone"); !strings.HasPrefix(got, "-DESTROYED") {
		t.Error(got)
	}
	steps(login(fresh.addr), "ISLOCKED of:job", ":1")
	fence, err := strconv.ParseUint(strings.TrimPrefix(say(t, login(fresh.addr), "LOCK of:nobody"), ":"), 10, 64)
	if err != nil || fence < 3+fsm.RecoverFences || fence < last {
		t.Errorf("the first fence is %d after %d: %v", fence, last, err)
	}
	second := start(t, configure(t, "--node-id=n8", "--peer-listen="+ports[1], "--join="+ports[0], "--requirepass=secret"))
	steps(login(second.addr), "FENCE of:job", ":1", "ISLOCKED of:nobody", ":1")
	for _, s := range []*served{second, fresh} {
		s.stop()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
	}
	damagedRestores(t, file, dir)
}

// damagedRestores: a file that is not whole, or not as it was written, makes nothing.
func damagedRestores(t *testing.T, file, dir string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	bad, data := filepath.Join(dir, "bad.backup"), filepath.Join(dir, "nothing")
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"cut short": {whole[:len(whole)-100], "not a sound backup"},
		"flipped":   {flipped, "not a sound backup"},
		"empty":     {nil, "cut short"},
		"another":   {[]byte("hello, world"), `it starts with "hello, world"`},
		"newer":     {[]byte("redlockd backup 9\n{}\n"), "newer version"},
	} {
		if err := os.WriteFile(bad, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := runMain(t, nil, "restore", bad, "--data-dir", data)
		if code != exitStart || !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, bad+" was not restored") {
			t.Errorf("%s: %d, %s", name, code, stderr)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s: the data directory was made", name)
		}
	}
}

// load takes and gives back locks, and knows the last fence.
type load struct {
	over chan struct{}
	done sync.WaitGroup
	last uint64
}

func startLoad(t *testing.T, addr, password string) *load {
	t.Helper()
	c, err := ask.Dial(t.Context(), addr, password)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{over: make(chan struct{})}
	round := func(i int) error {
		key := fmt.Sprintf("load:%d", i%100)
		fence, err := c.Do("LOCK", key)
		if err == nil {
			l.last, err = strconv.ParseUint(fence, 10, 64)
		}
		if err == nil {
			_, err = c.Do("UNLOCK", key)
		}
		return err
	}
	if err := round(0); err != nil {
		t.Fatal(err)
	}
	l.done.Go(func() {
		defer func() { _ = c.Close() }()
		for i := 1; ; i++ {
			select {
			case <-l.over:
				return
			default:
				if err := round(i); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return l
}

// end ends the load and returns the last fence.
func (l *load) end() uint64 {
	close(l.over)
	l.done.Wait()
	return l.last
}
