package crash_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/writelog"
	"zimg/layout"
)

// Whatever log and trace say, a recording is refused, or gives an image that is one.
func FuzzRecording(f *testing.F) {
	l := first()
	f.Add(l.Bytes(), []byte(l.trace.String()))
	l.finish(2)
	l.write(plainOff, 'p', 3)
	l.manage("pci_nvme_finish_zone finish zone, slba=0, idx=0, all=1")
	l.entry(plainOff, 3*block, 4, nil)
	l.write(zone+3*block, 'x', 2)
	l.write(zone+2*block, 'y', 1)
	f.Add(l.Bytes(), []byte(l.trace.String()))
	base := filepath.Join(f.TempDir(), "d.zimg")
	if err := image.Create(base, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: zoned(2)}, {Namespace: plain}}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, log, trace []byte) {
		rec := t.TempDir()
		if err := os.Link(base, filepath.Join(rec, crash.BaseName)); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{crash.LogName: log, crash.TraceName: trace} {
			if err := os.WriteFile(filepath.Join(rec, name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		r, err := crash.Open(rec)
		if err != nil {
			if !errors.Is(err, writelog.ErrNotLog) && !errors.Is(err, layout.ErrRange) {
				t.Fatal(err)
			}
			return
		}
		defer func() { _ = r.Close() }()
		for range r.Events() {
		}
		for _, fate := range []crash.Unflushed{crash.Keep, crash.Torn} {
			w, err := r.Walk(t.Context(), r.Dir, fate, 1)
			if err != nil {
				t.Fatal(err)
			}
			dst := w.Path("last")
			if err := w.Make(dst, len(r.Log.Entries)); err != nil {
				t.Fatal(err)
			}
			state(t, dst)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
