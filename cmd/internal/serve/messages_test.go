//go:build linux

package serve

import (
	"net"
	"path/filepath"
	"testing"
)

// The socket of a living process is not taken over.
func TestSocketInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := removeStale(path); err == nil || err.Error() != path+" is in use by another process" {
		t.Error(err)
	}
}
