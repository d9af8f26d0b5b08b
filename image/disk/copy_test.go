//go:build unix

package disk_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"zimg/image/disk"
)

// plain hides what a file is, so that only the way by hand is left.
type plain struct{ disk.File }

// dense is a file that does not report its holes.
type dense struct{ disk.File }

func (d dense) SeekData(off int64) (int64, error) { return off, nil }
func (d dense) SeekHole(int64) (int64, error)     { return d.Size() }

func TestCopyFrom(t *testing.T) {
	t.Parallel()
	const size = 12 * mib
	src := create(t, size)
	write(t, src, noise(3*mib), 2*mib+100)
	write(t, src, noise(mib), 9*mib)
	all := content(t, src)
	for _, tt := range []struct {
		name string
		src  disk.File
	}{{"by the system", src}, {"by hand", plain{src}}, {"without holes", dense{src}}} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []struct{ srcOff, off, length int64 }{
				{0, 0, size}, {0, 4 * mib, size}, {mib, 3 * mib, 5*mib + 17}, {513, 7, 8 * mib}, {size - 5, 0, 5}, {0, 0, 0}, {6 * mib, 0, mib},
			} {
				dst := create(t, 20*mib)
				var told int64
				err := dst.CopyFrom(tt.src, r.srcOff, r.off, r.length, func(n int64) error {
					if n <= 0 {
						t.Errorf("progress of %d bytes", n)
					}
					told += n
					return nil
				})
				if err != nil {
					t.Fatalf("%+v: %v", r, err)
				}
				want := make([]byte, 20*mib)
				copy(want[r.off:], all[r.srcOff:r.srcOff+r.length])
				if !bytes.Equal(content(t, dst), want) {
					t.Errorf("%+v: the copy differs", r)
				}
				if told != r.length {
					t.Errorf("%+v: progress told %d bytes", r, told)
				}
				if got, limit := allocated(t, dst), int64(4*mib+256<<10); got > limit {
					t.Errorf("%+v: the copy takes %d bytes, more than the data", r, got)
				}
			}
		})
	}
}

func TestCopyFromStops(t *testing.T) {
	src, dst := create(t, 4*mib), create(t, 4*mib)
	write(t, src, noise(4*mib), 0)
	stop := errors.New("stop")
	for _, from := range []disk.File{src, plain{src}} {
		if err := dst.CopyFrom(from, 0, 0, 4*mib, func(int64) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("the error of progress became %v", err)
		}
		if err := dst.CopyFrom(from, mib, 0, 4*mib, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a copy beyond the end: %v", err)
		}
		if err := dst.CopyFrom(from, -1, 0, mib, nil); err == nil {
			t.Error("a copy from -1 worked")
		}
	}
}

// TestCopyFromAnyRange copies between files of random extents, both ways.
func TestCopyFromAnyRange(t *testing.T) {
	t.Parallel()
	const size = 300 << 10
	src, dst := create(t, size), create(t, 2*size)
	rapid.Check(t, func(t *rapid.T) {
		for _, f := range []disk.File{src, dst} {
			if err := f.PunchHole(0, 2*size); err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(0, 5).Draw(t, "extents") {
			n := rapid.IntRange(1, size/4).Draw(t, "length")
			if _, err := src.WriteAt(noise(n), rapid.Int64Range(0, size-int64(n)).Draw(t, "at")); err != nil {
				t.Fatal(err)
			}
		}
		all := make([]byte, size)
		if _, err := src.ReadAt(all, 0); err != nil {
			t.Fatal(err)
		}
		srcOff := rapid.Int64Range(0, size).Draw(t, "srcOff")
		length := rapid.Int64Range(0, size-srcOff).Draw(t, "length")
		off := rapid.Int64Range(0, 2*size-length).Draw(t, "off")
		var from disk.File = src
		if rapid.Bool().Draw(t, "by hand") {
			from = plain{src}
		}
		if err := dst.CopyFrom(from, srcOff, off, length, nil); err != nil {
			t.Fatal(err)
		}
		want, got := make([]byte, 2*size), make([]byte, 2*size)
		copy(want[off:], all[srcOff:srcOff+length])
		if _, err := dst.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the copy differs (%v)", err)
		}
	})
}

// Long extents go another way than short ones, past the page cache where there is one: wherever
// they begin and end, before, between and after holes.
func TestCopyFromLong(t *testing.T) {
	t.Parallel()
	const size = 96 * mib
	src := create(t, size)
	write(t, src, noise(50*mib), 3*mib)
	write(t, src, noise(20*mib+777), 70*mib)
	all := content(t, src)
	for _, r := range []struct{ srcOff, off, length int64 }{
		{0, 0, size}, {3 * mib, 4096, 50 * mib}, {3*mib + 1, 513, 49 * mib}, {4096, 0, 60*mib + 1}, {70 * mib, 1, 20*mib + 777},
	} {
		dst := create(t, size+mib)
		var told int64
		if err := dst.CopyFrom(src, r.srcOff, r.off, r.length, func(n int64) error { told += n; return nil }); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		want := make([]byte, size+mib)
		copy(want[r.off:], all[r.srcOff:r.srcOff+r.length])
		if !bytes.Equal(content(t, dst), want) || told != r.length {
			t.Errorf("%+v: the copy differs, or %d bytes were told", r, told)
		}
	}
	stop := errors.New("stop")
	dst := create(t, size)
	if err := dst.CopyFrom(src, 0, 0, size, func(int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want that of progress", err)
	}
}
