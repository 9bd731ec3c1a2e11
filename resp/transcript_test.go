package resp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts plays testdata/transcripts/*.txt: bytes in, bytes out. Each file is played over a pipe in simulated time, sent
// in one piece and byte by byte, and (unless it needs simulated time) over TCP.
//
//	connect [auth]       a new client; auth: a password is required
//	send                 the lines, \r \n \xNN and so on unescaped, without ends of their own; "%d*text" repeats text
//	answer n             n outstanding replies are written: 1, 2, ...
//	wait 5s              simulated time passes
//	close                the client goes away
//
// The output is what the client got, one line per CRLF, and at the end of its connection why the handler was told.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		modes := []struct {
			name string
			drip bool
		}{{"whole", false}, {"drip", true}}
		for _, m := range modes {
			t.Run(m.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { play(t, path, newPipeStage(t, m.drip)) })
			})
		}
		if src, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		} else if !strings.Contains(string(src), "\nwait ") {
			t.Run("tcp", func(t *testing.T) { play(t, path, &tcpStage{t: t}) })
		}
	})
}

// stage is where a transcript is played.
type stage interface {
	connect(auth bool)
	send(text string)
	output(expected string) string
	desk() *desk
	hangup()
	leave()
}

func play(t *testing.T, path string, s stage) {
	answered := 0
	defer func() { s.leave() }()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "connect":
			answered = 0
			s.connect(d.HasArg("auth"))
		case "send":
			s.send(unescapeInput(t, d.Input))
		case "answer":
			var n int
			if _, err := fmt.Sscan(d.CmdArgs[0].String(), &n); err != nil {
				d.Fatalf(t, "%v", err)
			}
			c := s.desk().conn(0)
			eventuallyOutstanding(t, c, n)
			answer(c, answered+1, n)
			answered += n
		case "wait":
			dur, err := time.ParseDuration(d.CmdArgs[0].String())
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			time.Sleep(dur)
		case "close":
			s.hangup()
		default:
			d.Fatalf(t, "unknown directive %s", d.Cmd)
		}
		return s.output(d.Expected)
	})
}

func eventuallyOutstanding(t *testing.T, c *Conn, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d outstanding replies", n), func() bool { return c.Outstanding() >= n })
}

func unescapeInput(t *testing.T, input string) string {
	var b strings.Builder
	for _, line := range strings.Split(input, "\n") {
		times := 1
		if n, rest, ok := strings.Cut(line, "*"); ok && n != "" && strings.Trim(n, "0123456789") == "" {
			if _, err := fmt.Sscan(n, &times); err != nil {
				t.Fatal(err)
			}
			line = rest
		}
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		b.WriteString(strings.Repeat(text, times))
	}
	return b.String()
}

// show phrases what a client got, long runs shortened.
func show(got string) string {
	var b strings.Builder
	for got != "" {
		line, rest, _ := strings.Cut(got, "\r\n")
		if len(line) > 120 {
			line = fmt.Sprintf("%s... (%d bytes)", line[:20], len(line))
		}
		fmt.Fprintf(&b, "%s\n", strings.Trim(fmt.Sprintf("%q", line), `"`))
		got = rest
	}
	return b.String()
}

func ending(err error) string { return fmt.Sprintf("(closed: %v)\n", err) }

// pipeStage plays over net.Pipe in a synctest bubble, where "nothing more will happen" is a fact.
type pipeStage struct {
	t    *testing.T
	drip bool
	s    *Server
	d    *desk
	nc   net.Conn

	mu    sync.Mutex
	got   strings.Builder
	ended bool
	told  bool
	read  chan struct{}

	toSend  chan string
	written chan struct{}
}

func newPipeStage(t *testing.T, drip bool) *pipeStage { return &pipeStage{t: t, drip: drip} }

func (p *pipeStage) desk() *desk { return p.d }

func (p *pipeStage) connect(auth bool) {
	p.leave()
	p.d = newDesk()
	p.d.auth = auth
	p.s = NewServer(Options{Handler: p.d, Logger: slog.New(slog.DiscardHandler)})
	ours, theirs := net.Pipe()
	p.nc, p.ended, p.told = ours, false, false
	p.read = make(chan struct{})
	p.toSend, p.written = make(chan string, 100), make(chan struct{})
	p.s.admit(theirs)
	go p.write()
	go func() {
		defer close(p.read)
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf)
			p.mu.Lock()
			p.got.Write(buf[:n])
			p.ended = err != nil
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
}

// send leaves the writing to a goroutine: the server may not be reading.
func (p *pipeStage) send(text string) { p.toSend <- text }

func (p *pipeStage) write() {
	for text := range p.toSend {
		size := len(text)
		if p.drip {
			size = 1
		}
		for ; text != ""; text = text[min(size, len(text)):] {
			if _, err := io.WriteString(p.nc, text[:min(size, len(text))]); err != nil {
				break // the server closed
			}
		}
	}
	close(p.written)
}

func (p *pipeStage) hangup() { _ = p.nc.Close() }

func (p *pipeStage) output(string) string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := show(p.got.String())
	p.got.Reset()
	if ok, why := p.d.why(p.d.conn(0)); ok && p.ended && !p.told {
		p.told = true
		out += ending(why)
	}
	return out
}

func (p *pipeStage) leave() {
	if p.nc == nil {
		return
	}
	_ = p.nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.s.Shutdown(ctx)
	<-p.read
	close(p.toSend)
	<-p.written
	p.nc = nil
}

// tcpStage plays over TCP. It reads as many lines as are expected, and at the end of a client all that came.
type tcpStage struct {
	t      *testing.T
	d      *desk
	c      *client
	closed bool
	s      *Server
}

func (p *tcpStage) desk() *desk { return p.d }

func (p *tcpStage) connect(auth bool) {
	p.leave()
	p.d = newDesk()
	p.d.auth = auth
	s, tcp, _ := start(p.t, p.d, nil)
	p.s, p.c, p.closed = s, dial(p.t, tcp), false
	eventually(p.t, "the connection", func() bool { return p.d.conn(0) != nil })
}

func (p *tcpStage) send(text string) { _, _ = io.WriteString(p.c, text) }

func (p *tcpStage) hangup() { _ = p.c.Close() }

func (p *tcpStage) output(expected string) string {
	if i := strings.Index(expected, "(closed: "); i >= 0 {
		got, _ := io.ReadAll(p.c)
		p.closed = true
		var why error
		eventually(p.t, "the handler's Closed", func() (ok bool) {
			ok, why = p.d.why(p.d.conn(0))
			return ok
		})
		return show(string(got)) + ending(why)
	}
	var got strings.Builder
	for b := make([]byte, 4096); show(got.String()) != expected || !strings.HasSuffix("\r\n"+got.String(), "\r\n"); {
		n, err := p.c.Read(b)
		got.Write(b[:n])
		if err != nil {
			break
		}
	}
	return show(got.String())
}

// leave checks that no more came than was expected: PING's is the next reply, or nothing.
func (p *tcpStage) leave() {
	if p.c == nil {
		return
	}
	if c := p.d.conn(0); !p.closed && c.Outstanding() == 0 {
		_ = p.c.Conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(p.c); err == nil && len(rest) > 0 {
			p.t.Errorf("more than expected: %q", rest)
		}
	}
	_ = p.c.Close()
	p.c = nil
}
