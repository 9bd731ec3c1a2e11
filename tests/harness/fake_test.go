package harness

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// fakeEnv makes this test binary play redlockd: its value says how.
const fakeEnv = "LOCKTEST_FAKE"

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeEnv); how != "" {
		os.Exit(fake(how, os.Args[1:]))
	}
	code := Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// useFake has Server start this test binary in place of redlockd.
func useFake(t *testing.T, how string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOCKTEST_BIN", self)
	t.Setenv(fakeEnv, how)
}

// fake answers every line with +PONG and counts its starts in the data folder.
func fake(how string, args []string) int {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	if how == "refuses" {
		fmt.Fprintln(os.Stderr, "refused: this is why")
		return 3
	}
	if how == "node" {
		return fakeNode(flags)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	l, err := net.Listen("tcp", flags["--listen"])
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot listen on %s: %v\n", flags["--listen"], err)
		return 1
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprint(c, "+PONG\r\n")
				}
			}()
		}
	}()
	starts, err := os.OpenFile(filepath.Join(flags["--data-dir"]+".starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprint(starts, "x")
	slog.New(slog.NewTextHandler(os.Stderr, nil)).Info("serving", "address", flags["--listen"], "data-dir", flags["--data-dir"])
	<-term
	if how == "panics" {
		fmt.Fprintln(os.Stderr, "panic: at the end\n\ngoroutine 1 [running]:")
	}
	return 0
}
