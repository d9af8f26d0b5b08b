package record_test

import (
	"os"
	"path/filepath"
	"testing"

	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive/record"
)

// moment is a moment between two commands of a recorded load.
type moment struct {
	entries       int
	durable, kept map[key]state
	seen          map[key]string // what blocks that can be written anywhere may hold
}

// After each command of a random load its recording makes the image that a power failure leaves: with "drop" what the
// model calls durable, with "keep" everything, and with "torn" of each zone and block something between the two.
func TestRecording(t *testing.T) {
	t.Parallel()
	loads, steps := 6, 150
	if testing.Short() {
		loads = 2
	}
	base := seed(t)
	images := 0
	for load := range loads {
		r := newRig(t, disk.OS, filepath.Join(t.TempDir(), "d.zimg"), base+uint64(load), false)
		dir, rec := recorder(t, r.im)
		r.serve(func(st *record.Store) { st.Record(rec) })
		moments := []moment{r.moment()}
		for range steps {
			r.step()
			moments = append(moments, r.moment())
		}
		r.host.Shutdown()
		moments = append(moments, moment{r.st.Entries(), r.now(), r.now(), r.moment().seen})
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		r.close()
		images += replay(t, dir, moments, base)
	}
	t.Logf("%d images", images)
}

func (r *rig) moment() moment {
	durable := map[key]state{}
	for k, s := range r.durable {
		durable[k] = s
	}
	seen := map[key]string{}
	for k, s := range r.seen {
		seen[k] = s
	}
	for i := range uint64(24) {
		seen[key{3, i}] = durable[key{3, i}].data
	}
	for _, w := range r.pending {
		for i := range w.count {
			seen[key{3, uint64(w.lba + i)}] += string([]byte{w.value})
		}
	}
	return moment{r.st.Entries(), durable, r.now(), seen}
}

// replay makes the image of each moment, and returns how many it made.
func replay(t *testing.T, dir string, moments []moment, seed uint64) (images int) {
	t.Helper()
	c, err := crash.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, fate := range []crash.Unflushed{crash.Drop, crash.Keep, crash.Torn} {
		w, err := c.Walk(t.Context(), c.Dir, fate, seed)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range moments {
			dst := w.Path("now")
			if err := w.Make(dst, m.entries); err != nil {
				t.Fatal(err)
			}
			images++
			var wrong string
			switch fate {
			case crash.Drop:
				wrong = dropped(t, disk.OS, dst, m)
			case crash.Keep:
				wrong = diff(t, disk.OS, dst, m.kept)
			case crash.Torn:
				wrong = between(t, disk.OS, dst, m)
			}
			if wrong != "" {
				t.Fatalf("moment %d of %d, %d entries, %s: %s", i, len(moments), m.entries, fate, wrong)
			}
			if err := os.Remove(dst); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return images
}
