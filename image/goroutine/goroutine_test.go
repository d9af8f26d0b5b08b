package goroutine

import (
	"regexp"
	"sync"
	"testing"
)

// fail panics as a bug does.
func fail(counts map[string]int) { counts["bug"]++ }

var place = regexp.MustCompile(`^zimg/image/goroutine\.fail, goroutine_test\.go:\d+$`)

func check(t *testing.T, v any) {
	t.Helper()
	p, ok := v.(*Panic)
	if !ok {
		t.Fatalf("%T %v", v, v)
	}
	const want = "assignment to entry in nil map"
	if p.String() != want || !place.MatchString(p.Place) {
		t.Errorf("%q in %q", p.String(), p.Place)
	}
}

// A panic reaches the function that is to have it, with the place where it began, also if somebody else has passed it on
// as live.Store does with one that is not its own.
func TestGo(t *testing.T) {
	t.Parallel()
	for name, fn := range map[string]func(){
		"plain": func() { fail(nil) },
		"passed on": func() {
			defer func() { panic(recover()) }()
			fail(nil)
		},
	} {
		got := make(chan any, 1)
		Go(func(v any) { got <- v }, fn)
		t.Run(name, func(t *testing.T) { check(t, <-got) })
	}
}

// Whoever waits for a group gets the panic of one of its goroutines, when all have ended.
func TestGroup(t *testing.T) {
	t.Parallel()
	var g Group
	var mu sync.Mutex
	ended := 0
	for i := range 8 {
		g.Go(func() {
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				ended++
			}()
			if i%3 == 0 {
				fail(nil)
			}
		})
	}
	func() {
		defer func() { check(t, recover()) }()
		g.Wait()
	}()
	if ended != 8 {
		t.Errorf("%d of 8 had ended", ended)
	}
	var quiet Group
	quiet.Go(func() {})
	quiet.Wait()
}

// Without a function the panic is not held up.
func TestRecoverNothing(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v != "bug" {
			t.Errorf("%v", v)
		}
	}()
	defer Recover(nil)
	panic("bug")
}
