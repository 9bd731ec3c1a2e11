package store

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestFaults runs TestFaultsInChild in a process of its own: the stores that
// meet a fatal error there are left as they are, with goroutines that hang.
func TestFaults(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=InChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=faults")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "faults") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// fault is what goes wrong: from operation at on, or that one alone.
type fault struct {
	at     int64
	lasts  bool
	errno  syscall.Errno
	placed atomic.Bool
	over   atomic.Bool // the process would have ended: nothing runs on
}

func (f *fault) fs(disk vfs.FS) vfs.FS {
	var n atomic.Int64
	return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if f.over.Load() {
			select {}
		}
		if i := n.Add(1); i == f.at || (f.lasts && i > f.at) {
			f.placed.Store(true)
			return &os.PathError{Op: fmt.Sprint(op.Kind), Path: op.Path, Err: f.errno}
		}
		return nil
	}))
}

// TestFaultsInChild fails each write, sync, create and rename of the story in
// turn. Whatever is acknowledged before the process would end is there after a
// power cut; no call ever returns an error for a log write or a vote.
func TestFaultsInChild(t *testing.T) {
	if os.Getenv(childEnv) != "faults" {
		t.Skip("started by TestFaults")
	}
	stream, records := other(t)
	fatal, plain, survived := 0, 0, 0
	for _, lasts := range []bool{false, true} {
		for at := int64(1); ; at++ {
			f := &fault{at: at, lasts: lasts, errno: []syscall.Errno{syscall.EIO, syscall.ENOSPC}[at%2]}
			how := f.run(t, stream, records)
			if t.Failed() {
				t.Fatalf("fault at operation %d, lasting %v: %v", at, lasts, how)
			}
			if !f.placed.Load() {
				break // the story has fewer operations
			}
			switch {
			case how == nil:
				survived++
			case how.fatal:
				fatal++
			default:
				plain++
			}
		}
	}
	t.Logf("faults: %d fatal, %d answered with an error, %d survived", fatal, plain, survived)
	const least = 50 // a story that became shorter would prove less
	if n := fatal + plain + survived; n < least || fatal == 0 || plain == 0 {
		t.Errorf("%d faults, want at least %d, some fatal and some answered with an error", n, least)
	}
}

// ending is how a story that met a fault ended.
type ending struct {
	err   error
	fatal bool
}

// run runs the story with the fault and verifies what a power cut then leaves.
func (f *fault) run(t *testing.T, stream []byte, records map[string]string) *ending {
	disk := newDisk(t)
	ends := make(chan *ending, 1)
	var once sync.Once
	o := crashOptions()
	o.WriteLimit = 500 * time.Millisecond // some faults make writes wait for ever
	o.OnFatal = func(err error) {
		once.Do(func() { ends <- &ending{err, true} })
		select {} // the process would have ended
	}
	c := newScript(quiet{t})
	go func() {
		defer func() {
			end, _ := recover().(error)
			once.Do(func() {
				if end == nil {
					ends <- nil
					return
				}
				ends <- &ending{end, false}
			})
		}()
		c.run(f.fs(disk), stream, records, o)
	}()
	end := <-ends
	if end != nil && !end.fatal && c.broken != nil {
		t.Errorf("a write was answered with %v", c.broken)
	}
	f.over.Store(true)
	m := c.m.copy()
	left := disk.CrashClone(vfs.CrashCloneCfg{})
	m.allowLater(c.m)
	m.verify(t, left, fmt.Sprintf("operation %d: %v", f.at, end))
	return end
}

// quiet is a test for which a failed step of the story is no failure: the
// story stops there, by a panic with the error.
type quiet struct{ *testing.T }

func (quiet) Helper()               {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatal(args ...any)     { panic(fmt.Errorf("%v", args...)) }
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Errorf(format, args...))
}

// TestNoAcknowledgementInChild: with a failed sync behind it, no lane
// answers any more.
func TestNoAcknowledgementInChild(t *testing.T) {
	if os.Getenv(childEnv) != "faults" {
		t.Skip("started by TestFaults")
	}
	var broken errorfs.Toggle
	broken.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo) &&
			strings.HasSuffix(op.Path, ".log") {
			return syscall.EIO
		}
		return nil
	})
	s, err := Open(testOptions(errorfs.Wrap(vfs.NewMem(), &broken)))
	must(t, err)
	must(t, s.Log().StoreLogs(entries(1, 3, 1)))
	broken.On()
	wantFatal(t, "input/output error", func() { _ = s.Log().StoreLogs(entries(4, 4, 1)) })
	broken.Off()
	for name, f := range map[string]func(){
		"log":   func() { _ = s.Log().StoreLogs(entries(4, 4, 1)) },
		"vote":  func() { _ = s.Stable().SetUint64([]byte("x"), 1) },
		"state": func() { _ = s.Apply(1, 1, put("a=1")) },
		"sync":  func() { _ = s.Sync() },
		"conf":  func() { s.SetConfiguration(1, testConf) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was acknowledged", name)
				}
			}()
			f()
		}()
	}
}

// TestWatchdog: a log write that hangs ends the process after WriteLimit, and
// is not acknowledged when the disk comes back after all. It may hang behind its
// sync, too, where it tells the witness.
func TestWatchdog(t *testing.T) {
	for _, file := range []string{".log", witnessFile} {
		t.Run(file, func(t *testing.T) { watchdog(t, file) })
	}
}

// watchdog has the writes of one file hang.
func watchdog(t *testing.T, file string) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		release := make(chan struct{})
		o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if hang.Load() && strings.HasSuffix(op.Path, file) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				<-release
			}
			return nil
		})))
		fatal := make(chan error, 1)
		o.OnFatal = func(err error) {
			fatal <- err
			runtime.Goexit() // the watchdog's goroutine
		}
		s, err := Open(o)
		must(t, err)
		must(t, s.Log().StoreLogs(entries(1, 1, 1)))
		must(t, s.Apply(1, 1, put("a=1")))
		time.Sleep(time.Hour) // idle is not slow
		hang.Store(true)
		start := time.Now()
		acknowledged := make(chan bool)
		go func() {
			defer func() { acknowledged <- recover() == nil }()
			_ = s.Log().StoreLogs(entries(2, 2, 1))
		}()
		err = <-fatal
		if took := time.Since(start); took != DefaultWriteLimit {
			t.Errorf("fatal after %v of the bubble's time", took)
		}
		if !strings.Contains(err.Error(), "the disk hangs") {
			t.Errorf("fatal with %v", err)
		}
		hang.Store(false)
		close(release)
		if <-acknowledged {
			t.Error("the write was acknowledged")
		}
		must(t, s.db.Close())
		s.witness.close()
		must(t, s.dir.lock.Close())
	})
}
