package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// An image is in use while its writer lives, and crashed when that has gone without an end of its session. After an orderly
// end nothing in the file says who had it, or when.
func TestCondition(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(nil, path); err != nil {
		t.Fatal(err)
	}
	want := func(o image.Options, c image.Condition, warning string) {
		t.Helper()
		im, err := image.Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = im.Close() }()
		if got, err := im.Condition(); err != nil || got != c {
			t.Errorf("%v, %v; want %v", got, err, c)
		}
		text, err := im.Warning()
		if err != nil || warning == "" && text != "" || !strings.Contains(text, warning) {
			t.Errorf("%q, %v; want %q", text, err, warning)
		}
	}
	writer := func(unclean bool) *image.Image {
		t.Helper()
		open := image.Open
		if unclean {
			open = image.OpenUnclean
		}
		im, err := open(path, image.Options{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		return im
	}
	session := [16]byte([]byte("session id 4711!"))
	want(image.Options{}, image.Sound, "")
	im := writer(false)
	if err := im.BeginSession(layout.Session{ID: session, PID: 4711, Start: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	want(image.Options{ForceShare: true}, image.InUse, "in use by pid 4711")
	if err := im.Close(); err != nil { // it has died
		t.Fatal(err)
	}
	want(image.Options{ForceShare: true}, image.Crashed, "interrupted")
	want(image.Options{}, image.Crashed, "zones before that run")
	im = writer(true)
	if err := im.EndSession(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(b, session[:]); i >= 0 {
		t.Errorf("the session is still named at byte %d", i)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	want(image.Options{ForceShare: true}, image.Sound, "")
}
