package store

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/record"
)

// suspects adds to an error that says the data is damaged which of Pebble's
// files can not be read to their end: Pebble itself does not name the file of a
// WAL, and takes a bad record of a MANIFEST for its end.
func (d *dataDir) suspects(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	names, lerr := d.fs.List(d.db)
	if lerr != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		var number uint64
		if base, isLog := strings.CutSuffix(name, ".log"); isLog {
			base, _, _ = strings.Cut(base, "-") // a WAL may have a second part after a failover
			if number, lerr = strconv.ParseUint(base, 10, 64); lerr != nil {
				continue
			}
		} else if !strings.HasPrefix(name, "MANIFEST-") {
			continue
		}
		path := d.fs.PathJoin(d.db, name)
		if why := d.unreadable(path, number); why != nil {
			err = fmt.Errorf("%w; look at file %s: %w", err, path, why)
		}
	}
	return err
}

// unreadable reads a file of records, and says where the first bad one is. A
// file that was being written when its node died ends in one, too: that is why
// this is asked only once something is known to be wrong.
func (d *dataDir) unreadable(path string, number uint64) error {
	f, err := d.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := readRecords(record.NewReader, f, number)
	for {
		at := r.Offset()
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it can not be read from byte %d on: %w", at, err)
		}
	}
}

// readRecords calls Pebble's constructor, whose type for a file's number is internal.
func readRecords[N ~uint64](open func(io.Reader, N) *record.Reader, f io.Reader, number uint64) *record.Reader {
	return open(f, N(number))
}
