package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestDamagedData: a start on damaged files ends with an error that names the file, and leaves every byte as it was.
func TestDamagedData(t *testing.T) {
	s := harness.Start(t)
	fill(t, s.Client(), "first", 500)
	if code := s.Stop(); code != 0 { // once in good order, so that there are tables
		t.Fatalf("exit code %d", code)
	}
	s.Start()
	fill(t, s.Client(), "second", 500)
	s.Kill() // and once not, so that the log holds entries
	whole := filepath.Join(t.TempDir(), "whole")
	if err := os.CopyFS(whole, os.DirFS(s.Data())); err != nil {
		t.Fatal(err)
	}
	s.Start() // the folder is good as it is
	s.Client().Want("LOCKCOUNT second:499", ":1")

	for _, c := range []struct {
		name, glob string
		damage     func(b []byte) []byte
	}{
		{"manifest overwritten", "MANIFEST-*", func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) }},
		{"manifest flipped", "MANIFEST-*", func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b }},
		{"log flipped in the middle", "*.log", func(b []byte) []byte { b[written(b)/2] ^= 0x01; return b }},
		{"log flipped near its start", "*.log", func(b []byte) []byte { b[min(written(b)-1, 100)] ^= 0x01; return b }},
		{"table flipped", "*.sst", func(b []byte) []byte { b[len(b)/2] ^= 0x01; return b }},
		{"table cut short", "*.sst", func(b []byte) []byte { return b[:len(b)/2] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			file := largest(t, data, c.glob)
			if file == "" {
				t.Skipf("the folder has no %s", c.glob)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.damage(b), 0o644); err != nil {
				t.Fatal(err)
			}
			before := sums(t, data)
			wantRefused(t, harness.Run(t, harness.Flags(freeAddr(t), freeAddr(t), data)...), filepath.Base(file))
			after := sums(t, data)
			for name, sum := range before {
				if after[name] != sum {
					t.Errorf("%s was changed or removed", name)
				}
			}
		})
	}
}

// TestForeignData: a data folder that is a file, or cannot be written.
func TestForeignData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, harness.Run(t, harness.Flags(freeAddr(t), freeAddr(t), file)...), file)
	if got, err := os.ReadFile(file); err != nil || string(got) != "mine" {
		t.Errorf("the file has %q, %v", got, err)
	}
}

// fill makes n kept locks, with notes so that they take room.
func fill(t *testing.T, c *harness.Client, prefix string, n int) {
	t.Helper()
	for i := range n {
		if fence := c.Int(fmt.Sprintf("TRYLOCK %s:%d LEASE 86400000 KEEP NOTE %0100d", prefix, i, i)); fence == 0 {
			t.Fatalf("%s:%d was held", prefix, i)
		}
	}
}

// written is how far a preallocated file has been written.
func written(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

// largest returns the biggest file below dir whose name matches, or "".
func largest(t *testing.T, dir, pattern string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, err := filepath.Match(pattern, d.Name()); err != nil || !ok {
			return err
		}
		files = append(files, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return ""
	}
	return slices.MaxFunc(files, func(a, b string) int { return size(t, a) - size(t, b) })
}

func size(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return written(b)
}

// sums are the checksums of all files below dir, but for locks and logs, which hold no data.
func sums(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	got := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" || strings.HasSuffix(d.Name(), ".txt") {
			return err
		}
		b, err := os.ReadFile(path)
		got[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
