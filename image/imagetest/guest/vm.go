package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrCutShort is wrapped by the error of a guest that ended before its script
// had, as one does that is killed.
var ErrCutShort = errors.New("the guest ended before its script")

// Result is how a guest's run went.
type Result struct {
	Output  string // what the script printed, stdout and stderr
	Status  int    // the script's exit status, -1 if it did not come to its end
	Console string // all that QEMU printed on stdout: firmware, kernel, script
	Stderr  string // what QEMU and its wrapper complained about
}

// VM is a guest that was started. Its script may still be running.
type VM struct {
	cmd     *exec.Cmd
	console *console
	stderr  *console
	cancel  context.CancelFunc
	dir     string
	seen    int // how much of the output WaitLine has gone past

	wait sync.Once
	res  Result
	err  error
}

// Start boots the guest as Run does and returns at once. Wait must be called.
// When ctx ends, QEMU and what started it are killed.
func (g Guest) Start(ctx context.Context, qemuArgs []string, script string) (*VM, error) {
	dir, err := os.MkdirTemp("", "zimg-guest-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "script")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		return nil, err
	}
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, Timeout)
	}
	argv := g.Command
	if argv == nil {
		argv = []string{"qemu-system-x86_64"}
	}
	argv = append(append(append([]string{}, argv...), g.Args(path)...), qemuArgs...)

	vm := &VM{console: newConsole(), stderr: newConsole(), cancel: cancel, dir: dir}
	vm.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	vm.cmd.Stdout = vm.console
	vm.cmd.Stderr = vm.stderr
	dieWithParent(vm.cmd)
	ownGroup(vm.cmd)
	vm.cmd.Cancel = func() error { return killGroup(vm.cmd.Process.Pid) }
	vm.cmd.WaitDelay = 5 * time.Second
	if err := vm.cmd.Start(); err != nil {
		cancel()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// Someone must wait, or readers of the console would never hear of its end.
	go func() { _, _ = vm.Wait() }()
	go vm.endHung()
	return vm, nil
}

// powerOff is how long a kernel may take to power off when the script has ended: it takes a second.
var powerOff = time.Minute

// endHung ends a guest whose script has ended and whose kernel then hangs while it shuts its devices down, as was
// seen with 17 NVMe drives of QEMU 7.2 on a busy machine. Asked twice zimg saves the zones as they are and ends
// QEMU, and QEMU itself ends at once. Once the kernel says that it powers off, it is for whoever waits for
// that to notice.
func (vm *VM) endHung() {
	var late <-chan time.Time
	for {
		text, more, done := vm.console.text()
		if done || strings.Contains(text, "reboot: Power down") {
			return
		}
		if _, _, ended := scriptOutput(text); ended && late == nil {
			late = time.After(powerOff)
		}
		select {
		case <-more:
		case <-late:
			for range 2 {
				_ = vm.cmd.Process.Signal(syscall.SIGTERM)
				time.Sleep(time.Second)
			}
			return
		}
	}
}

// Wait waits until the process that Start started has ended. It may be called
// more than once, and from several goroutines.
func (vm *VM) Wait() (Result, error) {
	vm.wait.Do(func() {
		err := vm.cmd.Wait()
		_ = killGroup(vm.Pid()) // a QEMU that outlived its wrapper; usually there is none
		vm.cancel()
		vm.console.close()
		vm.stderr.close()
		text, _, _ := vm.console.text()
		stderr, _, _ := vm.stderr.text()
		out, status, ended := scriptOutput(text)
		vm.res = Result{Output: out, Status: status, Console: text, Stderr: stderr}
		if !ended {
			err = errors.Join(ErrCutShort, err)
		}
		if err != nil {
			vm.err = fmt.Errorf("%s: %w\nconsole: ...%s\nstderr: %s", vm.cmd.Args[0], err, last(text), last(vm.res.Stderr))
		}
		if err := os.RemoveAll(vm.dir); vm.err == nil {
			vm.err = err
		}
	})
	return vm.res, vm.err
}

// WaitLine waits until the script has printed a line that contains text and
// returns it. A second call looks at what follows that line. It is for one
// goroutine.
func (vm *VM) WaitLine(ctx context.Context, text string) (string, error) {
	for {
		all, more, done := vm.console.text()
		out, _, _ := scriptOutput(all)
		for vm.seen < len(out) {
			line, _, whole := strings.Cut(out[vm.seen:], "\n")
			if !whole && !done {
				break
			}
			vm.seen = min(vm.seen+len(line)+1, len(out))
			if strings.Contains(line, text) {
				return line, nil
			}
		}
		if done {
			return "", fmt.Errorf("the guest ended without printing %q: ...%s", text, last(all))
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %q: %w", text, ctx.Err())
		}
	}
}

// WaitStderr waits until QEMU or its wrapper has printed text on standard error.
func (vm *VM) WaitStderr(ctx context.Context, text string) error {
	for {
		all, more, done := vm.stderr.text()
		switch {
		case strings.Contains(all, text):
			return nil
		case done:
			return fmt.Errorf("the guest ended without %q on standard error: ...%s", text, last(all))
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("wait for %q: %w", text, ctx.Err())
		}
	}
}

// Pid is the process that was started: QEMU, or its wrapper.
func (vm *VM) Pid() int { return vm.cmd.Process.Pid }

// QEMU is the process that is QEMU: Pid, or where that is a wrapper, the
// process below it whose name begins with qemu-system.
func (vm *VM) QEMU() (int, error) {
	parents := map[int]int{}
	var found []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PARENT ..., where NAME may hold anything
		open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		if open < 0 || end < 0 {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[end+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		if parents[pid], err = strconv.Atoi(fields[1]); err != nil {
			continue
		}
		if strings.HasPrefix(string(b[open+1:end]), "qemu-system") {
			found = append(found, pid)
		}
	}
	for _, pid := range found {
		for p := pid; p > 1; p = parents[p] {
			if p == vm.Pid() {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("no QEMU below process %d", vm.Pid())
}

// Kill kills QEMU, as a power failure of the guest; a wrapper lives on and has
// to cope. Wait returns the result.
func (vm *VM) Kill() error {
	pid, err := vm.QEMU()
	if err != nil {
		return err
	}
	return killProcess(pid)
}

// Output is what the script has printed so far.
func (vm *VM) Output() string {
	text, _, _ := vm.console.text()
	out, _, _ := scriptOutput(text)
	return out
}

// last is the end of s, as much as a message can have.
func last(s string) string { return s[max(len(s)-2000, 0):] }
