package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// After a hostile packet the connection says PING. It is answered, or not.
const (
	either = iota
	closed
	served
)

var hostilePackets = []struct {
	name   string
	packet string
	want   int
}{
	{"bulk of 2^63-1", "*1\r\n$9223372036854775807\r\n", closed},
	{"bulk of 2^63-1, inline", "$9223372036854775807 abc\r\n", either},
	{"array of 2^63-1", "*9223372036854775807\r\n", closed},
	{"array of 2^31", "*2147483648\r\n", closed},
	{"array of 2,000,000,000", "*2000000000\r\n", closed},
	{"array past 2^64", "*99999999999999999999999\r\n", closed},
	{"array of -2^63", "*-9223372036854775808\r\n", either},
	{"array of 65", "*65\r\n$4\r\nPING\r\n", closed},
	{"null array", "*-1\r\n", served},
	{"empty array", "*0\r\n", served},
	{"many empty arrays", strings.Repeat("*0\r\n", 20_000), served},
	{"many empty lines", strings.Repeat("\r\n", 50_000), served},
	{"null bulk", "*1\r\n$-1\r\n", closed},
	{"bulk of -2^63", "*1\r\n$-9223372036854775808\r\n", closed},
	{"bulk over the limit", "*2\r\n$4\r\nECHO\r\n$65537\r\n", closed},
	{"bulk of 512 MB", "*2\r\n$4\r\nECHO\r\n$536870912\r\n", closed},
	{"bulk with a wrong end", "*1\r\n$4\r\nPINGxx*1\r\n", closed},
	{"bulk longer than it says", "*1\r\n$3\r\nPING\r\n", closed},
	{"a number for a bulk", "*1\r\n:1\r\n", closed},
	{"array in an array", "*1\r\n*1\r\n$4\r\nPING\r\n", closed},
	{"no number", "*x\r\n", closed},
	{"no length", "*1\r\n$x\r\n", closed},
	{"empty number", "*\r\n", closed},
	{"empty length", "*1\r\n$\r\n", closed},
	{"number with a space", "* 1\r\n", closed},
	{"length with a plus", "*1\r\n$+4\r\nPING\r\n", either},
	{"length with zeros", "*1\r\n$0000000000000000000000000000000004\r\nPING\r\n", either},
	{"no carriage return", "*1\n$4\nPING\n", either},
	{"a map", "%1\r\n$1\r\na\r\n$1\r\nb\r\n", either},
	{"an endless number", "*" + strings.Repeat("1", 100_000), closed},
	{"an endless length", "*1\r\n$" + strings.Repeat("1", 100_000), closed},
	{"an endless line", strings.Repeat("a", 300_000), closed},
	{"an open quote", "LOCK \"abc\r\n", either},
	{"a quote in a word", "LOCK \"abc\"def\r\n", either},
	{"zero bytes", strings.Repeat("\x00", 5000) + "\r\n", either},
	{"HTTP POST", "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", closed},
	{"HTTP GET", "GET /LOCK HTTP/1.1\r\nHost: localhost\r\nX: LOCK k\r\n\r\n", closed},
	{"HTTP host", "Host: localhost\r\n", closed},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\xd5", 200) + "\r\n", either},
	{"a key of 513 bytes", "*2\r\n$4\r\nLOCK\r\n$513\r\n" + strings.Repeat("k", 513) + "\r\n", served},
	{"an empty command", "*1\r\n$0\r\n\r\n", served},
	{"a name of 60,000 bytes", "*1\r\n$60000\r\n" + strings.Repeat("n", 60000) + "\r\n", served},
	{"many unknown commands", strings.Repeat("*2\r\n$3\r\nXYZ\r\n$1\r\nx\r\n", 20_000), served},
	{"half a command", "*2\r\n$4\r\nLOCK\r\n$50000\r\nab", either},
}

// bystander is a client that goes on being served.
type bystander struct {
	c *harness.Client
	n int64
}

func (b *bystander) works(t *testing.T) {
	t.Helper()
	c := b.c.With(t)
	for range 5 {
		fence := c.Int("LOCK bystander")
		if fence <= b.n {
			t.Fatalf("fence %d after %d", fence, b.n)
		}
		b.n = fence
		c.Want("UNLOCK bystander", ":0")
	}
}

func TestHostilePackets(t *testing.T) {
	s := harness.Start(t)
	other := &bystander{c: s.Client()}
	other.works(t)
	before := s.RSS()
	for _, p := range hostilePackets {
		t.Run(p.name, func(t *testing.T) {
			// In one piece, in two, and into a session that waits for a lock.
			for _, how := range []func(*testing.T, *harness.Client){
				func(t *testing.T, c *harness.Client) { push(c, p.packet) },
				func(t *testing.T, c *harness.Client) {
					half := len(p.packet) / 2
					push(c, p.packet[:half])
					other.works(t)
					push(c, p.packet[half:])
				},
			} {
				c := harness.Connect(t, s.Addr())
				how(t, c)
				push(c, "\r\nPING\r\n")
				other.works(t)
				if p.want == served {
					awaitPong(t, c)
				}
				if answered := awaitEnd(t, c); p.want == closed && strings.HasSuffix(answered, "+PONG\r\n") {
					t.Errorf("answered %.300q", answered)
				}
				c.Close()
			}
		})
	}
	if grown := s.RSS() - before; grown > 64<<20 {
		t.Errorf("the server grew by %d MB", grown>>20)
	}
	untilIdle(t, s)
}

