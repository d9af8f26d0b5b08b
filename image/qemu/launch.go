package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"time"

	"zimg/image/goroutine"
)

// CommandLine is the whole command line that Run would start QEMU with; dir stands for the folder that Run makes.
func CommandLine(c *Config, dir string) ([]string, error) {
	s, err := newSession(*c)
	if err != nil {
		return nil, err
	}
	s.private = &private{dir}
	return s.commandLine()
}

func (s *session) commandLine() ([]string, error) {
	drives, err := s.drives.args()
	if err != nil {
		return nil, err
	}
	args := append(append([]string(nil), s.Command...), drives...)
	return append(args, "-S", "-readconfig", s.private.path("config"),
		"-qtest", "unix:"+escape(s.private.path("qtest")), "-qtest-log", "none"), nil
}

// start starts QEMU and waits until both sockets are connected.
func (s *session) start(ctx context.Context) error {
	argv, err := s.commandLine()
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, name := range []string{"qmp", "qtest"} {
		l, err := net.Listen("unix", s.private.path(name))
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		listeners = append(listeners, l)
	}
	if err := s.spawn(argv); err != nil {
		return err
	}
	// It has something to guard when QEMU has connected, which takes longer than its own start.
	if len(s.Guard) > 0 {
		if s.guard, err = startGuard(s.Guard); err != nil {
			return fmt.Errorf("cannot start the process that guards QEMU: %w", err)
		}
	}
	patience := s.Timeout
	if s.caller.waits {
		// It goes on when somebody connects to a socket of the caller's.
		patience = 1 << 62
		notice := time.AfterFunc(s.Timeout/4, func() {
			defer goroutine.Recover(s.Panicked)
			s.Log("QEMU is waiting for a client to connect to one of its sockets")
		})
		defer notice.Stop()
	}
	var conns []net.Conn
	for _, l := range listeners {
		conn, err := s.accept(ctx, l, patience)
		if err != nil {
			return errors.Join(err, closeAll(conns))
		}
		conns = append(conns, conn)
	}
	s.qtest = NewQTest(conns[1], s.Timeout)
	s.pid = peer(conns[0])
	s.guard.watch(s.pid, conns[0], s.private.dir)
	s.qmp, err = s.greet(ctx, conns[0], patience)
	if err != nil {
		return errors.Join(err, conns[0].Close())
	}
	if s.qmp.Version.Before(7, 1) {
		return tooOld(s.qmp.Version)
	}
	return s.qmp.Do("set-action", map[string]any{"shutdown": "pause", "reboot": "reset"}, nil)
}

func closeAll(conns []net.Conn) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// greet takes up QMP; the end of ctx ends it.
func (s *session) greet(ctx context.Context, conn net.Conn, patience time.Duration) (*QMP, error) {
	undo := context.AfterFunc(ctx, func() {
		defer goroutine.Recover(s.Panicked)
		_ = conn.Close()
	})
	q, err := NewQMP(conn, patience, s.Timeout, s.Panicked)
	if !undo() {
		return nil, ctx.Err()
	}
	return q, err
}

// spawn starts QEMU.
//
// QEMU is in zimg's process group, so that it has the terminal where the caller's has it, and Ctrl-Z stops both. The
// signals that end it are blocked in it, which it leaves so: what a terminal, timeout(1) or a service manager sends to the
// whole group, or to every process, is for zimg to act on, by the power button.
func (s *session) spawn(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	// If zimg is killed QEMU must not go on with nobody to save its zones.
	setParentDeathSignal(cmd)
	started := make(chan error)
	goroutine.Go(s.Panicked, func() {
		// The death signal comes when the thread ends, not the process: keep it.
		runtime.LockOSThread()
		restore := blockSignals()
		err := cmd.Start()
		restore()
		started <- err
		if err != nil {
			return
		}
		s.status = exitStatus(cmd.Wait())
		close(s.exited)
	})
	if err := <-started; err != nil {
		return fmt.Errorf("cannot start QEMU: %w", err)
	}
	s.cmd = cmd
	return nil
}

// accept waits for QEMU to connect, to end, or for too long.
func (s *session) accept(ctx context.Context, l net.Listener, patience time.Duration) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	goroutine.Go(s.Panicked, func() {
		conn, err := l.Accept()
		got <- result{conn, err}
	})
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-got:
		return r.conn, r.err
	case <-s.exited:
		return nil, fmt.Errorf("cannot start QEMU: %w", ErrQEMUGone)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, fmt.Errorf("cannot start QEMU: %w", ErrTimeout)
	}
}

// awaitExit waits for QEMU, or its wrapper, to end by itself.
func (s *session) awaitExit(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
	}
}

// end makes sure that QEMU is gone, and what was started with it.
func (s *session) end() {
	if s.qtest != nil {
		_ = s.qtest.Close()
	}
	select {
	case <-s.exited:
	default:
		if s.pid != 0 {
			kill(s.pid)
			s.awaitExit(s.Timeout) // a wrapper may have something left to do
		}
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	if s.qmp != nil {
		_ = s.qmp.Close()
	}
}

// exitStatus is a shell's view of how a process ended.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 1
	}
	if code := exit.ExitCode(); code >= 0 {
		return code
	}
	return 128 + signalOf(exit)
}
