package control

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

var session = [16]byte{7}

// start makes a drive and its control server; the socket is beside a file called name.
func start(t *testing.T, name string) (path string, d *drive.Drive) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "disk.zimg")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(disk.OS, file); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(file, image.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := drivetest.NewStore(im)
	if err != nil {
		t.Fatal(err)
	}
	d, err = drive.NewWith(im, st, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path = SocketPath(filepath.Join(dir, name))
	s, err := Listen(path, Options{Drive: d, Session: session, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
		_ = im.Close()
	})
	return path, d
}

// A socket is for its owner, whatever the length of its name. What another process has left there gives way; all else
// stays, also what a symbolic link names.
func TestSocket(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"disk.zimg", strings.Repeat("n", 200)} {
		path, d := start(t, name)
		if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if _, err := Do(path, session, &Request{Faults: true}); err != nil {
			t.Error(err)
		}
		if _, err := Do(path, [16]byte{8}, &Request{Faults: true}); !errors.Is(err, ErrNobody) {
			t.Errorf("another session: %v", err)
		}
		if _, err := Do(path+"x", session, &Request{Faults: true}); !errors.Is(err, ErrNobody) {
			t.Errorf("no socket: %v", err)
		}
		dir := filepath.Dir(path)
		stale, target, link := filepath.Join(dir, "stale"), filepath.Join(dir, "disk.zimg"), filepath.Join(dir, "link")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if err := errors.Join(os.Rename(filepath.Join(dir, "s"), stale), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
		if _, err := Do(stale, session, &Request{Faults: true}); !errors.Is(err, ErrNobody) {
			t.Errorf("a socket that was left: %v", err)
		}
		s, err := Listen(stale, Options{Drive: d, Session: session, Log: t.Logf})
		if err != nil {
			t.Errorf("a socket that was left is not replaced: %v", err)
		} else if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, taken := range []string{target, link} {
			if s, err := Listen(taken, Options{Drive: d, Session: session, Log: t.Logf}); err == nil {
				t.Errorf("%s is replaced", taken)
				_ = s.Close()
			}
			if _, err := os.Lstat(taken); err != nil {
				t.Error(err)
			}
		}
	}
}

// Messages that break the protocol are not answered, and keep nobody else from being answered, nor the server from
// being closed.
func TestMessages(t *testing.T) {
	t.Parallel()
	path, _ := start(t, "disk.zimg")
	folder, address, err := within(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	message := func(s string) []byte { return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...) }
	for _, b := range [][]byte{
		{},
		{1, 0},
		{255, 255, 255, 255},
		message("{"), message("[]"), message(`{"Unknown":1}`), message(`{"Zones":{"NSID":-1}}`),
		message("{}")[:5],
	} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: address, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		var h Hello
		if err := receive(conn, &h); err != nil || h.PID != os.Getpid() {
			t.Fatalf("%+v, %v", h, err)
		}
		_, _ = conn.Write(b)
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		var r Reply
		if err := receive(conn, &r); err == nil {
			t.Errorf("%q is answered: %+v", b, r)
		}
		_ = conn.Close()
	}
	silent, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if _, err := Do(path, session, &Request{}); err == nil {
		t.Error("an empty request is done")
	}
	if _, err := Do(path, session, &Request{Faults: true}); err != nil {
		t.Error(err)
	}
}

// Requests change zones of a drive, while hosts and other requests use it.
func TestRequests(t *testing.T) {
	t.Parallel()
	path, d := start(t, "disk.zimg")
	zones := func(z Zones) (uint64, error) {
		z.NSID = 1
		r, err := Do(path, session, &Request{Zones: &z})
		if err != nil {
			return 0, err
		}
		return r.Changed, nil
	}
	if _, err := zones(Zones{Zones: []image.ZoneRange{{First: 0, Last: 0}}, Action: "offline"}); err != nil {
		t.Fatal(err)
	}
	for _, z := range []Zones{
		{Zones: []image.ZoneRange{{First: 0, Last: 0}}, Action: "reset"}, // an Offline zone
		{Zones: []image.ZoneRange{{First: 1, Last: 0}}, Action: "reset"},
		{Zones: []image.ZoneRange{{First: 1 << 40, Last: 1 << 40}}, Action: "reset"},
		{Zones: []image.ZoneRange{{First: 1, Last: 1}}, Action: "melt"},
		{Zones: []image.ZoneRange{{First: 1, Last: 1}}, Action: "offline", All: true},
		{Zones: []image.ZoneRange{{First: 1, Last: 1}}, Action: "set-wp", Pointer: image.Pointer{Blocks: 1 << 62}},
	} {
		var refused *RefusedError
		if _, err := zones(z); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", z, err)
		}
	}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 20 {
				if _, err := zones(Zones{Zones: []image.ZoneRange{{First: 1, Last: 3}}, Action: "finish"}); err != nil {
					t.Error(err)
				}
				if _, err := zones(Zones{Zones: []image.ZoneRange{{First: 1, Last: 3}}, Action: "reset", All: true}); err != nil {
					t.Error(err)
				}
				r, err := Do(path, session, &Request{Fault: &Fault{NSID: 1, Blocks: 1, Status: "busy", Count: 1}})
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := Do(path, session, &Request{Clear: &Clear{ID: r.ID}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if left := d.Faults().List(); len(left) != 0 {
		t.Errorf("faults that were cleared: %v", left)
	}
	for _, f := range []Fault{
		{NSID: 1},
		{NSID: 99, Status: "busy"},
		{NSID: 1, Status: "0x8000"},
		{NSID: 1, Status: "12"},
		{NSID: 1, Status: "busy", Ops: []string{"erase"}},
		{NSID: 1, LBA: 1 << 62, Blocks: 1 << 62, Status: "busy"},
		{NSID: 1, Delay: -1},
		{NSID: 1, Status: "busy", Count: -1},
	} {
		if _, err := Do(path, session, &Request{Fault: &f}); err == nil {
			t.Errorf("%+v is added", f)
		}
	}
}
