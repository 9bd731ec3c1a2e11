package e2e

import (
	"os"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
