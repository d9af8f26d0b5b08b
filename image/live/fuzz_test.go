package live_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// crashed is an image whose server was killed in the middle of random commands.
func crashed(t testing.TB, seed uint64) map[string][]byte {
	t.Helper()
	fs := imagetest.NewMemFS()
	s := spec(layout.Trailing)
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	r, err := newRig(fs, seed)
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		if err := r.step(); err != nil {
			t.Fatal(err)
		}
	}
	r.st.Abandon()
	if err := r.im.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range fs.Names() {
		b, err := fs.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

// Whatever is in a live file, it is refused, or each zone that it leads to is one that a drive could have.
func FuzzLiveFile(f *testing.F) {
	const records = 8 + 4
	var images []map[string][]byte
	for seed := range uint64(4) {
		files := crashed(f, seed)
		images = append(images, files)
		f.Add(uint8(seed), uint16(0), files[path+live.Suffix])
		f.Add(uint8(seed), uint16(len(files[path+live.Suffix])), files[path+live.Suffix][8192:])
	}
	f.Fuzz(func(t *testing.T, which uint8, keep uint16, b []byte) {
		files := images[int(which)%len(images)]
		good := files[path+live.Suffix]
		b = slices.Concat(good[:min(int(keep), len(good))], b) // so that records are reached without a header's checksum
		if keep > 0 && len(b) < len(good) {
			b = append(b, good[len(b):]...)
		}
		resum(b, records)
		fs := imagetest.NewMemFS()
		for name, content := range files {
			fs.WriteFile(name, content)
		}
		fs.WriteFile(path+live.Suffix, b)
		viewed(t, fs)
		for _, lose := range []bool{false, true} {
			im, st, err := openStore(fs, live.Options{BootID: boot, LoseUnflushed: lose})
			if err != nil {
				if lose && !errors.Is(err, layout.ErrNewer) {
					t.Fatal(err)
				}
				continue
			}
			if err := errors.Join(st.Close(), im.Close()); err != nil {
				t.Fatal(err)
			}
			break
		}
		im, err := image.Open(path, image.Options{FS: fs})
		if errors.Is(err, image.ErrUnclean) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		judge(t, im)
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// resum makes the checksums of the header and of the records right, so that what they protect is looked at.
func resum(b []byte, records int) {
	le := binary.LittleEndian
	if len(b) >= 4096 {
		le.PutUint32(b[4092:], layout.Checksum(b[:4092]))
	}
	for i := range records {
		for half := range 2 {
			at := 8192 + 192*i + 32*half
			if at+32 > len(b) {
				return
			}
			if le.Uint32(b[at+4:]) == 0 { // never set
				continue
			}
			sum := le.AppendUint64(nil, uint64(i))
			sum = append(sum, b[at+4:at+32]...) // sequence number, state, write pointer, written
			le.PutUint32(b[at:], layout.Checksum(sum))
		}
	}
}

// viewed looks at the image as a checker does.
func viewed(t *testing.T, fs disk.FS) {
	t.Helper()
	im, err := image.OpenUnclean(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	v, err := live.NewView(im, live.Options{BootID: boot})
	if err != nil {
		return
	}
	for r, err := range v.Repairs() {
		if err != nil {
			break
		}
		if err := layout.CheckZone(r.Namespace.Namespace, r.Zone, r.Now); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// judge refuses zones that no drive could have.
func judge(t *testing.T, im *image.Image) {
	t.Helper()
	for _, n := range im.Namespaces() {
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err == nil {
				err = layout.CheckZone(n.Namespace, i, z)
			}
			if err != nil {
				t.Errorf("namespace %d zone %d: %+v: %v", n.ID, i, z, err)
			}
			i++
		}
	}
}
