package control

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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
	for _, c := range []struct {
		first, last uint64
		rest        Zones
		want        string
	}{
		{0, 0, Zones{Action: "reset"}, "namespace 1 zone 0 (Offline): Invalid Zone State Transition: the zone cannot be reset"},
		{1, 0, Zones{Action: "reset"}, "invalid zones 1 to 0"},
		{1 << 40, 1 << 40, Zones{Action: "reset"}, "there is no zone 1099511627776"},
		{1, 1, Zones{Action: "melt"}, "melt is not possible while the image is in use"},
		{1, 1, Zones{Action: "offline", All: true}, "offline cannot be applied to all zones at once"},
		{1, 1, Zones{Action: "set-wp", Pointer: image.Pointer{Blocks: 1 << 62}}, "is outside the zone (128 to 224)"},
	} {
		c.rest.Zones = []image.ZoneRange{{First: c.first, Last: c.last}}
		var refused *RefusedError
		if _, err := zones(c.rest); !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.rest, err, c.want)
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
	for want, f := range map[string]Fault{
		"a fault needs a status or a delay": {NSID: 1},
		"there is no namespace 99":          {NSID: 99, Status: "busy"},
		`invalid status "0x8000": must be `: {NSID: 1, Status: "0x8000"},
		`invalid status "12": must be one `: {NSID: 1, Status: "12"},
		`invalid operation "erase": must b`: {NSID: 1, Status: "busy", Ops: []string{"erase"}},
		"namespace 1 has LBAs 0 to":         {NSID: 1, LBA: 1 << 62, Blocks: 1 << 62, Status: "busy"},
		"invalid delay -1ns: must be from ": {NSID: 1, Delay: -1},
		"invalid count -1: must be 1 or mo": {NSID: 1, Status: "busy", Count: -1},
	} {
		if _, err := Do(path, session, &Request{Fault: &f}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", f, err, want)
		}
	}
	for range maxFaults {
		if _, err := AddFault(d, &Fault{NSID: 1, Blocks: 1, Status: "busy"}); err != nil {
			t.Fatal(err)
		}
	}
	want := "the drive has 1000 faults already, and no more are possible"
	if _, err := Do(path, session, &Request{Fault: &Fault{NSID: 1, Status: "busy"}}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A process that answers something else than this version of the protocol does is an error that says so.
func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	ours := Hello{Version: Version, Session: fmt.Sprintf("%x", session), PID: 7}
	for want, answer := range map[string][]any{
		"the process that serves the image: EOF":        {},
		"pid 7 serves another image":                    {Hello{Version: Version, Session: "12", PID: 7}},
		"pid 7 ended without an answer: EOF":            {ours},
		"pid 7, which serves the image, is another ver": {Hello{Version: 99, PID: 7}},
	} {
		var b bytes.Buffer
		for _, v := range answer {
			if err := send(&b, v); err != nil {
				t.Fatal(err)
			}
		}
		_, err := exchange(&script{answer: bytes.NewReader(b.Bytes())}, session, &Request{Faults: true})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	want := fmt.Sprintf("the process that serves the image: 4294967295 bytes, at most %d are possible", MaxMessage)
	if _, err := exchange(&script{answer: bytes.NewReader([]byte{255, 255, 255, 255})}, session, &Request{}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Do(name, session, &Request{}); !errors.Is(err, ErrNobody) || !strings.HasPrefix(err.Error(), name+" is not a socket") {
		t.Errorf("%v", err)
	}
	if _, err := Do(name+"x", session, &Request{}); err == nil || err.Error() != name+"x: nobody answers at the control socket" {
		t.Errorf("%v", err)
	}
}
