package options

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

// FuzzFile: whatever is in a configuration file, it is refused with an error or
// makes a configuration, and what `redlockd config` prints of that makes the same.
func FuzzFile(f *testing.F) {
	f.Add([]byte("listen = [\"127.0.0.1:7379\"]\nsession-timeout = \"10s\"\n"))
	f.Add([]byte("initial-cluster = [\"n1=127.0.0.1:1\", \"n2=127.0.0.1:2\"]\nnode-id = \"n1\"\npeer-listen = \"127.0.0.1:1\"\n"))
	f.Add([]byte("max-clients = 10\nmax-output-buffer = \"1MB\"\nprotected-mode = false\n"))
	f.Add([]byte("[section]\nx = 1\n"))
	dir := f.TempDir()
	load := func(t *testing.T, data []byte) (*Config, error) {
		t.Helper()
		path := filepath.Join(dir, "config.toml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		flags := pflag.NewFlagSet("redlockd", pflag.ContinueOnError)
		for _, group := range Groups() {
			Register(flags, group)
		}
		if err := flags.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		return Load(flags, nil)
	}
	printed := func(t *testing.T, c *Config) []byte {
		t.Helper()
		var b bytes.Buffer
		if err := c.WriteTOML(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("file")) || bytes.Contains(data, []byte("pass")) || bytes.Contains(data, []byte(`\`)) {
			return // it would name files of this machine, and passwords are not printed
		}
		c, err := load(t, data)
		if err != nil {
			return
		}
		text := printed(t, c)
		again, err := load(t, text)
		if err != nil {
			t.Fatalf("what it prints is refused: %v\n%s", err, text)
		}
		if other := printed(t, again); !bytes.Equal(values(text), values(other)) {
			t.Errorf("it prints\n%s\nand of that\n%s", text, other)
		}
	})
}

// values are the lines of a printed configuration without the comments, which
// say where each value came from.
func values(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		value, _, _ := bytes.Cut(line, []byte(" # from "))
		b.Write(bytes.TrimSpace(value))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
