package fault

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// The hostile crowd, and what the server must keep to in it.
const (
	idlers, lineUp       = 2000, 1000
	drippers, neverReads = 100, 60 // what these leave unread is more than max-total-output-size
	guessers, garblers   = 8, 8

	mostRSS = 256 << 20
	// mostUnread is max-total-output-size, and a reply more for each of those who are being closed.
	mostUnread = 48 << 20
	password   = "correct-horse"
)

// soak is a server, one honest client, and many that are not.
type soak struct {
	t       *testing.T
	s       *harness.Server
	over    atomic.Bool
	running sync.WaitGroup
	random  *rand.Rand
	did     map[string]*atomic.Int64

	mu    sync.Mutex
	conns map[*harness.Conn]struct{} // closed at the end, whatever they wait for
}

// TestHostileSoak lets hostile clients of all kinds at one server. It must stay small, and serve an honest one.
//
// LOCKTEST_SOAK is for how long (default 15s); with LOCKTEST_SOAK_P99 the honest client's p99 may be so much above its
// undisturbed one.
func TestHostileSoak(t *testing.T) {
	useFaultyServer(t) // for it has no race detector, which takes ten times the memory
	d := &soak{t: t, random: seeded(t), did: map[string]*atomic.Int64{}, conns: map[*harness.Conn]struct{}{}}
	d.s = harness.Start(t, "--requirepass", password)
	lasts := duration(t, "LOCKTEST_SOAK", 15*time.Second)

	honest := d.s.Client()
	honest.Want("AUTH "+password, "+OK")
	calm := d.measure(honest, lasts/3)
	start, size, cpu := time.Now(), d.s.RSS(), d.s.CPU()
	d.crews()
	d.gathered(honest)
	hurt := d.measure(honest, lasts)
	cpu, took := d.s.CPU()-cpu, time.Since(start)
	evicted, unread := d.output(honest)
	d.disperse()

	t.Logf("an honest client alone:     %v", calm)
	t.Logf("an honest client among all: %v", hurt)
	t.Logf("the server's memory: %d MB before, %d MB at most; it used %v of the processors in %v",
		size>>20, hurt.rss>>20, cpu.Round(time.Millisecond), took.Round(time.Millisecond))
	t.Logf("%d clients were closed for what they did not read; %d KB are unread at the end", evicted, unread>>10)
	if evicted == 0 || unread > mostUnread {
		t.Errorf("%d clients were closed for what they did not read, and %d bytes are unread: want some, and at most %d", evicted, unread, mostUnread)
	}
	for what, n := range d.did {
		t.Logf("%s: %d times", what, n.Load())
		if n.Load() == 0 {
			t.Errorf("%s: nobody did it", what)
		}
	}
	if hurt.rss > mostRSS {
		t.Errorf("the server took %d MB, want at most %d", hurt.rss>>20, mostRSS>>20)
	}
	if len(hurt.took) < 10 {
		t.Errorf("the honest client was served %d times", len(hurt.took))
	}
	if most := duration(t, "LOCKTEST_SOAK_P99", 0); most > 0 && hurt.at(99) > calm.at(99)+most {
		t.Errorf("p99 is %v among all and %v alone, want at most %v more", hurt.at(99), calm.at(99), most)
	}
	d.empty(honest)
}

// served are the times that LOCK and UNLOCK took an honest client, and the most memory that the server had meanwhile.
type served struct {
	took []time.Duration
	rss  int64
}

func (s served) at(percent int) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[(len(s.took)-1)*percent/100]
}

func (s served) String() string {
	return fmt.Sprintf("%d times LOCK and UNLOCK, median %v, p99 %v, most %v", len(s.took), s.at(50), s.at(99), s.at(100))
}

// measure has the honest client work at an even pace.
func (d *soak) measure(c *harness.Client, lasts time.Duration) served {
	d.t.Helper()
	const pace = 5 * time.Millisecond
	var s served
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < lasts; <-tick.C {
		sent := time.Now()
		c.Int("LOCK honest")
		locked := time.Now()
		c.Want("UNLOCK honest", ":0")
		s.took = append(s.took, locked.Sub(sent), time.Since(locked))
		if len(s.took)%20 == 0 {
			s.rss = max(s.rss, d.s.RSS())
		}
	}
	slices.Sort(s.took)
	return s
}

// output tells how many clients were closed for what they did not read, and how many bytes are unread now.
func (d *soak) output(c *harness.Client) (evicted, unread int64) {
	d.t.Helper()
	fields := harness.Fields(c.Line("INFO clients").Text + c.Line("INFO stats").Text)
	for name, to := range map[string]*int64{"evicted_clients": &evicted, "unread_output_bytes": &unread} {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			d.t.Errorf("INFO: %s: %v", name, err)
		}
		*to = n
	}
	return evicted, unread
}

// crews starts all that are not honest.
func (d *soak) crews() {
	for _, crew := range []struct {
		what string
		size int
		do   func(d *soak, r *rand.Rand) bool
	}{
		{"idle for as long as the server lets them", idlers, (*soak).idle},
		{"stood in line and went", lineUp, (*soak).standInLine},
		{"dripped a command byte by byte", drippers, (*soak).drip},
		{"asked for much and read nothing", neverReads, (*soak).neverRead},
		{"guessed a password", guessers, (*soak).guess},
		{"sent what is no RESP", garblers, (*soak).garble},
	} {
		did := &atomic.Int64{}
		d.did[crew.what] = did
		for range crew.size {
			r := rand.New(rand.NewPCG(d.random.Uint64(), 5))
			d.running.Go(func() {
				for !d.over.Load() {
					if crew.do(d, r) {
						did.Add(1)
					}
					harness.Poll(time.Duration(1+r.IntN(20))*time.Millisecond, d.over.Load)
				}
			})
		}
	}
}

