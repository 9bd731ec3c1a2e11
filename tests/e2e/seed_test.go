package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seedOf returns the seed of a random test and logs it; LOCKTEST_SEED repeats one.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LOCKTEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LOCKTEST_SEED: %v", err)
		}
	}
	t.Logf("LOCKTEST_SEED=%d", seed)
	return seed
}
