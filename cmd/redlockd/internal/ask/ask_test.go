package ask

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// answer serves one connection: it reads what comes and writes the replies, one
// for each array.
func answer(t *testing.T, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		for _, reply := range replies {
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "*") {
					break
				}
			}
			if _, err := c.Write([]byte(reply)); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func dial(t *testing.T, addr, password string) (*Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	c, err := Dial(ctx, addr, password)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func TestReplies(t *testing.T) {
	for _, tt := range []struct{ reply, want, err string }{
		{"+PONG\r\n", "PONG", ""},
		{":42\r\n", "42", ""},
		{"$5\r\na\r\nbc\r\n", "a\r\nbc", ""},
		{"$-1\r\n", "", ""},
		{"-CLUSTERDOWN no leader\r\n", "", "CLUSTERDOWN no leader"},
		{"*1\r\n", "", "this is not redlockd"},
		{"HTTP/1.1 400 Bad Request\r\n", "", "this is not redlockd"},
		{"\r\n", "", "this is not redlockd"},
		{"$99999999999\r\n", "", "this is not redlockd"},
		{"$x\r\n", "", "this is not redlockd"},
		{"+" + strings.Repeat("x", 200<<10), "", "this is not redlockd"},
		{"$10\r\nshort", "", "EOF"},
		{"", "", "EOF"},
	} {
		c, err := dial(t, answer(t, tt.reply), "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Do("PING")
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.40q gives %q, %v", tt.reply, got, err)
		}
	}
}

func TestPassword(t *testing.T) {
	c, err := dial(t, answer(t, "+OK\r\n", "+PONG\r\n"), "secret")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Do("PING"); got != "PONG" || err != nil {
		t.Error(got, err)
	}
	if _, err := dial(t, answer(t, "-WRONGPASS no\r\n"), "secret"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Error(err)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, answer(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	cancel()
	if _, err := c.Do("PING"); err == nil {
		t.Error("it was answered")
	}
}

func TestInfoAndPairs(t *testing.T) {
	info := Info("# Raft\r\nnode_id:n1\r\nmember0:id=n1,addr=[::1]:7379,lag=0\r\n\r\n# x:y\r\nempty:\r\n")
	if len(info) != 3 || info["node_id"] != "n1" || info["empty"] != "" {
		t.Errorf("%q", info)
	}
	pairs := Pairs(info["member0"])
	if len(pairs) != 3 || pairs["addr"] != "[::1]:7379" || pairs["lag"] != "0" {
		t.Errorf("%q", pairs)
	}
}
