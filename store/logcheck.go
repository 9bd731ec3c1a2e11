package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// load finds the ends of the log.
func (l *logStore) load() error {
	l.first.Store(0)
	l.last.Store(0)
	return l.ends()
}

// check finds the ends of the log and checks its tail.
func (l *logStore) check() error {
	if err := l.load(); err != nil {
		return err
	}
	first, last := l.first.Load(), l.last.Load()
	if first == 0 {
		return nil
	}
	if err := l.scan(l.checkTail); err != nil {
		return err
	}
	if err := joins(first, last, l.s.meta.Load().applied.index); err != nil {
		return damagedf("%w: entries between them are missing in %s", err, l.s.dir.db)
	}
	return nil
}

// scan calls f with an iterator over the log; an iterator's error must not
// pass for the end of the log.
func (l *logStore) scan(f func(*pebble.Iterator) error) error {
	lower, upper := bounds(prefixLog)
	iter, err := l.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return l.s.readError("the log", err)
	}
	err = f(iter)
	if err == nil && iter.Error() != nil {
		err = l.s.readError("the log", iter.Error())
	}
	if cerr := iter.Close(); err == nil && cerr != nil {
		err = l.s.readError("the log", cerr)
	}
	return err
}

// ends finds the first and the last index.
func (l *logStore) ends() error {
	return l.scan(func(iter *pebble.Iterator) error {
		if !iter.First() {
			return nil
		}
		first, err := logIndex(iter.Key())
		if err != nil || !iter.Last() {
			return err
		}
		last, err := logIndex(iter.Key())
		if err != nil {
			return err
		}
		l.first.Store(first)
		l.last.Store(last)
		return nil
	})
}

// checkTail goes back from the last entry, sum by sum and without a gap, over
// every entry that is not in the state and over all that the WAL files can
// have held at the last stop, three memtables: a lost piece of WAL shows there.
// Older entries are in tables that have checksums of their own, are never
// rewritten by us, and are checked when they are read; to read a long log whole
// would make every start slow.
func (l *logStore) checkTail(iter *pebble.Iterator) error {
	applied := l.s.meta.Load().applied.index
	reach := 3 * l.s.opts.MemTableBytes
	want := l.last.Load()
	for ok := iter.Last(); ok; ok = iter.Prev() {
		index, err := logIndex(iter.Key())
		if err != nil {
			return err
		}
		if index != want {
			return damagedf("the log entries %d to %d are missing in %s", index+1, want, l.s.dir.db)
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return l.s.readError(fmt.Sprintf("log entry %d", index), err)
		}
		if err := checkEntry(index, value); err != nil {
			return err
		}
		if reach -= int64(len(value)); reach < 0 && index <= applied {
			return nil
		}
		want = index - 1
	}
	return nil
}
