package imagetest

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of random tests, as a failed one logged it; 0 for a new one")

// Seed is where a random test begins: what the flag -seed says, or else a new number, which is logged.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := *seed
	for s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return s
}
