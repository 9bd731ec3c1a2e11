package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runMain is one call of the program.
func runMain(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		code, out, _ := runMain(t, nil, arg)
		if code != exitOK || !strings.HasPrefix(out, "redlockd "+version+" (go1.") || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %d, %q", arg, code, out)
		}
	}
	for part := range strings.SplitSeq(version, ".") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			t.Errorf("version %q is not x.y.z", version)
		}
	}
}

func TestHelpHasEveryOption(t *testing.T) {
	for _, arg := range []string{"help", "--help", "-h"} {
		code, out, _ := runMain(t, nil, arg)
		if code != exitOK {
			t.Errorf("%s: %d", arg, code)
		}
		for _, name := range options.Names() {
			if !strings.Contains(out, " --"+name+" ") {
				t.Errorf("%s does not tell of --%s", arg, name)
			}
		}
		for _, group := range options.Groups() {
			if !strings.Contains(out, "\n"+group+":\n") {
				t.Errorf("%s has no headline %s", arg, group)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, stderr := runMain(t, nil, "completion", shell); code != exitOK || !strings.Contains(out, "redlockd") {
			t.Errorf("%s: %d, %s", shell, code, stderr)
		}
	}
	// What the shells ask: the words behind a flag.
	if _, out, _ := runMain(t, nil, "__complete", "--log-format", ""); !strings.HasPrefix(out, "text\njson\n") {
		t.Errorf("behind --log-format: %q", out)
	}
}

func TestConfigPrintsWhatIsInForce(t *testing.T) {
	code, out, stderr := runMain(t, []string{"REDLOCKD_NODE_ID=n7", "REDLOCKD_REQUIREPASS=secret"}, "config", "--request-timeout=2s")
	if code != exitOK {
		t.Fatal(stderr)
	}
	for _, want := range []string{"request-timeout = 2000 # from --request-timeout\n", "# from REDLOCKD_NODE_ID\n", "max-clients = 10000\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "secret") {
		t.Error("the password is shown")
	}
}

func TestMistakesAreToldAndTouchNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		args []string
		env  string
		want string
	}{
		{[]string{"--dta-dir", data}, "", "did you mean --data-dir?"},
		{[]string{"serve"}, "", `unknown command "serve"`},
		{[]string{"confg"}, "", "config"},
		{[]string{"--listen", "nowhere"}, "", "host:port"},
		{[]string{"--listen=0.0.0.0:0"}, "", "--protected-mode=no"},
		{nil, "REDLOCKD_LISTN=x", "did you mean REDLOCKD_LISTEN?"},
	} {
		code, _, stderr := runMain(t, []string{"REDLOCKD_DATA_DIR=" + data, c.env}, c.args...)
		if code != exitStart || !strings.Contains(stderr, c.want) || !strings.HasPrefix(stderr, "redlockd: ") {
			t.Errorf("%v %s: %d, %q", c.args, c.env, code, stderr)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data directory was made")
	}
}
