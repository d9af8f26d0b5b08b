package image_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Calls that an image cannot do what they ask for are refused by a message that says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	fs := imagetest.NewMemFS()
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	read, err := image.Open(path, image.Options{FS: fs, ForceShare: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	write, err := image.Open(path, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = write.Close() }()
	n := write.Namespaces()[0]
	for _, c := range []struct {
		err  error
		want string
	}{
		{read.BeginChange(), path + ": opened read-only"},
		{n.DiscardZone(1, n.ZoneSize-1), "block 127 is not in zone 1"},
		{second(n.ReadAt(make([]byte, 512), math.MaxInt64)), "namespace 1 has 1048576 bytes; there are no 512 bytes at 9223372036854775807"},
		{n.SetExtension(1, make([]byte, n.ExtSize()+1)), "extension of 65 bytes is too long: namespace 1 has 64 bytes per zone"},
		{second(n.ChangeZones(image.ZoneChange{Action: 99, Zones: []image.ZoneRange{{First: 1, Last: 1}}})), "invalid zone action 99"},
		{write.CheckDataAlone(), path + " (layout trailing, "},
	} {
		if c.err == nil || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
	worn := imagetest.NewMemFS()
	if err := spec.Create(worn, path); err != nil {
		t.Fatal(err)
	}
	setGeneration(t, worn, layout.MaxGeneration)
	im, err := image.Open(path, image.Options{FS: worn, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	want := path + ": the metadata generation counter is exhausted; copy the image to change it"
	if err := im.BeginChange(); !errors.Is(err, image.ErrWornOut) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func second[T any](_ T, err error) error { return err }
