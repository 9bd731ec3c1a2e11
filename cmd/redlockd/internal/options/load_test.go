package options

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load runs Load as the process does: args as typed, environ as name=value.
func load(t *testing.T, args []string, environ ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("redlockd", pflag.ContinueOnError)
	for _, group := range Groups() {
		Register(flags, group)
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return Load(flags, environ)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreTheContract(t *testing.T) {
	c, err := load(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Listen, " "); got != "127.0.0.1:7379" {
		t.Errorf("listen: %s", got)
	}
	if c.DataDir != "./redlockd-data" || c.NodeID != "n1" || c.PeerListen != "127.0.0.1:17379" {
		t.Errorf("data-dir %s, node-id %s, peer-listen %s", c.DataDir, c.NodeID, c.PeerListen)
	}
	if c.RequestTimeout != 5*time.Second || c.TCPTimeout != 15*time.Second {
		t.Errorf("request-timeout %v, tcp-timeout %v", c.RequestTimeout, c.TCPTimeout)
	}
	if !c.ProtectedMode || c.RequirePass != "" {
		t.Errorf("protected-mode %v, requirepass %q", c.ProtectedMode, c.RequirePass)
	}
	if given := c.Cluster(); len(given) != 0 {
		t.Errorf("a node that was told nothing proposes %v", given)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "r.toml", "node-id = \"file\"\nrequest-timeout = 1000\nmax-clients = 11\nlog-level = \"debug\"\n")
	c, err := load(t, []string{"--config", file, "--node-id=flag"},
		"REDLOCKD_NODE_ID=env", "REDLOCKD_REQUEST_TIMEOUT=2s", "HOME=/", "REDLOCKDX=1")
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != "flag" || c.RequestTimeout != 2*time.Second || c.MaxClients != 11 || c.TCPTimeout != 15*time.Second {
		t.Errorf("node-id %s, request-timeout %v, max-clients %d, tcp-timeout %v", c.NodeID, c.RequestTimeout, c.MaxClients, c.TCPTimeout)
	}
	for name, want := range map[string]Origin{
		"node-id":         {LayerFlag, "--node-id"},
		"request-timeout": {LayerEnvironment, "REDLOCKD_REQUEST_TIMEOUT"},
		"max-clients":     {LayerFile, file + ": max-clients"},
		"tcp-timeout":     {},
	} {
		if got := c.Origin(name); got != want {
			t.Errorf("%s comes from %v, want %v", name, got, want)
		}
	}
}

func TestFileNamedByTheEnvironment(t *testing.T) {
	file := write(t, "r.toml", `listen = ["127.0.0.1:1", "unix:/tmp/r.sock"]`+"\nprotected-mode = false\n")
	c, err := load(t, nil, "REDLOCKD_CONFIG="+file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Listen, " "); got != "127.0.0.1:1 unix:/tmp/r.sock" || c.ProtectedMode {
		t.Errorf("listen %s, protected-mode %v", got, c.ProtectedMode)
	}
}

func TestListenIsRepeatable(t *testing.T) {
	c, err := load(t, []string{"--listen", "127.0.0.1:1", "--listen=unix:/tmp/r.sock", "--listen", "[::1]:0"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Listen, " "); got != "127.0.0.1:1 unix:/tmp/r.sock [::1]:0" {
		t.Errorf("listen: %s", got)
	}
}

func TestTimesAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10000": 10 * time.Second, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond,
	} {
		c, err := load(t, []string{"--request-timeout", text})
		if err != nil || c.RequestTimeout != want {
			t.Errorf("%s: %v, %v, want %v", text, c.RequestTimeout, err, want)
		}
	}
	for text, want := range map[string]int64{"2048": 2048, "2kb": 2048, "1MB": 1 << 20, "4096b": 4096} {
		c, err := load(t, []string{"--max-bulk-size", text})
		if err != nil || c.MaxBulk != want {
			t.Errorf("%s: %v, want %d", text, err, want)
		}
	}
}

func TestClusterSettingsThatWereGiven(t *testing.T) {
	c, err := load(t, []string{"--session-timeout=12s", "--lock-acquire-limit", "orders:*=1 *=0"})
	if err != nil {
		t.Fatal(err)
	}
	given := c.Cluster()
	if len(given) != 2 || given["session-timeout"] != "12000" || given["lock-acquire-limit"] != "orders:*=1 *=0" {
		t.Errorf("proposed: %v", given)
	}
}

func TestErrorsNameThePlaceAndTheWayOut(t *testing.T) {
	file := func(text string) []string { return []string{"--config", write(t, "r.toml", text)} }
	for _, c := range []struct {
		name string
		args []string
		env  string
		want []string
	}{
		{"not a time", []string{"--request-timeout", "10x"}, "", []string{"--request-timeout", "whole milliseconds (10000)"}},
		{"half a millisecond", []string{"--request-timeout", "500us"}, "", []string{"whole milliseconds"}},
		{"out of range", []string{"--session-timeout", "1ms"}, "", []string{"--session-timeout", "from 1000 to 86400000"}},
		{"not an address", []string{"--listen", "7379"}, "", []string{"--listen", "host:port"}},
		{"no port", []string{"--listen", "127.0.0.1:redis"}, "", []string{"a number from 0 to 65535"}},
		{"not yes or no", []string{"--protected-mode=perhaps"}, "", []string{"yes or no"}},
		{"not a word", []string{"--log-level=loud"}, "", []string{"debug, info, warn, error"}},
		{"a limit without number", []string{"--lock-acquire-limit=orders:*=x"}, "", []string{"is not a limit"}},
		{"a glob without limit", []string{"--lock-acquire-limit=orders:* *=1"}, "", []string{"glob=number"}},
		{"value in the environment", nil, "REDLOCKD_MAX_CLIENTS=many", []string{"REDLOCKD_MAX_CLIENTS", "whole number"}},
		{"name in the environment", nil, "REDLOCKD_DATADIR=/x", []string{"REDLOCKD_DATADIR", "did you mean REDLOCKD_DATA_DIR?"}},
		{"far name in the environment", nil, "REDLOCKD_QUETZALCOATL=1", []string{"REDLOCKD_QUETZALCOATL", "redlockd help"}},
		{"name in the file", file("listn = \"x\""), "", []string{"r.toml", "listn", "did you mean listen?"}},
		{"table in the file", file("[listen]\na = 1"), "", []string{"r.toml: listen"}},
		{"value in the file", file("max-clients = 1.5"), "", []string{"r.toml: max-clients", "whole number"}},
		{"syntax of the file", file("listen = \n"), "", []string{"r.toml, line 1"}},
		{"file that names a file", file("config = \"x\""), "", []string{"no option that a file can set"}},
		{"no file", []string{"--config", "/does/not/exist"}, "", []string{"configuration file", "/does/not/exist"}},
		{"no password file", []string{"--requirepass-file", "/does/not/exist"}, "", []string{"--requirepass-file", "/does/not/exist"}},
		{"empty password file", []string{"--requirepass-file", write(t, "p", "\n")}, "", []string{"first line", "is empty"}},
		{"two passwords", []string{"--requirepass-file=x"}, "REDLOCKD_REQUIREPASS=y", []string{"REDLOCKD_REQUIREPASS", "--requirepass-file", "keep one"}},
		{"password too long", []string{"--requirepass", strings.Repeat("x", 4097)}, "", []string{"auth-max-bulk-size"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.args, c.env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestPasswordFile(t *testing.T) {
	c, err := load(t, []string{"--listen=0.0.0.0:7379", "--requirepass-file", write(t, "p", "s3cret\r\nrest\n")})
	if err != nil || c.RequirePass != "s3cret" {
		t.Errorf("password %q, %v", c.RequirePass, err)
	}
}

func TestProtectedMode(t *testing.T) {
	for listen, refused := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "127.8.9.1:1": false, "unix:/tmp/x": false,
		"0.0.0.0:1": true, ":1": true, "[::]:1": true, "10.0.0.1:1": true, "example.org:1": true, "127.0.0.1:1,:2": true,
	} {
		_, err := load(t, []string{"--listen", listen})
		if (err != nil) != refused {
			t.Errorf("%s without a password: %v", listen, err)
		}
		if refused && !strings.Contains(err.Error(), "--protected-mode=no") {
			t.Errorf("%q does not tell the way out", err)
		}
		for _, open := range []string{"--requirepass=x", "--protected-mode=no"} {
			if _, err := load(t, []string{"--listen", listen, open}); err != nil {
				t.Errorf("%s with %s: %v", listen, open, err)
			}
		}
	}
}

func TestServiceVariablesAreNoMistake(t *testing.T) {
	_, err := load(t, nil, "REDLOCKD_SERVICE_HOST=10.0.0.1", "REDLOCKD_SERVICE_PORT_RESP=7379", "REDLOCKD_PORT=tcp://10.0.0.1:7379",
		"REDLOCKD_PORT_7379_TCP_ADDR=10.0.0.1")
	if err != nil {
		t.Error(err)
	}
}
