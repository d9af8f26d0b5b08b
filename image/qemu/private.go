package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is how long the path of a Unix socket may be (sun_path of unix(7), less its NUL).
const maxSocketPath = 107

// private is a folder that only this user can enter, with what QEMU needs to find by name:
//
//	qmp, qtest   zimg's sockets, to which QEMU connects
//	config       defines the monitor on the first (QEMU's -readconfig)
//	trace        leads to the log of what happens to zones
//	placeholder  as the data files are until the zones are restored: their size, and no content
type private struct{ dir string }

// newPrivate makes the folder. sizes are those of the data files, whose placeholders it must be able to hold.
//
// It is in TMPDIR, unless a socket could not have so long a path, or the file system there has no files of
// these sizes.
func newPrivate(sizes []int64) (_ *private, err error) {
	var errs []error
	for _, parent := range []string{os.TempDir(), "/tmp", os.Getenv("XDG_RUNTIME_DIR"), "/dev/shm"} {
		if parent == "" {
			continue
		}
		p, err := privateIn(parent, sizes)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("cannot create a directory for sockets: %w", errors.Join(errs...))
}

func privateIn(parent string, sizes []int64) (_ *private, err error) {
	// The configuration file has no way to quote these.
	if len(filepath.Join(parent, "zimg-run-1234567890", "qtest")) > maxSocketPath || strings.ContainsAny(parent, "\"\n") {
		return nil, fmt.Errorf("cannot put sockets into %q: the path is too long or has characters that QEMU does not accept", parent)
	}
	dir, err := os.MkdirTemp(parent, "zimg-run-")
	if err != nil {
		return nil, err
	}
	p := &private{dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	for i, size := range sizes {
		file, err := os.OpenFile(p.placeholder(i), os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
			return nil, err
		}
	}
	return p, os.WriteFile(p.path("config"), []byte(p.config()), 0o600)
}

func (p *private) path(name string) string { return filepath.Join(p.dir, name) }

func (p *private) placeholder(i int) string { return p.path(fmt.Sprintf("placeholder%d", i)) }

// config is a monitor on the socket qmp. A monitor on the command line would replace the one that QEMU has by
// default, and with it what -nographic makes of Ctrl-C and Ctrl-A; one in a configuration file does not.
func (p *private) config() string {
	return fmt.Sprintf(`# zimg's own monitor
[chardev "zimg-qmp"]
  backend = "socket"
  path = "%s"

[mon "zimg-qmp"]
  mode = "control"
  chardev = "zimg-qmp"
`, p.path("qmp"))
}

// remove removes the folder.
func (p *private) remove() error { return os.RemoveAll(p.dir) }
