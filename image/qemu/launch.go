package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"zimg/image/journal"
	"zimg/layout"
)

// CommandLine is the whole command line that Run starts QEMU with; dir is where
// its sockets are.
func CommandLine(c *Config, dir string) ([]string, error) {
	s := &session{Config: *c, dir: dir}
	return s.commandLine()
}

// nodes gives the arguments for images[k], whose first data file is number set of all: block nodes and devices.
//
// While zimg restores the zones, each raw node is over a placeholder: an empty file without storage that has the
// size of the data file. It has to be a file. A raw node learns when it is opened whether the node below it can
// unmap, and keeps that answer for the whole run: over null-co it would drop the may-unmap flag of every zone reset,
// and a reset would allocate the zone instead of giving its space back.
func (s *session) nodes(k int, set int) []string {
	im, id := s.Images[k], fmt.Sprintf("zimg%d", k)
	s.ids = append(s.ids, id)
	var args []string
	var namespaces []*layout.Namespace
	sharers := map[uint32]int{}
	for _, n := range im.Namespaces() {
		namespaces = append(namespaces, n.Namespace)
		sharers[n.DataFile]++
	}
	for i := range im.Plan().DataLen {
		for j, node := range []string{FileNode(id, i), placeholderNode(id, i)} {
			number := 2*(set+i) + j // the order of spawn
			args = append(args, "-add-fd", fmt.Sprintf("fd=%d,set=%d", 3+number, fdSet(number)),
				"-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=/dev/fdset/%d,discard=unmap", node, fdSet(number)))
		}
	}
	for _, n := range namespaces {
		args = append(args, "-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=%s,offset=%d,size=%d,discard=unmap", RawNode(id, n.ID), placeholderNode(id, int(n.DataFile)), n.DataOff, n.DataLen))
	}
	if s.Record != nil {
		args = append(args, recorder(id, s.Record.Log)...)
	}
	return append(args, Devices(namespaces, im.Header().UUID, id, func(n *layout.Namespace) bool { return sharers[n.DataFile] > 1 })...)
}

// recorder is QEMU's filter that keeps every write, discard and flush of the data file in log: of all
// namespaces in one order.
func recorder(id, log string) []string {
	file := id + "-log"
	return []string{
		"-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s,locking=off", file, escape(log)),
		"-blockdev", fmt.Sprintf("driver=blklogwrites,node-name=%s,file=%s,log=%s,log-sector-size=512,discard=unmap", recordNode(id), FileNode(id, 0), file),
	}
}

func recordNode(id string) string { return id + "-record" }

// fdSet numbers sets so that they are not the caller's.
func fdSet(i int) int { return 0x7a696d + i }

func placeholderNode(id string, i int) string { return fmt.Sprintf("%s-placeholder%d", id, i) }

func (s *session) commandLine() ([]string, error) {
	var err error
	if len(s.Command) == 0 {
		return nil, errors.New("no QEMU command")
	}
	if s.caller, err = parseCallerArgs(s.Command[1:]); err != nil {
		return nil, err
	}
	args := append([]string(nil), s.Command...)
	set := 0
	for k, im := range s.Images {
		args = append(args, s.nodes(k, set)...)
		set += len(im.Files().Data)
	}
	args = append(args,
		"-S", "-action", "shutdown=pause,reboot=reset",
		"-chardev", "socket,id=zimg-qmp,path="+escape(s.socket("qmp")),
		"-mon", "chardev=zimg-qmp,mode=control",
		"-qtest", "unix:"+escape(s.socket("qtest")), "-qtest-log", "none")
	if trace := s.traceFile(); trace != "" {
		// An event that does not occur, so that QEMU opens the log; those that matter
		// are enabled when the guest starts.
		args = append(args, "-trace", "pci_nvme_err_cfs", "-D", trace)
	}
	return args, nil
}

func (s *session) socket(name string) string { return filepath.Join(s.dir, name) }

// traceFile is where QEMU is to log what the zones go through: beside the only
// image. The log of a QEMU is one file, and it does not say which controller it speaks of, so with
// several images there is none, and a repair leans on the data alone.
func (s *session) traceFile() string {
	if len(s.Images) != 1 || s.caller.log {
		return ""
	}
	return s.Images[0].Path() + journal.TraceSuffix
}

// start starts QEMU and waits until both sockets are connected.
func (s *session) start(ctx context.Context) error {
	argv, err := s.commandLine()
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, name := range []string{"qmp", "qtest"} {
		l, err := net.Listen("unix", s.socket(name))
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		listeners = append(listeners, l)
	}
	if err := s.spawn(argv); err != nil {
		return err
	}
	var conns []net.Conn
	for _, l := range listeners {
		conn, err := s.accept(ctx, l)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	s.qtest = NewQTest(conns[1], s.Timeout)
	s.qmp, err = NewQMP(conns[0], s.Timeout)
	return err
}

// spawn starts QEMU, with the images' data files as its descriptors from 3 on, each followed by its placeholder.
func (s *session) spawn(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	for _, im := range s.Images {
		for i, f := range im.Files().Data {
			fd, ok := f.(interface{ Fd() uintptr })
			if !ok {
				return fmt.Errorf("%s: not a file that can be handed to QEMU", f.Name())
			}
			dup, err := dupFile(fd.Fd(), f.Name())
			if err != nil {
				return err
			}
			defer func() { _ = dup.Close() }()
			empty, err := placeholder(int64(im.Plan().DataLen[i]))
			if err != nil {
				return fmt.Errorf("placeholder of %s: %w", f.Name(), err)
			}
			defer func() { _ = empty.Close() }()
			cmd.ExtraFiles = append(cmd.ExtraFiles, dup, empty)
		}
	}
	// If zimg is killed QEMU must not go on with nobody to save its zones.
	setParentDeathSignal(cmd)
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends, not the process: keep it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.status = exitStatus(cmd.Wait())
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start QEMU: %w", err)
	}
	s.cmd = cmd
	return nil
}

// accept waits for QEMU to connect, to end, or for too long.
func (s *session) accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		conn, err := l.Accept()
		got <- result{conn, err}
	}()
	select {
	case r := <-got:
		return r.conn, r.err
	case <-s.exited:
		return nil, fmt.Errorf("start QEMU: %w", ErrQEMUGone)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.Timeout):
		return nil, fmt.Errorf("start QEMU: %w", ErrTimeout)
	}
}

// awaitExit waits for QEMU to end by itself.
func (s *session) awaitExit(patience time.Duration) {
	select {
	case <-s.exited:
	case <-time.After(patience):
	}
}

// end makes sure that QEMU is gone.
func (s *session) end() {
	if s.qmp != nil {
		_ = s.qmp.Close()
	}
	if s.qtest != nil {
		_ = s.qtest.Close()
	}
	select {
	case <-s.exited:
		return
	default:
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
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
