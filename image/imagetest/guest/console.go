package guest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// The lines that init.sh prints before and after the script.
const (
	beginMark = "@@zimg-guest begin@@\n"
	endMark   = "\n@@zimg-guest end " // then the status and @@
)

// console collects what the guest prints; readers can wait for more.
type console struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed and replaced when something is added
	done bool          // nothing more will come
}

func newConsole() *console { return &console{more: make(chan struct{})} }

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
	return c.buf.Write(p)
}

// close makes readers see the end.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	c.wake()
}

func (c *console) wake() {
	close(c.more)
	c.more = make(chan struct{})
}

// text is what there is so far; more is closed when that has changed.
func (c *console) text() (s string, more <-chan struct{}, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String(), c.more, c.done
}

// scriptOutput cuts out of a console's text what the script has printed;
// ended reports whether the script is over, and then status how.
func scriptOutput(text string) (out string, status int, ended bool) {
	_, out, ok := strings.Cut(text, beginMark)
	if !ok {
		return "", -1, false
	}
	// The last one: what the script prints may hold anything. The newline that
	// the mark begins with is not the script's.
	end := strings.LastIndex(out, endMark)
	if end < 0 {
		return out, -1, false
	}
	if n, err := fmt.Sscanf(out[end+len(endMark):], "%d@@", &status); n != 1 || err != nil {
		return out, -1, false
	}
	return out[:end], status, true
}
