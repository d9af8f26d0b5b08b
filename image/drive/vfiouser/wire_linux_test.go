package vfiouser

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is no message is refused by what is wrong with it, and its descriptors are closed.
func TestWireRefusals(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	rights := func(n int) []byte {
		fds := make([]int, n)
		for i := range fds {
			fds[i] = int(null.Fd())
		}
		return unix.UnixRights(fds...)
	}
	for _, c := range []struct {
		size uint32
		oob  []byte
		want string
	}{
		{headerLen - 1, nil, "vfio-user: protocol error by the client: a message of 15 bytes"},
		{maxMessage + 1, nil, "vfio-user: protocol error by the client: a message of 1048657 bytes"},
		{headerLen, rights(maxFDs + 1), "vfio-user: protocol error by the client: 17 file descriptors"},
		{headerLen, rights(200), "vfio-user: protocol error by the client: "},
	} {
		a, b := pair(t)
		head := make([]byte, headerLen)
		le.PutUint32(head[4:], c.size)
		if _, _, err := a.WriteMsgUnix(head, c.oob, nil); err != nil {
			t.Fatal(err)
		}
		w := &wire{conn: b}
		if m, err := w.read(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v, %v, want %s", m, err, c.want)
		}
		_, _ = a.Close(), b.Close()
	}
}
