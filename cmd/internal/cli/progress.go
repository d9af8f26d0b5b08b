package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Progress shows how far something is, as qemu-img does: on a terminal if it
// takes longer than a second, with --progress from the start and anywhere; and once
// whenever SIGUSR1 arrives.
type Progress struct {
	ctx    context.Context
	w      io.Writer
	always bool
	live   bool
	start  time.Time
	last   time.Time
	shown  bool
	lines  io.Writer // for lines that programs read; nil for none
	name   string    // in these lines
	asked  <-chan os.Signal
	stop   func()
}

// NewProgress shows how far a command is, on a terminal or where force is given.
func NewProgress(cmd *cobra.Command, force bool) *Progress {
	p := &Progress{ctx: cmd.Context(), w: cmd.ErrOrStderr(), always: force, live: force, start: time.Now()}
	if f, ok := p.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.live = true
	}
	p.asked, p.stop = notifyProgress()
	return p
}

// Lines has progress also written to w, in lines as fsck(8) reads them: the number of the pass, done, total and name.
func (p *Progress) Lines(w io.Writer, name string) { p.lines, p.name = w, name }

// Update says that done of total is done, both in bytes, total 0 if it is not known; an error means that it
// is to stop.
func (p *Progress) Update(done, total int64) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	select {
	case <-p.asked:
		fmt.Fprintf(p.w, "    %s\n", share(done, total))
		return nil
	default:
	}
	if p.lines != nil && (now.Sub(p.last) >= 100*time.Millisecond || done == total) {
		p.last = now
		_, _ = fmt.Fprintf(p.lines, "1 %d %d %s\n", done, total, p.name) // whoever reads them may be gone
		return nil
	}
	if !p.live || !p.always && now.Sub(p.start) < time.Second || now.Sub(p.last) < 100*time.Millisecond && done < total {
		return nil
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "    %s\r", share(done, total))
	return nil
}

// share is how much of total is done.
func share(done, total int64) string {
	if total <= 0 {
		return "(" + HumanSize(done) + ")"
	}
	return fmt.Sprintf("(%5.2f/100%%)", 100*float64(done)/float64(total))
}

// Clear makes room for a line of output.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprintln(p.w)
		p.shown = false
	}
}

// Done ends the line; it may be called twice.
func (p *Progress) Done() {
	p.Clear()
	p.stop()
}
