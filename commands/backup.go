package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redlockd/redlockd/resp"
)

// Backup is a backup file that is being read.
type Backup struct {
	// Cluster and Node are where it was taken; Index is that of its newest entry, of term Term.
	Cluster, Node string
	Index, Term   uint64
	// File is closed when it was read to its end, or the client is gone.
	File io.ReadCloser
}

const (
	// backupChunk is the most that one BACKUP READ answers: far below the limits
	// of a connection's output.
	backupChunk = 256 << 10
	// backupIdle is how long a backup that nobody reads stays open: it keeps the
	// disk space of its records from being used again.
	backupIdle = time.Minute
	// maxBackups is how many may be open at once at one node.
	maxBackups = 4
)

// backup is the one that a connection reads.
type backup struct {
	mu      sync.Mutex
	file    io.ReadCloser // nil: over
	idle    *time.Timer
	release func() // once, at the end
}

func newBackup(file io.ReadCloser, release func()) *backup {
	b := &backup{file: file, release: release}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = time.AfterFunc(backupIdle, b.stop)
	return b
}

func backupSpec() *Spec {
	subs := []*Spec{
		{
			Name:    "start",
			Arity:   2,
			Summary: "Begins a backup of the state of this moment, which belongs to this connection",
			Notes: []string{
				"It has all that this node has applied: on the leader, all that was acknowledged before. An earlier one of the connection ends.",
				"LIMIT while four are read at this node, CLUSTERDOWN while no leader is known. It ends with the connection, by RESET, and when nothing was read for a minute.",
			},
			Replies: []Shape{prose("lines of name:value: what it is of")},
			Example: "> BACKUP START\ncluster:5f0c...\nnode:n1\nindex:1042\nterm:7",
			run:     runBackupStart,
		},
		{
			Name:    "read",
			Arity:   2,
			Summary: "Reads on in the backup that the connection has begun",
			Notes:   []string{"What all of them answer, one behind the other, is the file that redlockd restore takes."},
			Replies: []Shape{bulk("the next piece of the file, of at most 256 KiB; empty: that was all, and the backup is over")},
			Example: "> BACKUP READ\n\"redlockd backup 1\\n{...\"",
			run:     runBackupRead,
		},
	}
	for _, s := range subs {
		s.Flags, s.Complexity = Admin|NoScript|local, "O(1)"
		s.Tips = []string{"nondeterministic_output"}
	}
	return &Spec{
		Name:    "backup",
		Arity:   -2,
		Group:   "server",
		Summary: "A container for commands that take a backup; redlockd backup does it for you",
		Subs:    subs,
	}
}

func runBackupStart(c *client, _ [][]byte) {
	h := c.h
	c.setBackup(nil)
	if h.backups.Add(1) > maxBackups {
		h.backups.Add(-1)
		c.failed(problem(fmt.Sprintf("LIMIT %d backups are being read at this node: nothing was done; try again when one has ended", maxBackups)))
		return
	}
	h.o.Logger.Info("a backup is taken", "by", c.rc.RemoteAddr())
	c.laterWith(func(ctx context.Context) (func(*resp.Writer), error) {
		taken, err := h.o.Backup(ctx)
		if err != nil {
			h.backups.Add(-1)
			return nil, err
		}
		c.setBackup(newBackup(taken.File, func() { h.backups.Add(-1) }))
		text := fmt.Sprintf("cluster:%s\r\nnode:%s\r\nindex:%d\r\nterm:%d\r\n", taken.Cluster, taken.Node, taken.Index, taken.Term)
		return func(w *resp.Writer) { w.Verbatim("txt", text) }, nil
	})
}

// setBackup makes b (nil: none) the connection's backup and ends the one before;
// b too, where the client is gone.
func (c *client) setBackup(b *backup) {
	c.mu.Lock()
	old, gone := c.backup, c.gone
	c.backup = b
	if gone {
		c.backup = nil
	}
	c.mu.Unlock()
	if old != nil {
		old.stop()
	}
	if gone && b != nil {
		b.stop()
	}
}

func runBackupRead(c *client, _ [][]byte) {
	c.mu.Lock()
	b := c.backup
	c.mu.Unlock()
	if b == nil {
		c.failed("ERR this connection has no backup to read: BACKUP START begins one")
		return
	}
	c.laterWith(func(context.Context) (func(*resp.Writer), error) {
		piece, err := b.read()
		return func(w *resp.Writer) { w.Bulk(piece) }, err
	})
}

// read returns the next piece, empty at the end.
func (b *backup) read() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil, errors.New("ERR the backup is over, or was given up since nobody has read it for a minute: BACKUP START begins another")
	}
	b.idle.Reset(backupIdle)
	piece := make([]byte, backupChunk)
	n, err := io.ReadFull(b.file, piece)
	switch {
	case errors.Is(err, io.EOF):
		b.end()
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		b.end()
		return nil, err
	}
	return piece[:n], nil
}

func (b *backup) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		b.end()
	}
}

// end gives back what the backup holds; b.mu is held.
func (b *backup) end() {
	b.idle.Stop()
	_ = b.file.Close() // it was only read
	b.file = nil
	b.release()
}
