package store

import (
	"errors"
	"fmt"
	"syscall"
)

// What Open and the other calls can answer; compare with errors.Is.
var (
	// ErrInUse: another process has opened the data directory.
	ErrInUse = errors.New("the data directory is in use by another process")
	// ErrForeign: the directory has files that are not ours; nothing was written.
	ErrForeign = errors.New("not a redlockd data directory")
	// ErrNewer: a newer redlockd wrote the directory; nothing was changed.
	ErrNewer = errors.New("the data directory was written by a newer version of redlockd")
	// ErrDamaged: what is on disk is not what was written. The message names
	// the file where that is known; nothing was changed.
	ErrDamaged = errors.New("the data directory is damaged")
	// ErrNotEmpty: a backup is to be restored into a directory in use; nothing was changed.
	ErrNotEmpty = errors.New("the data directory holds a node's data already")
	// ErrUnfinished: the restore of a backup into the directory was cut short.
	ErrUnfinished = errors.New("a backup was being restored here and that was not finished")
	// ErrOldSnapshot: a snapshot that was received is older than the state.
	ErrOldSnapshot = errors.New("the snapshot is older than the state")
	// ErrRestartRaft: a received snapshot was restored, and the log, which
	// conflicted with it, was dropped. Raft still has the last entry of that
	// log in memory and would refuse all later entries (hashicorp/raft#697):
	// shut it down and make a new one on the same store.
	ErrRestartRaft = errors.New("the log conflicted with the snapshot and was dropped: Raft must be started anew on this store")
)

// advice is what to do about damage; it ends every such message.
const advice = "nothing was changed: look at the disk and the file, then restore the directory from a copy, " +
	"or, in a cluster, remove this node, empty the directory and let the node join anew"

// damagedf returns an error that is ErrDamaged and says what is wrong and what to do.
func damagedf(format string, args ...any) error {
	return fmt.Errorf("store: %w: %w (%s)", ErrDamaged, fmt.Errorf(format, args...), advice)
}

// isSystemError says whether the error is one of the system (no permission, no
// space, too many open files ...) and so no sign of damage.
func isSystemError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ENOENT && errno != syscall.EIO
}
