package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/redlockd/redlockd/cluster"
	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
	"github.com/redlockd/redlockd/store"
)

// newRestore makes `redlockd restore`: it makes a data directory out of a backup.
func newRestore(environ []string) *cobra.Command {
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a data directory out of a backup: the first node of a new cluster", Args: cobra.ExactArgs(1),
		Long: "Make the data directory of a node out of a backup, while no server runs on it. Give the options that the server\n" +
			"will be started with, by flags, environment or --config: --data-dir (it must be empty or missing), --node-id, and\n" +
			"--peer-advertise or --peer-listen where other nodes are to join.\n" +
			"The node starts as a new cluster of one, with a new cluster id. All connections and anonymous sessions of the backup\n" +
			"have ended; named sessions stay for their TTL, and holds with a lease for that. Every fence from now on is above all\n" +
			"that the old cluster has given. Make sure that the old cluster does not run any more, or that nobody reaches it.",
		Example: "  redlockd restore locks.backup --data-dir /var/lib/redlockd --node-id n1 --peer-listen 10.0.0.1:17379\n" +
			"  redlockd restore locks.backup --config /etc/redlockd.toml",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := options.Load(c.Flags(), environ)
			if err != nil {
				return err
			}
			return restore(args[0], cfg, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	return c
}

func restore(name string, cfg *options.Config, stdout, stderr io.Writer) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	log, _ := newLogger(stderr, cfg.LogFormat, "warn")
	r, err := cluster.Restore(cluster.RestoreOptions{
		NodeID: cfg.NodeID, PeerAddr: cfg.PeerAddr(), Backup: file, Size: stat.Size(), Now: time.Now(),
		Store: store.Options{
			Dir: cfg.DataDir, Logger: log, CacheBytes: cfg.CacheSize, MemTableBytes: cfg.MemTableSize, WriteLimit: cfg.DiskTimeout,
		},
	})
	if err != nil {
		return fmt.Errorf("%s was not restored: %w", name, err)
	}
	b := &r.Backup
	_, err = fmt.Fprintf(stdout, `%s is restored into %s.
It is of cluster %s, taken at node %s on %s by version %s: entry %d of term %d.
Now it is cluster %s, of node %s alone. Start that with the same --data-dir and --node-id; others join it with --join, on empty data directories.
Ended: %d connections, %d anonymous sessions. Released: %d holds. Left: %d holds, %d named sessions.
All fences from now on are above %d.
`, name, absolute(cfg.DataDir), b.Cluster, b.Node, b.Time.Format(time.RFC3339), b.Version, b.Index, b.Term,
		r.Cluster, cfg.NodeID, r.Connections, r.Sessions, r.Released, r.Kept, r.Named, r.Fence)
	return err
}
