package live_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/live"
	"zimg/layout"
)

// A reader without a lock sees the zones of a Store as they are, extensions included, while they change and are
// committed: each zone is one that there was.
func TestWatch(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "disk.zimg")
	s := spec(layout.Trailing)
	if err := s.Create(disk.OS, name); err != nil {
		t.Fatal(err)
	}
	im, err := image.OpenUnclean(name, image.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	nobody := name + ": nobody serves it on this computer: "
	if _, err := watch(name); !strings.HasPrefix(fmt.Sprint(err), nobody) {
		t.Errorf("an image is watched that nobody serves: %v, want %s", err, nobody)
	}
	st, err := live.Open(im, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := st.Namespace(1)
	seen, err := watch(name)
	if err != nil {
		t.Fatal(err)
	}
	var writer sync.WaitGroup
	done := make(chan struct{})
	var failed error
	writer.Go(func() { // zone 5: the extension says how much is written
		defer close(done)
		for i := range 3000 {
			z := n.EmptyZone(5)
			z.State, z.Attrs = layout.Closed, layout.ZDEV
			z.Written += layout.LBA(i % 12)
			z.WP = z.Written
			if failed = n.SetExtension(5, fmt.Appendf(nil, "%d", z.Written)); failed != nil {
				return
			}
			if failed = n.SetZone(5, z); failed != nil {
				return
			}
			if i%500 == 0 {
				failed = st.Flush()
			}
		}
	})
	zones := seen.Namespaces()[0]
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		i := uint64(0)
		for z, err := range zones.All(0, zones.ZoneCount) {
			if err != nil {
				t.Fatal(err)
			}
			if i != 5 {
				if want, err := n.Zone(i); err != nil || z != want {
					t.Fatalf("zone %d: %+v, it is %+v, %v", i, z, want, err)
				}
			} else if z.State != layout.Empty && z.WP != z.Written {
				t.Fatalf("zone 5: %+v", z)
			}
			i++
		}
		if _, err := zones.Extension(5); err != nil {
			t.Fatal(err)
		}
	}
	writer.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	z, err := zones.Zone(5)
	ext, extErr := zones.Extension(5)
	want, _ := n.Zone(5)
	if text := string(ext[:3]); err != nil || extErr != nil || z != want || text[:2] != fmt.Sprint(uint64(want.Written)) {
		t.Errorf("zone 5: %+v and %q, %v, %v; it is %+v", z, ext[:4], err, extErr, want)
	}
	again, err := watch(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Namespaces()[0].Counts(); got != n.Counts() {
		t.Errorf("counts %v, want %v", got, n.Counts())
	}
	for _, im := range []*image.Image{seen, again} {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func watch(name string) (*image.Image, error) {
	im, err := image.Open(name, image.Options{ForceShare: true})
	if err != nil {
		return nil, err
	}
	if err := live.Watch(im, live.Options{}); err != nil {
		_ = im.Close()
		return nil, err
	}
	return im, nil
}
