package qemu

import (
	"net"
	"os"
	"strings"
	"testing"

	"zimg/image/disk"
	"zimg/image/imagetest"
)

// What a run cannot work with is refused before QEMU starts, by a message that says what it is.
func TestRefusals(t *testing.T) {
	t.Parallel()
	properties := func(list string) error { _, err := ParseProperties(list); return err }
	log := func(s *session) error { _, err := newTracelog(s); return err }
	folder := func(parent string, sizes ...int64) error { _, err := privateIn(parent, sizes); return err }
	_, none := newPrivate([]int64{-1}) // no file system has files of this size
	fs := imagetest.NewMemFS()
	memory, err := fs.Open("/memory", disk.CreateNew, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	_, descriptorErr := descriptor(memory)
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	long := "/" + strings.Repeat("x", 100)
	for _, c := range []struct {
		err  error
		want string
	}{
		{checkProperties(make([][]Property, 3), 2), "got properties of 3 controllers for 2 images"},
		{properties("a=1,,,"), `"a=1,,,": want KEY=VALUE[,KEY=VALUE...]`},
		{properties("drive=x"), "drive is not a property that can be set"},
		{log(&session{caller: callerArgs{ownLog: true}}), "QEMU writes a separate log for each thread"},
		{log(&session{private: &private{dir: "/tmp/a%b"}}), "/tmp/a%b: QEMU does not accept a log name with %"},
		{folder(long), `cannot put sockets into "` + long + `": the path is too long or has characters that QEMU does not accept`},
		{descriptorErr, "/memory cannot be passed to QEMU"},
		{(&QMP{conn: a}).send(nil, os.Stderr), "cannot pass file descriptors over this connection"},
		{none, "cannot create a directory for sockets: "},
	} {
		if c.err == nil || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}

// A run without a command does not begin.
func TestNoCommand(t *testing.T) {
	t.Parallel()
	if _, err := Run(t.Context(), Config{}, nil); err == nil || err.Error() != "no QEMU command" {
		t.Error(err)
	}
}
