//go:build linux

package fsck_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/journal"
	"zimg/image/live"
	"zimg/layout"
)

// Whatever is kept beside an image has its mode, owner and group, also if root works on another user's image.
func TestAccessOfByProducts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.zimg")
	s := imagetest.Standard(layout.Trailing)
	s.Namespaces = s.Namespaces[:2]
	if err := s.Create(nil, name); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(name, 1234, 2345); err != nil {
			t.Fatal(err)
		}
	}
	want, err := disk.LikeName(disk.OS, name)
	if err != nil {
		t.Fatal(err)
	}
	check := func(step string, err error, files ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			expect := want
			if info.IsDir() {
				expect = want.Folder()
			}
			if got := disk.AccessOf(info); got != expect {
				t.Errorf("%s: %s has %+v, want %+v", step, file, got, expect)
			}
		}
	}
	record := func() error {
		im, err := image.Open(name, image.Options{Write: true})
		if err != nil {
			return err
		}
		return errors.Join(crash.Prepare(t.Context(), filepath.Join(dir, "rec"), im), im.Close())
	}
	check("snapshot", image.TakeSnapshot(name, "a", image.ConvertOptions{}), name+".zsnap", name+".zsnap/a.zimg")
	check("apply", image.ApplySnapshot(name, "a", image.ConvertOptions{}), name)
	check("record", record(), filepath.Join(dir, "rec"), filepath.Join(dir, "rec", crash.BaseName), filepath.Join(dir, "rec", crash.LogName))
	check("journal", journal.Write(disk.OS, name, &journal.Start{Session: [16]byte{1}}, nil, 0, true), name+journal.StartSuffix)
	if err := os.Remove(name + journal.StartSuffix); err != nil {
		t.Fatal(err)
	}
	check("grow", image.Resize(name, image.ResizeOptions{Namespace: 2, Zones: 120}), name)
	check("in place", image.ConvertInPlace(name, image.ConvertOptions{Layout: layout.Sidecar}), name, name+image.SidecarSuffix)
	check("grow a pair", image.Resize(name, image.ResizeOptions{Namespace: 2, Zones: 130}), name, name+image.SidecarSuffix)
	check("apply to a pair", image.ApplySnapshot(name, "a", image.ConvertOptions{}), name, name+image.SidecarSuffix)
	check("undo", damageAndRepair(name), name+fsck.UndoSuffix)
	check("served", serveAndDie(name), name+image.SidecarSuffix, name+image.SidecarSuffix+live.Suffix)
	if _, err := fsck.Repair(name, fsck.Options{Mode: fsck.Safe}); err != nil {
		t.Fatal(err)
	}
	s.UUID = [16]byte{9}
	check("create by force", recreate(&s, name), name)
}

// damageAndRepair damages one copy of the metadata of a pair.
func damageAndRepair(name string) error {
	file, err := os.OpenFile(name+image.SidecarSuffix, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte("damage"), 40)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	_, err = fsck.Repair(name, fsck.Options{Mode: fsck.Safe})
	return err
}

// recreate makes another image in the place of one.
func recreate(s *imagetest.Spec, name string) error {
	other := name + ".other"
	if err := s.Create(nil, other); err != nil {
		return err
	}
	return image.Convert(other, name, image.ConvertOptions{Layout: layout.Sidecar, Force: true})
}

// serveAndDie serves the image without an end.
func serveAndDie(name string) error {
	im, err := image.Open(name, image.Options{Write: true})
	if err != nil {
		return err
	}
	st, err := live.Open(im, live.Options{})
	if err != nil {
		return errors.Join(err, im.Close())
	}
	st.Abandon()
	return im.Close()
}

// A link beside an image is not followed: the undo file, which the owner of the image can read, gets nothing of what
// only root may read.
func TestLinksBesideImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("PRECIOUS"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"live file", "journal", "sidecar"} {
		name := filepath.Join(dir, what)
		s := imagetest.Standard(layout.Trailing)
		if err := s.Create(nil, name); err != nil {
			t.Fatal(err)
		}
		link := name + map[string]string{"live file": live.Suffix, "journal": journal.StartSuffix, "sidecar": image.SidecarSuffix}[what]
		switch what {
		case "live file":
			if err := errors.Join(serveAndDie(name), os.Remove(link)); err != nil {
				t.Fatal(err)
			}
		case "journal":
			im, err := image.Open(name, image.Options{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(im.BeginSession(layout.Session{ID: [16]byte{1}, BootID: disk.BootID(), PID: 1}), im.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(secret, link); err != nil {
			t.Fatal(err)
		}
		r, err := fsck.Repair(name, fsck.Options{Mode: fsck.All})
		if err != nil || r.ExitCode() != 0 {
			t.Errorf("%s stops the repair: %+v, %v", what, r, err)
		}
		if b, err := os.ReadFile(secret); err != nil || string(b) != "PRECIOUS" {
			t.Errorf("%s: %q, %v", what, b, err)
		}
		if b, err := os.ReadFile(name + fsck.UndoSuffix); err == nil && bytes.Contains(b, []byte("PRECIOUS")) {
			t.Errorf("%s: the undo file has what the link leads to", what)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: the link is gone: %v", what, err)
		}
	}
}

// A link in the place of the undo file is replaced, wherever it leads: the undo file has the mode of the image, and what the
// link led to stays as it is.
func TestLinkAsUndoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, missing := filepath.Join(dir, "open"), filepath.Join(dir, "missing")
	if err := os.WriteFile(open, []byte("PRECIOUS"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{open, missing} {
		name := filepath.Join(dir, "of-"+filepath.Base(target))
		s := imagetest.Standard(layout.Sidecar)
		s.Namespaces = s.Namespaces[:2]
		if err := errors.Join(s.Create(nil, name), os.Chmod(name, 0o600), os.Symlink(target, name+fsck.UndoSuffix)); err != nil {
			t.Fatal(err)
		}
		if err := damageAndRepair(name); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(name + fsck.UndoSuffix); err != nil || info.Mode() != 0o600 {
			t.Errorf("a link to %s: %v, %v", target, info, err)
		}
		if err := fsck.Undo(name, fsck.Options{}, false); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(open); err != nil || string(b) != "PRECIOUS" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}
