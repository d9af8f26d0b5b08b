package crash_test

import (
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/crash"
)

// A step that a log cannot hold, and one after the end of the log, are refused.
func TestRecorderRefuses(t *testing.T) {
	t.Parallel()
	dir := record(t, first(), 0, true)
	im, err := image.Open(filepath.Join(dir, crash.BaseName), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	r, err := crash.NewRecorder(dir, im.Namespaces())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add(crash.Step{Op: crash.ZonesFinish}, nil); err == nil || !strings.HasSuffix(err.Error(), " cannot be recorded") {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, crash.LogName)
	if err := r.Add(crash.Step{Op: crash.Write}, make([]byte, block)); err == nil || !strings.HasPrefix(err.Error(), "recording to "+log+": ") {
		t.Error(err)
	}
}
