package resp

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// TestOutputTotal has clients leave more unread together than all may: the biggest are closed, and only as many as it
// takes.
func TestOutputTotal(t *testing.T) {
	d := newDesk()
	const mb = 1 << 20
	var log lockedBuffer
	s, _, unix := startLogging(t, d, func(l *Limits) { l.OutputTotal.Store(14 * mb) }, slog.New(slog.NewTextHandler(&log, nil)))
	ended := func(i int) bool { ok, _ := d.why(d.conn(i)); return ok }

	sizes := []int{4, 8, 5, 7} // of each the kernel's buffers take some hundred KB
	for i, size := range sizes[:2] {
		dial(t, unix).send(fmt.Sprintf("BIG %d\r\n", size*mb))
		eventually(t, "it stands still", func() bool { return d.conn(i) != nil && d.conn(i).Counters().Pending > 0 })
	}
	if n := s.Stats().Evicted.Load(); n != 0 {
		t.Fatalf("%d clients were closed below the limit", n)
	}
	third := dial(t, unix)
	third.send(fmt.Sprintf("BIG %d\r\n", sizes[2]*mb))
	eventually(t, "the biggest is closed", func() bool { return ended(1) })
	if _, err := d.why(d.conn(1)); !errors.Is(err, ErrTotalOutput) {
		t.Errorf("closed because: %v", err)
	}
	for _, word := range []string{"max-total-output-size", "client=" + d.conn(1).RemoteAddr(), "unread=", "limit=14680064"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log does not say %q: %s", word, log.String())
		}
	}
	dial(t, unix).send(fmt.Sprintf("BIG %d\r\n", sizes[3]*mb))
	eventually(t, "the one that is now the biggest is closed", func() bool { return ended(3) })
	if n := s.Stats().Evicted.Load(); n != 2 || ended(0) || ended(2) {
		t.Errorf("%d clients were closed, the first %v, the third %v; want the two biggest", n, ended(0), ended(2))
	}

	third.want(fmt.Sprintf("$%d\r\n%s\r\n", sizes[2]*mb, strings.Repeat("x", sizes[2]*mb)))
	eventually(t, "what is left is that of the first", func() bool {
		return s.Stats().Unread.Load() == d.conn(0).Counters().Pending
	})
	d.conn(0).Kill()
	eventually(t, "nothing is left", func() bool { return s.Stats().Unread.Load() == 0 })
}

// TestOutputTotalOfClosing: who has said QUIT and reads nothing leaves replies unread as well.
func TestOutputTotalOfClosing(t *testing.T) {
	d := newDesk()
	s, _, unix := start(t, d, func(l *Limits) { l.OutputTotal.Store(4 << 20) })
	dial(t, unix).send("BIG 3000000\r\nQUIT\r\n")
	eventually(t, "it stands still", func() bool { return s.Stats().Unread.Load() > 0 })
	dial(t, unix).send("BIG 2900000\r\n")
	eventually(t, "nothing of the first is left", func() bool {
		return s.Stats().Evicted.Load() == 1 && d.conn(0).Counters().Pending == 0
	})
}

// TestOutputTotalByMany: whoever writes, never much more than the limit stays for long, and all is given back.
func TestOutputTotalByMany(t *testing.T) {
	d := newDesk()
	s, _, unix := start(t, d, func(l *Limits) { l.OutputTotal.Store(8 << 20) })
	var all sync.WaitGroup
	for range 20 {
		c := dial(t, unix)
		all.Go(func() { _, _ = c.Write(bytes.Repeat([]byte("BIG 1000000\r\n"), 12)) })
	}
	all.Wait()
	eventually(t, "the rest is within the limit", func() bool {
		return s.Stats().Evicted.Load() > 0 && s.Stats().Unread.Load() <= 8<<20
	})
	s.Each(func(c *Conn) bool { c.Kill(); return true })
	eventually(t, "all is given back", func() bool { return s.Stats().Clients.Load() == 0 && s.Stats().Unread.Load() == 0 })
}

// lockedBuffer is a buffer for a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
