package drive

import (
	"sync"
	"time"

	"zimg/image/goroutine"
)

// delayed are the commands that a fault delays. How many there are is bounded by the
// transport's queues.
type delayed struct {
	mu   sync.Mutex
	list map[*waiting]bool
}

// waiting is a command that is to be executed later.
type waiting struct {
	qid, cid uint16
	done     func(Completion)
	timer    *time.Timer
}

// later executes a command after a delay, unless it is aborted before.
func (c *Controller) later(delay time.Duration, qid uint16, cmd *Command, data, meta []byte, done func(Completion)) {
	own := *cmd
	w := &waiting{qid: qid, cid: cmd.CID(), done: done}
	c.delayed.mu.Lock()
	defer c.delayed.mu.Unlock()
	if c.delayed.list == nil {
		c.delayed.list = map[*waiting]bool{}
	}
	c.delayed.list[w] = true
	w.timer = time.AfterFunc(delay, func() {
		defer goroutine.Recover(c.d.o.Panicked)
		c.gate.RLock()
		if !c.delayed.remove(w) { // aborted
			c.gate.RUnlock()
			return
		}
		cpl := Completion{Status: AbortedSQDeletion}
		if c.ready.Load() {
			cpl = c.finish(qid, &own, data, meta)
		}
		c.gate.RUnlock()
		done(cpl)
	})
}

func (d *delayed) remove(w *waiting) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.list[w] {
		return false
	}
	delete(d.list, w)
	return true
}

// take takes the command cid of queue qid: it will not be executed, and the caller ends it.
// It returns nil if there is none.
func (d *delayed) take(qid, cid uint16) func(Completion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.list {
		if w.qid == qid && w.cid == cid {
			delete(d.list, w)
			w.timer.Stop()
			return w.done
		}
	}
	return nil
}

// takeAll takes all that wait.
func (d *delayed) takeAll() []func(Completion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []func(Completion)
	for w := range d.list {
		w.timer.Stop()
		list = append(list, w.done)
	}
	d.list = nil
	return list
}