// TestHostileBehindAWait: what comes behind a LOCK that waits is read as well.
func TestHostileBehindAWait(t *testing.T) {
	s := harness.Start(t)
	holder := s.Client()
	holder.Want("LOCK k", ":1")
	c := s.Client()
	c.SendRaw("LOCK k\r\n*1\r\n$9223372036854775807\r\n")
	holder.Want("PING", "+PONG")
	holder.Want("UNLOCK k", ":0")
	if got := c.WantClosed(); !strings.HasPrefix(got, ":2\r\n") && !strings.HasPrefix(got, "-ERR") {
		t.Errorf("answered %q", got)
	}
	harness.Until(t, "the lock is free", func() bool { return holder.Int("ISLOCKED k") == 0 })
}

// TestHostileDrip: a big argument that comes byte by byte, and commands that never end.
func TestHostileDrip(t *testing.T) {
	s := harness.Start(t)
	other := &bystander{c: s.Client()}
	other.works(t)
	before := s.RSS()
	const length = 60_000
	drip := s.Client()
	drip.SendRaw(fmt.Sprintf("*2\r\n$4\r\nECHO\r\n$%d\r\n", length))
	var open []*harness.Client
	for i := range length {
		drip.SendRaw("x")
		if i%6000 == 0 {
			other.works(t)
			c := s.Client()
			c.SendRaw("*2\r\n$4\r\nECHO\r\n$65536\r\n" + strings.Repeat("y", i))
			open = append(open, c)
		}
	}
	drip.SendRaw("\r\n")
	drip.WantRaw(fmt.Sprintf("$%d\r\n%s\r\n", length, strings.Repeat("x", length)))
	if grown := s.RSS() - before; grown > 64<<20 {
		t.Errorf("the server grew by %d MB", grown>>20)
	}
	untilIdle(t, s)
	for _, c := range open {
		c.Close()
	}
}

// TestHostileNoise sends random bytes, and commands with random bytes changed.
func TestHostileNoise(t *testing.T) {
	seed := seedOf(t)
	random := rand.New(rand.NewPCG(seed, 0))
	s := harness.Start(t)
	other := &bystander{c: s.Client()}
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	var good []byte
	for _, cmd := range [][]string{
		{"LOCK", "noise", "LEASE", "50", "OWNER", "x", "ID", "1"},
		{"UNLOCK", "noise", "OWNER", "x"},
		{"LOCKINFO", "noise"},
		{"HELLO", "3"},
		{"SESSION", "ATTACH", "noise", "TTL", "1000"},
		{"CLIENT", "LIST"},
		{"COMMAND", "DOCS"},
		{"LOCKSCAN", "0", "MATCH", "*[", "COUNT", "9"},
	} {
		good = harness.AppendCommand(good, cmd...)
	}
	for range rounds {
		packet := bytes.Clone(good)
		for range 1 + random.IntN(8) {
			packet[random.IntN(len(packet))] = byte(random.IntN(256))
		}
		if random.IntN(4) == 0 {
			for i := range packet {
				packet[i] = byte(random.IntN(256))
			}
		}
		c := harness.Connect(t, s.Addr())
		push(c, string(packet[:random.IntN(len(packet)+1)]))
		push(c, string(packet))
		c.Close()
	}
	other.works(t)
	untilIdle(t, s)
}

// push sends what a server may refuse to read.
func push(c *harness.Client, packet string) { _ = c.Conn().SendRaw([]byte(packet)) }

// awaitPong takes replies until the one of PING.
func awaitPong(t *testing.T, c *harness.Client) {
	t.Helper()
	for {
		v, err := c.Conn().Receive()
		if err != nil {
			t.Fatalf("PING behind it is not answered: %v", err)
		}
		if v.Text == "PONG" {
			return
		}
	}
}

// awaitEnd says that nothing more comes and returns all that the server answers until it closes.
func awaitEnd(t *testing.T, c *harness.Client) string {
	t.Helper()
	_ = c.Conn().Conn.(*net.TCPConn).CloseWrite() // the server may have closed already
	return c.WantClosed()
}

// untilIdle waits until the server uses less than a tenth of a processor.
func untilIdle(t *testing.T, s *harness.Server) {
	t.Helper()
	const window = 300 * time.Millisecond
	at, cpu := time.Now(), s.CPU()
	harness.Until(t, "the server is idle", func() bool {
		if time.Since(at) < window {
			return false
		}
		was := cpu
		at, cpu = time.Now(), s.CPU()
		return cpu-was < window/10
	})
}
