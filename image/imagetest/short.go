package imagetest

import "testing"

// NeedsPrograms skips the test with -short: it starts programs that a machine with nothing but Go lacks.
func NeedsPrograms(t testing.TB, names string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("starts %s, which -short leaves out", names)
	}
}

// sampleStep is how many cases go to one that -short tries.
const sampleStep = 29

// Sampled reports whether case n of 1 to last is to be tried: each of them, and with -short the first, the last and some
// in between.
func Sampled(n, last int) bool {
	return !testing.Short() || n == 1 || n == last || n%sampleStep == 0
}
