package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestHandshakeTellsBothSides(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		seen := make(chan Hello, 2)
		check := func(o *Options) { o.Check = func(h Hello) error { seen <- h; return nil } }
		a, b := open("n1", check), open("n2", check)
		l := connect(t, a, b)
		back := b.link(t)

		want := Hello{Cluster: "c1", Node: "n2", Disk: "disk-n2", Addr: b.addr, Version: versionNewest, Oldest: versionOldest, Stream: StreamForward, Dialed: b.addr}
		if l.Peer() != want {
			t.Errorf("the dialer heard %+v, want %+v", l.Peer(), want)
		}
		want = Hello{Cluster: "c1", Node: "n1", Disk: "disk-n1", Addr: a.addr, Version: versionNewest, Oldest: versionOldest, Stream: StreamForward}
		if back.Peer() != want {
			t.Errorf("the listener heard %+v, want %+v", back.Peer(), want)
		}
		if first, second := <-seen, <-seen; first != back.Peer() || second != l.Peer() {
			t.Errorf("Check saw %+v, then %+v", first, second)
		}
	})
}

func TestHandshakeRefusals(t *testing.T) {
	hello := func(h Hello) func(*Options) { return func(o *Options) { o.Hello = func() Hello { return h } } }
	check := func(err error) func(*Options) { return func(o *Options) { o.Check = func(Hello) error { return err } } }
	removed := fmt.Errorf("look: %w", &Refusal{Code: "REMOVED", Text: "node n1 was removed"})
	for _, c := range []struct {
		name         string
		dialer, host func(*Options)
		code, text   string
		byDialer     bool // the dialer refuses
	}{
		{name: "another cluster", dialer: hello(Hello{Cluster: "c9"}), code: CodeCluster, text: "node n1 belongs to cluster c9 and node n2 to cluster c1"},
		{name: "the same node id", dialer: hello(Hello{Node: "n2"}), code: CodeSelf, text: "both sides are node n2"},
		{name: "the host's Check", host: check(errors.New("the disk of n1 differs")), code: CodeRefused, text: "the disk of n1 differs"},
		{name: "the host's Check with a code", host: check(removed), code: "REMOVED", text: "look: node n1 was removed"},
		{name: "the dialer's Check", dialer: check(errors.New("n2 is not at this address")), code: CodeRefused, text: "n2 is not at this address", byDialer: true},
		{name: "the dialer's Check with a code", dialer: check(removed), code: "REMOVED", text: "n1 was removed", byDialer: true},
		{name: "a very long reason", host: check(errors.New(strings.Repeat("no ", 5000))), code: CodeRefused, text: "no no no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
				a, b := open("n1", c.dialer), open("n2", c.host)
				_, err := a.Connect(context.Background(), b.addr)
				var r *Refusal
				if !errors.As(err, &r) || r.Code != c.code || !strings.Contains(r.Text, c.text) || r.Remote == c.byDialer {
					t.Fatalf("Connect: %v (%+v)", err, r)
				}
				refused, refuser := a, b
				if c.byDialer {
					refused, refuser = b, a
				}
				// The side that is refused is told, also when it did not dial.
				deadline := time.Now().Add(time.Minute)
				for len(refused.refusals()) == 0 && time.Now().Before(deadline) {
					time.Sleep(time.Millisecond)
				}
				got := refused.refusals()
				if len(got) != 1 || got[0].Code != c.code || !strings.Contains(got[0].Text, c.text) || !got[0].Remote {
					t.Errorf("Refused was told %+v", got)
				}
				if other := refuser.refusals(); len(other) != 0 {
					t.Errorf("the refuser was told %+v", other)
				}
				for _, n := range []*node{a, b} {
					n.Close()
					if len(n.opened)+len(n.ended) != 0 {
						t.Error("a refused link was opened")
					}
				}
			})
		})
	}
}

func TestJoiningNodeHasNoClusterYet(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		joining := func(o *Options) { o.Hello = func() Hello { return Hello{} } }
		a, b, c := open("n1", joining), open("n2", nil), open("n3", joining)
		if l := connect(t, a, b); l.Peer().Cluster != "c1" || b.link(t).Peer().Cluster != "" {
			t.Error("the joining node did not hear the cluster id, or told one")
		}
		connect(t, b, c)
		connect(t, a, c)
	})
}

func TestHandshakeVersions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		b := inMemory(t, m, "n2", nil)
		for _, c := range []struct {
			newest, oldest uint64
			ok             bool
		}{{2, 2, true}, {7, 1, true}, {7, 2, true}, {7, 3, false}, {1, 1, false}, {1 << 63, 1, true}} {
			conn := dialRaw(t, m, "n1", b.addr)
			h := Hello{Node: "n1", Version: c.newest, Oldest: c.oldest}
			// A later version says more; it is ignored.
			send(t, conn, "Frlkd", append(appendHello(nil, &h), "more"...))
			status, body := receive(t, conn)
			if (status == '+') != c.ok {
				t.Errorf("versions %d to %d: %c %q", c.oldest, c.newest, status, body)
			}
			if !c.ok {
				if r, err := decodeRefusal(body); err != nil || r.Code != CodeVersion {
					t.Errorf("refused with %+v %v", r, err)
				}
			}
			conn.Close()
		}
	})
}