// gathered waits until they are all there.
func (d *soak) gathered(c *harness.Client) {
	d.t.Helper()
	harness.Until(d.t, "the crowd is there", func() bool {
		return len(c.Line("LOCKWAITERS hot COUNT 2000").Items) > lineUp/2 && d.connections() > idlers
	})
}

func (d *soak) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// with does something on a connection of its own.
func (d *soak) with(auth bool, do func(c *harness.Conn) bool) bool {
	c, err := harness.DialWithin(d.s.Addr(), 5*time.Second)
	if err != nil {
		return false
	}
	d.mu.Lock()
	d.conns[c] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, c)
		_ = c.Close() // closed by the end of the soak already, or here
	}()
	if auth {
		if v, err := c.Do("AUTH", password); err != nil || v.Kind != harness.Simple {
			return false
		}
	}
	return do(c)
}

// idle connects, half of the times with a password, and does nothing more.
func (d *soak) idle(r *rand.Rand) bool {
	return d.with(r.IntN(2) == 0, func(c *harness.Conn) bool {
		_, _ = c.AwaitClose() // it ends with the server's patience, our own, or the soak
		return true
	})
}

// standInLine waits for a lock that all want, and goes at some time without a word.
func (d *soak) standInLine(r *rand.Rand) bool {
	return d.with(true, func(c *harness.Conn) bool {
		if c.Send("LOCK", "hot") != nil {
			return false
		}
		_, err := c.ReceiveWithin(time.Duration(500+r.IntN(3000)) * time.Millisecond)
		return err == nil || isTimeout(err)
	})
}

// drip sends a command one byte after the other.
func (d *soak) drip(r *rand.Rand) bool {
	words := []string{"LOCK", "drip"}
	if r.IntN(2) == 0 {
		words = []string{"ECHO", string(make([]byte, 1000+r.IntN(60_000)))}
	}
	return d.with(true, func(c *harness.Conn) bool {
		for _, b := range harness.AppendCommand(nil, words...) {
			if d.over.Load() || c.SendRaw([]byte{b}) != nil {
				break
			}
			harness.Poll(50*time.Millisecond, d.over.Load)
		}
		return true
	})
}

// muchAsked are commands whose replies are some megabytes.
var muchAsked = func() (many []byte) {
	for range 200 {
		many = harness.AppendCommand(many, "COMMAND", "DOCS")
		many = harness.AppendCommand(many, "ECHO", string(make([]byte, 10_000)))
	}
	return many
}()

// neverRead asks for long answers and takes none.
func (d *soak) neverRead(*rand.Rand) bool {
	return d.with(true, func(c *harness.Conn) bool {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10) // it is the server that is to keep it, not the kernel
		}
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, err := c.Write(muchAsked) // the server stops reading, or closes
		harness.Poll(2*time.Second, d.over.Load)
		return err != nil || !d.over.Load()
	})
}

// guess tries passwords.
func (d *soak) guess(r *rand.Rand) bool {
	return d.with(false, func(c *harness.Conn) bool {
		for range 10 {
			v, err := c.Do("AUTH", strconv.FormatUint(r.Uint64(), 36))
			if err != nil {
				break // closed
			}
			if v.Kind != harness.Error {
				d.t.Errorf("a wrong password was answered %v", v)
			}
			if v, err := c.Do("LOCK", "hot"); err == nil && v.Kind != harness.Error {
				d.t.Errorf("LOCK without a password was answered %v", v)
			}
		}
		return true
	})
}

// garble sends frames that are none, or nearly ones.
func (d *soak) garble(r *rand.Rand) bool {
	return d.with(r.IntN(2) == 0, func(c *harness.Conn) bool {
		b := harness.AppendCommand(nil, "LOCK", "garbled", "LEASE", "1000")
		for range 20 {
			for range 1 + r.IntN(4) {
				switch at := r.IntN(len(b)); r.IntN(4) {
				case 0:
					b[at] = byte(r.Uint32())
				case 1:
					b = append(b[:at:at], b[min(len(b)-1, at+1):]...)
				case 2:
					b = slices.Insert(b, at, []byte("9223372036854775807")...)
				case 3:
					b = slices.Insert(b, at, []byte("\r\n")...)
				}
			}
			if c.SendRaw(b) != nil {
				return true
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := io.Copy(io.Discard, c)
		return err == nil || errors.Is(err, os.ErrDeadlineExceeded) || !d.over.Load()
	})
}

// disperse ends the crowd.
func (d *soak) disperse() {
	d.over.Store(true)
	all := make(chan struct{})
	go func() {
		d.running.Wait()
		close(all)
	}()
	harness.Until(d.t, "the crowd has gone", func() bool {
		d.mu.Lock()
		for c := range d.conns {
			_ = c.Close() // whatever it waits for ends
		}
		d.mu.Unlock()
		select {
		case <-all:
			return true
		default:
			return false
		}
	})
}

// empty waits until nothing of the crowd is left in the server.
func (d *soak) empty(c *harness.Client) {
	d.t.Helper()
	harness.Until(d.t, "the server has forgotten the crowd", func() bool {
		held := c.Line("LOCKSCAN 0")
		return len(c.Line("LOCKWAITERS hot").Items) == 0 && len(held.Items) == 2 && len(held.Items[1].Items) == 0
	})
}

// duration reads a time from the environment.
func duration(t *testing.T, name string, or time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return or
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}
