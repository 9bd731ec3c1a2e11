package inject

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Env names the environment variable with the path of a server's page.
const Env = "LOCKTEST_FAULTS"

// The page: numbers of 8 bytes, in this machine's order. The test writes what is to go wrong, the server what it has
// synced. It is a file that both have mapped, so it outlives a kill.
const (
	slotClock = iota // seconds to add to the wall clock; read by package time itself, see clock.go.txt
	slotDisk         // a Disk
	slotWALs         // pairs: the number of a WAL file and how much of it has been synced
	walSlots  = 64
	pageBytes = 8 * (slotWALs + 2*walSlots)
)

// Disk is the state of a server's disk.
type Disk int64

// The states.
const (
	DiskFine       Disk = iota
	DiskNearlyFull      // what it tells of its free space is too little
	DiskFull            // writes fail with ENOSPC
)

// Page is a server's page, mapped.
type Page struct {
	path  string
	slots []int64
}

// OpenPage maps a page, which is made if it is not there.
func OpenPage(path string) (*Page, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("page of faults: %w", err)
	}
	defer file.Close()
	if err := file.Truncate(pageBytes); err != nil {
		return nil, fmt.Errorf("page of faults: %w", err)
	}
	b, err := syscall.Mmap(int(file.Fd()), 0, pageBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("page of faults: map %s: %w", path, err)
	}
	return &Page{path, unsafe.Slice((*int64)(unsafe.Pointer(&b[0])), pageBytes/8)}, nil
}

// Close unmaps the page.
func (p *Page) Close() error {
	return syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&p.slots[0])), pageBytes))
}

// Path is the file.
func (p *Page) Path() string { return p.path }

// StepClock puts the server's wall clock ahead by so many seconds of what it is.
func (p *Page) StepClock(seconds int64) { atomic.StoreInt64(&p.slots[slotClock], seconds) }

// SetDisk changes the server's disk.
func (p *Page) SetDisk(d Disk) { atomic.StoreInt64(&p.slots[slotDisk], int64(d)) }

func (p *Page) disk() Disk { return Disk(atomic.LoadInt64(&p.slots[slotDisk])) }

// wal returns the pair of a WAL file. A file with a number that is newer takes the place of the oldest.
func (p *Page) wal(number int64) (synced *int64) {
	pair := p.slots[slotWALs+2*(number%walSlots):]
	if atomic.SwapInt64(&pair[0], number) != number {
		atomic.StoreInt64(&pair[1], 0)
	}
	return &pair[1]
}

// Synced returns how much of a WAL file has been synced; false if the server said nothing about it.
func (p *Page) Synced(number int64) (int64, bool) {
	pair := p.slots[slotWALs+2*(number%walSlots):]
	if atomic.LoadInt64(&pair[0]) != number {
		return 0, false
	}
	return atomic.LoadInt64(&pair[1]), true
}

// walNumber is the number in the name of a WAL file; false if it is another file.
func walNumber(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), ".log")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// CutPower cuts off from the WAL files in a folder what had not been synced, as a loss of power may. The server must
// have ended. It returns how many bytes were lost.
func (p *Page) CutPower(db string) (int64, error) {
	entries, err := os.ReadDir(db)
	if err != nil {
		return 0, err
	}
	var lost int64
	for _, e := range entries {
		number, ok := walNumber(e.Name())
		if !ok {
			continue
		}
		synced, ok := p.Synced(number)
		if !ok {
			continue // an older run's: that one synced it when it opened the next
		}
		path := filepath.Join(db, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			return lost, err
		}
		if info.Size() <= synced {
			continue
		}
		lost += info.Size() - synced
		if err := os.Truncate(path, synced); err != nil {
			return lost, err
		}
	}
	return lost, nil
}