func TestSilentStrangerIsClosedInTime(t *testing.T) {
	for _, sent := range []string{"", "F", "Frlkd", "Frlkd\x00\x20abc"} {
		t.Run(fmt.Sprintf("%q", sent), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := peertest.New()
				b := inMemory(t, m, "n2", nil)
				begin := time.Now()
				conn := dialRaw(t, m, "n1", b.addr)
				write(t, conn, sent)
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("read: %v", err)
				}
				if d := time.Since(begin); d != 5*time.Second {
					t.Errorf("closed after %s", d)
				}
				conn.Close()
			})
		})
	}
}

func TestSilentListenerIsGivenUpInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a := inMemory(t, m, "n1", nil)
		l, err := m.Listen("n2")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		begin := time.Now()
		_, err = a.Connect(context.Background(), "n2")
		if d := time.Since(begin); err == nil || d != 5*time.Second {
			t.Errorf("%v after %s", err, d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin = time.Now()
		_, err = a.Connect(ctx, "n2")
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("%v after %s", err, d)
		}
		// Nobody there, and a way that swallows all: the dial ends too.
		if _, err := a.Connect(context.Background(), "n9"); err == nil {
			t.Error("connected to nobody")
		}
		m.Isolate("n1", "n2")
		if _, err := a.Connect(context.Background(), "n2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("over a cut way: %v", err)
		}
	})
}

func TestStrangersAreClosedAtOnce(t *testing.T) {
	hello := func(size int) string {
		return "Rrlkd" + string(binary.BigEndian.AppendUint16(nil, uint16(size)))
	}
	for name, sent := range map[string]string{
		"http":            "GET / HTTP/1.1\r\n",
		"redis":           "*1\r\n$4\r\nPING\r\n",
		"tls":             "\x16\x03\x01\x02\x00",
		"wrong magic":     "Frxkd\x00\x01\x00",
		"oversized hello": hello(maxHello + 1),
		"garbage hello":   hello(5) + "\xff\xff\xff\xff\xff",
		"no node":         "Frlkd" + string([]byte{0, 6, 1, 1, 0, 0, 0, 0}),
		"long string":     "Frlkd" + string([]byte{0, 5, 1, 1, 0xff, 0xff, 0x7f}),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := peertest.New()
				b := inMemory(t, m, "n2", nil)
				begin := time.Now()
				conn := dialRaw(t, m, "n1", b.addr)
				write(t, conn, sent)
				if n, err := conn.Read(make([]byte, 1)); err == nil {
					t.Errorf("it was answered (%d bytes)", n)
				}
				if time.Since(begin) != 0 {
					t.Errorf("closed after %s", time.Since(begin))
				}
				conn.Close()
			})
		})
	}
}

func TestRefusalCannotBeReadAsHello(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a := inMemory(t, m, "n1", nil)
		l, err := m.Listen("n2")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, answer := range []string{"?", "HTTP/1.1 400", "\x15\x03\x03", "-\x00\x03abc", "+\x00\x03abc", "+\xff\xff", "+"} {
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1000))
				_, _ = conn.Write([]byte(answer))
			}()
			if _, err := a.Connect(context.Background(), "n2"); err == nil {
				t.Errorf("%q: connected", answer)
			}
		}
	})
}

func TestIncomingConnectionsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		b := inMemory(t, m, "n2", func(o *Options) { o.MaxConns = 2 })
		first, second := dialRaw(t, m, "n1", b.addr), dialRaw(t, m, "n1", b.addr)
		synctest.Wait()
		third := dialRaw(t, m, "n1", b.addr)
		begin := time.Now()
		if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begin) != 0 {
			t.Errorf("the third: %v after %s", err, time.Since(begin))
		}
		first.Close()
		synctest.Wait()
		a := inMemory(t, m, "n1", nil)
		connect(t, a, b)
		second.Close()
		third.Close()
	})
}

func dialRaw(t *testing.T, m *peertest.Net, from, to string) net.Conn {
	t.Helper()
	conn, err := m.Dialer(from)(context.Background(), to)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// send writes a part of a handshake.
func send(t *testing.T, w io.Writer, head string, body []byte) {
	t.Helper()
	write(t, w, head+string(binary.BigEndian.AppendUint16(nil, uint16(len(body))))+string(body))
}

// receive reads an answer of a handshake.
func receive(t *testing.T, r io.Reader) (status byte, body []byte) {
	t.Helper()
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	body = make([]byte, binary.BigEndian.Uint16(head[1:]))
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return head[0], body
}
