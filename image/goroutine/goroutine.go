// Package goroutine starts the goroutines of zimg, so that a panic in one of them reaches somebody who can report it. Without
// that a panic anywhere ends the process with a stack trace, and with exit status 2, which means something else to
// those who check images.
//
// There are two kinds. A goroutine that another one waits for belongs to a Group, whose Wait panics in its place. For all
// others the program says by a function what a panic is to do.
package goroutine

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// A Panic is the value of a panic with the place where it began, to be passed on.
type Panic struct {
	Value any
	Place string // function, file and line; "" if it is not known
}

// String is the text of the value.
func (p *Panic) String() string { return fmt.Sprint(p.Value) }

// Recovered makes a Panic of v, the value that recover has returned. It is to be called by the function that recovered, which
// still has the frames of the panic on its stack. A value that is a *Panic was passed on, and stays as it is.
func Recovered(v any) *Panic {
	if p, ok := v.(*Panic); ok {
		return p
	}
	p := &Panic{Value: v}
	pcs := make([]uintptr, 128)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic": // the last one is the first panic: others have passed it on
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			p.Place = fmt.Sprintf("%s, %s:%d", f.Function, filepath.Base(f.File), f.Line)
			panicking = false
		}
		if !more {
			return p
		}
	}
}

// Go runs fn in a goroutine of its own. A panic in it is passed to panicked, see Recover.
func Go(panicked func(v any), fn func()) {
	go func() {
		defer Recover(panicked)
		fn()
	}()
}

// Recover is deferred by what runs in a goroutine of its own, or is called by a timer: it calls panicked with the value
// of a panic, a *Panic. That is to end the process, as locks may be held. If panicked is nil the panic goes on.
func Recover(panicked func(v any)) {
	if panicked == nil {
		return
	}
	if v := recover(); v != nil {
		panicked(Recovered(v))
	}
}

// A Group is a number of goroutines that somebody waits for. The zero Group has none.
type Group struct {
	wg    sync.WaitGroup
	mu    sync.Mutex
	first *Panic
}

// Go runs fn in a goroutine of its own. If fn panics, its deferred functions are to release whoever waits for something
// else than the group.
func (g *Group) Go(fn func()) {
	g.wg.Go(func() {
		defer Recover(g.panicked)
		fn()
	})
}

func (g *Group) panicked(v any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == nil {
		g.first = v.(*Panic)
	}
}

// Wait waits for all goroutines. If one of them has panicked Wait panics with the same value, a *Panic.
func (g *Group) Wait() {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		panic(g.first)
	}
}
