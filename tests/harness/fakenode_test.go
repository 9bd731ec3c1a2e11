package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// fakeNode plays a redlockd of a cluster: n1 leads, and `CALL node text` has it ask another node over the wires, which
// answers with its own name and the text.
func fakeNode(flags map[string]string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	id := flags["--node-id"]
	peers, err := net.Listen("tcp", flags["--peer-listen"])
	if err == nil {
		var clients net.Listener
		if clients, err = net.Listen("tcp", flags["--listen"]); err == nil {
			go serveEach(clients, func(c net.Conn) { fakeClient(c, id, flags["--initial-cluster"]) })
			go serveEach(peers, func(c net.Conn) { fakePeer(c, id) })
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-term
	return 0
}

func serveEach(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func fakePeer(c net.Conn, id string) {
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		fmt.Fprintf(c, "%s heard %s\n", id, lines.Text())
	}
}

func fakeClient(c net.Conn, id, initial string) {
	for r := bufio.NewReader(c); ; {
		v, err := ReadValue(r)
		if err != nil {
			return
		}
		switch v.Items[0].Text {
		case "ASKING":
			fmt.Fprint(c, "+OK\r\n")
		case "ISLOCKED":
			fmt.Fprint(c, ":0\r\n")
		case "INFO":
			role := "follower"
			if id == "n1" {
				role = "leader"
			}
			text := "# Raft\r\nraft_role:" + role + "\r\nleader:n1\r\nterm:2\r\napplied_index:7\r\n"
			fmt.Fprintf(c, "$%d\r\n%s\r\n", len(text), text)
		case "CALL":
			answer, err := fakeCall(initial, v.Items[1].Text, v.Items[2].Text)
			if err != nil {
				answer = "error"
			}
			fmt.Fprintf(c, "+%s\r\n", strings.TrimSpace(answer))
		}
	}
}

func fakeCall(initial, node, text string) (string, error) {
	_, rest, _ := strings.Cut(initial, node+"=")
	addr, _, _ := strings.Cut(rest, ",")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text+"\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}
