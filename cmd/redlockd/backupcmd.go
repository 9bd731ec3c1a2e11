package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/ask"
	"github.com/redlockd/redlockd/store"
)

// This file is `redlockd backup`: it reads a backup from a running node, piece by
// piece, into a file, and gives that its name when all of it was read back.

type backupFlags struct {
	addrs        []string
	passwordFile string
	timeout      time.Duration
}

func newBackup(environ []string) *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use: "backup FILE", Short: "Take a backup of a running cluster, from one of its nodes", Args: cobra.ExactArgs(1),
		Long: "Take a backup of the whole state (locks, sessions, settings, fences) from a node that runs, and goes on running.\n" +
			"FILE must not exist; it gets its name when all of it is there and was checked. Ask the leader for a backup of all\n" +
			"that was acknowledged before; another node may be some milliseconds behind.\n" +
			"The password is taken from --password-file or REDLOCKD_REQUIREPASS.",
		Example: "  redlockd backup locks.backup\n  redlockd backup locks.backup --addr 10.0.0.1:7379 --password-file /etc/redlockd.password",
		RunE: func(c *cobra.Command, args []string) error {
			password, err := toolPassword(f.passwordFile, environ)
			if err != nil {
				return err
			}
			return f.run(c.Context(), args[0], password, c.OutOrStdout())
		},
	}
	c.Flags().StringSliceVar(&f.addrs, "addr", []string{"127.0.0.1:7379"}, "a node to ask: host:port or unix:/path; of several the first that takes one")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "a file whose first line is the password")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long the node may take for one piece")
	return c
}

func (f *backupFlags) run(ctx context.Context, name, password string, out io.Writer) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s exists: give a backup a name of its own", name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs error
	for _, addr := range f.addrs {
		info, size, err := f.from(ctx, addr, password, name)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s: %d bytes, cluster %s as node %s had it at entry %d of term %d\n",
				name, size, info.Cluster, info.Node, info.Index, info.Term)
			return err
		}
		errs = errors.Join(errs, fmt.Errorf("no backup from %s: %w", addr, err))
	}
	return errs
}

// errSlow ends a backup that does not get on.
var errSlow = errors.New("the node did not answer within --timeout")

// from takes the backup from one node.
func (f *backupFlags) from(ctx context.Context, addr, password, name string) (info store.BackupInfo, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(f.timeout, func() { cancel(errSlow) })
	defer idle.Stop()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errSlow) {
			err = errSlow
		}
	}()
	c, err := ask.Dial(ctx, addr, password)
	if err != nil {
		return info, 0, err
	}
	defer func() { _ = c.Close() }() // it was read to the end
	if _, err = c.Do("BACKUP", "START"); err != nil {
		return info, 0, err
	}
	return writeBackup(name, func() (string, error) {
		idle.Reset(f.timeout)
		return c.Do("BACKUP", "READ")
	})
}

// writeBackup puts the pieces into a file beside the one that is to be, checks
// that, and gives it its name. Nothing is left after an error.
func writeBackup(name string, next func() (string, error)) (info store.BackupInfo, size int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return info, 0, err
	}
	named := false
	defer func() {
		if !named {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	for {
		var piece string
		if piece, err = next(); err != nil {
			return info, size, err
		}
		if piece == "" {
			break
		}
		if _, err = file.WriteString(piece); err != nil {
			return info, size, err
		}
		size += int64(len(piece))
	}
	if err = file.Sync(); err != nil {
		return info, size, err
	}
	if info, err = store.ReadBackup(file, size, func(store.Write) {}); err != nil {
		return info, size, fmt.Errorf("what arrived is not what was sent: %w", err)
	}
	if err = os.Rename(file.Name(), name); err != nil {
		return info, size, err
	}
	named = true
	return info, size, errors.Join(file.Close(), syncDir(filepath.Dir(name)))
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
