package commands

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// backup is the backup of a node in tests: two pieces and a bit.
func (w *world) backup(context.Context) (*Backup, error) {
	if w.cluster != nil {
		if _, led := w.cluster.Leader(); !led {
			return nil, errors.New("CLUSTERDOWN no leader is known; nothing was done, try again")
		}
	}
	w.backups.Add(1)
	file := io.MultiReader(strings.NewReader(strings.Repeat("x", 2*backupChunk)), strings.NewReader("the end"))
	if w.cluster != nil { // a transcript
		file = strings.NewReader("the file")
	}
	return &Backup{Cluster: "c1", Node: "n1", Index: 1042, Term: 7, File: &backupFile{Reader: file, w: w}}, nil
}

// backupFile counts the open ones.
type backupFile struct {
	io.Reader
	w      *world
	closed bool
}

func (f *backupFile) Close() error {
	if f.closed {
		f.w.t.Error("a backup was closed twice")
	}
	f.closed = true
	f.w.backups.Add(-1)
	return nil
}

// TestBackupIsReadToItsEnd: the pieces make the file, and what a client leaves
// open ends with its connection, by RESET, or by another START.
func TestBackupIsReadToItsEnd(t *testing.T) {
	w := newWorld(t, "")
	p := w.dial(t)
	open := func() int { return int(w.backups.Load()) }
	var file strings.Builder
	start := func(p *peer) {
		t.Helper()
		if got := p.do("BACKUP START"); !strings.Contains(got, `index:1042\r\nterm:7`) {
			t.Fatal(got)
		}
	}
	start(p)
	for {
		p.send([]string{"BACKUP", "READ"})
		v, err := p.r.read()
		if err != nil || v.kind != '$' || len(v.text) > backupChunk {
			t.Fatal(v.kind, len(v.text), err)
		}
		if v.text == "" {
			break
		}
		file.WriteString(v.text)
	}
	if want := strings.Repeat("x", 2*backupChunk) + "the end"; file.String() != want || open() != 0 {
		t.Fatalf("%d bytes of %d; %d are open", file.Len(), len(want), open())
	}
	for round := range 3 { // so that ended ones do not count
		peers := make([]*peer, maxBackups)
		for i := range peers {
			peers[i] = w.dial(t)
			start(peers[i])
			start(peers[i])
		}
		if got := p.do("BACKUP START"); !strings.HasPrefix(got, "-LIMIT") {
			t.Fatalf("round %d: one too many: %s", round, got)
		}
		if open() != maxBackups {
			t.Fatalf("%d backups are open", open())
		}
		if got := peers[0].do("RESET"); got != "+RESET" || open() != maxBackups-1 {
			t.Fatalf("%s, and %d are open", got, open())
		}
		start(p)
		if got := p.do("RESET"); got != "+RESET" {
			t.Fatal(got)
		}
		for _, q := range peers {
			if err := q.nc.Close(); err != nil {
				t.Fatal(err)
			}
		}
		until(t, func() bool { return open() == 0 && w.h.backups.Load() == 0 })
	}
}

// TestBackupThatHangs: a client that goes while the disk does not give its backup does
// not keep its locks until it does.
func TestBackupThatHangs(t *testing.T) {
	reading, disk := make(chan struct{}), make(chan struct{})
	w := newWorldOf(t, "", nil, func(o *Options) {
		o.Backup = func(context.Context) (*Backup, error) {
			return &Backup{File: io.NopCloser(readerFunc(func([]byte) (int, error) {
				close(reading)
				<-disk
				return 0, io.EOF
			}))}, nil
		}
	})
	p := w.dial(t)
	p.do("BACKUP START")
	p.send([]string{"BACKUP", "READ"})
	<-reading
	if err := p.nc.Close(); err != nil {
		t.Fatal(err)
	}
	defer close(disk)
	until(t, func() bool {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		return p.s.closed
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestIdleBackup: one that nobody reads is given up, and says so.
func TestIdleBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Int64
		w := &world{t: t}
		taken, err := w.backup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := newBackup(taken.File, func() { released.Add(1) })
		time.Sleep(backupIdle - time.Second)
		if piece, err := b.read(); len(piece) != backupChunk || err != nil {
			t.Fatal(len(piece), err)
		}
		time.Sleep(backupIdle - time.Second)
		synctest.Wait()
		if released.Load() != 0 {
			t.Fatal("given up too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := b.read(); err == nil || released.Load() != 1 || w.backups.Load() != 0 {
			t.Fatalf("%v, released %d times, %d open", err, released.Load(), w.backups.Load())
		}
	})
}

// TestBackupThatFails: the error is told and nothing stays.
func TestBackupThatFails(t *testing.T) {
	w := newWorld(t, "")
	released := false
	b := newBackup(&backupFile{Reader: io.MultiReader(strings.NewReader("x"), errReader{}), w: w}, func() { released = true })
	w.backups.Add(1)
	if _, err := b.read(); !errors.Is(err, errBroken) || !released {
		t.Fatalf("%v, released %v", err, released)
	}
}

var errBroken = errors.New("the disk is broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }
