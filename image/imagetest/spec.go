package imagetest

import (
	"errors"
	"fmt"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// Stamp is what Spec and Damage write into headers: with the same time they have the same checksums every time.
var Stamp = image.Stamp{Time: time.Unix(1700000000, 0).UTC()}

// Spec is an image as a literal.
type Spec struct {
	Layout     layout.Kind
	Label      string
	UUID       [16]byte
	Namespaces []SpecNamespace
}

// SpecNamespace is a namespace of a Spec. Zones that are not named are Empty.
type SpecNamespace struct {
	layout.Namespace
	Zones map[uint64]SpecZone
}

// SpecZone is a zone that is not Empty. Data of Fill bytes is below Written.
type SpecZone struct {
	State   layout.ZoneState
	Written layout.LBA // blocks from the start of the zone
	Attrs   layout.ZoneAttrs
	Ext     string
	Fill    byte
}

// Standard is an image with every state that a zone can have, in two zoned
// namespaces of different block sizes, and a plain namespace.
func Standard(kind layout.Kind) Spec {
	return Spec{
		Layout: kind, Label: "standard", UUID: [16]byte{0x5a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15},
		Namespaces: []SpecNamespace{
			{
				Namespace: layout.Namespace{
					ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 16 * 128, ZoneCount: 16, ZoneSize: 128, ZoneCap: 96,
					MAR: 5, MOR: 3, ZDES: 1,
				},
				Zones: map[uint64]SpecZone{
					1: {State: layout.ImplicitlyOpened, Written: 8, Fill: 'a'},
					2: {State: layout.ExplicitlyOpened, Written: 16, Fill: 'b'},
					3: {State: layout.Closed, Written: 95, Fill: 'c'},
					4: {State: layout.Full, Written: 96, Fill: 'd'},
					5: {State: layout.Full, Written: 24, Fill: 'e'},
					6: {State: layout.ReadOnly, Written: 32, Fill: 'f'},
					7: {State: layout.Offline},
					8: {State: layout.Closed, Attrs: layout.ZDEV, Ext: "an extension"},
				},
			},
			{
				Namespace: layout.Namespace{
					ID: 2, CSI: layout.ZNS, BlockBits: 12, Blocks: 100 * 16, ZoneCount: 100, ZoneSize: 16, ZoneCap: 16,
					MAR: layout.NoLimit, MOR: layout.NoLimit,
				},
				Zones: map[uint64]SpecZone{0: {State: layout.Closed, Written: 1, Fill: 'x'}, 99: {State: layout.Full, Written: 16, Fill: 'y'}},
			},
			{Namespace: layout.Namespace{ID: 3, CSI: layout.NVM, BlockBits: 12, Blocks: 256}},
		},
	}
}

// Zone is zone i of namespace k as it is in the image.
func (s *Spec) Zone(k int, i uint64) layout.Zone {
	n := &s.Namespaces[k]
	z := n.EmptyZone(i)
	sz, ok := n.Zones[i]
	if !ok {
		return z
	}
	z.State, z.Attrs = sz.State, sz.Attrs
	z.Written = z.Start + sz.Written
	z.WP = z.Written
	if !z.State.HasWP() {
		z.WP = layout.NoWP
	}
	return z
}

// Create makes the image.
func (s *Spec) Create(fsys disk.FS, path string) error {
	o := image.CreateOptions{FS: fsys, Stamp: Stamp, Layout: s.Layout, Label: s.Label, UUID: s.UUID}
	for k := range s.Namespaces {
		n := &s.Namespaces[k]
		o.Namespaces = append(o.Namespaces, image.NamespaceSpec{Namespace: n.Namespace})
		if !n.Zoned() {
			o.Zones = append(o.Zones, nil)
			continue
		}
		t := &layout.ZoneSlice{Size: n.ExtSize(), Ext: map[uint64][]byte{}}
		for i := range n.ZoneCount {
			t.Table = append(t.Table, s.Zone(k, i))
			if ext := n.Zones[i].Ext; ext != "" {
				t.Ext[i] = append([]byte(ext), make([]byte, n.ExtSize()-len(ext))...)
			}
		}
		o.Zones = append(o.Zones, t)
	}
	o.Fill = func(data []disk.File, plan *layout.Plan) error {
		for k, e := range plan.Entries {
			for i, z := range s.Namespaces[k].Zones {
				if z.Fill == 0 {
					continue
				}
				b := make([]byte, e.ByteOff(z.Written))
				for j := range b {
					b[j] = z.Fill
				}
				if _, err := data[0].WriteAt(b, int64(e.DataOff+e.ByteOff(layout.LBA(i)*e.ZoneSize))); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return image.Create(path, o)
}

// ErrDiffers is wrapped by the error of a comparison.
var ErrDiffers = errors.New("differs")

// Equal compares the zones and extensions of an open image with s.
func (s *Spec) Equal(im *image.Image) error {
	if got, want := len(im.Namespaces()), len(s.Namespaces); got != want {
		return fmt.Errorf("%d namespaces, want %d: %w", got, want, ErrDiffers)
	}
	for k, n := range im.Namespaces() {
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if want := s.Zone(k, i); z != want {
				return fmt.Errorf("namespace %d zone %d: %+v, want %+v: %w", n.ID, i, z, want, ErrDiffers)
			}
			if want := s.Namespaces[k].Zones[i].Ext; want != "" {
				ext, err := n.Extension(i)
				if err != nil {
					return err
				}
				if got := string(ext[:len(want)]); got != want {
					return fmt.Errorf("namespace %d zone %d: extension %q, want %q: %w", n.ID, i, got, want, ErrDiffers)
				}
			}
			i++
		}
	}
	return nil
}

// Zones is everything that a commit can change, as one string: for comparing an
// image with what it was or should be.
func Zones(im *image.Image) (string, error) {
	text := fmt.Sprintf("%s %q\n", im.Header().UUID, im.Header().Label)
	for _, n := range im.Namespaces() {
		text += fmt.Sprintf("%d %d %v\n", n.ID, n.ZoneCount, n.Counts())
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return "", err
			}
			ext, err := n.Extension(i)
			if err != nil {
				return "", err
			}
			text += fmt.Sprintf("%d %+v %x\n", i, z, ext)
			i++
		}
	}
	return text, nil
}

// Sequential is zone i of n, which requires sequential writes, in a state and written up to a block; the rest follows from that.
func Sequential(n *layout.Namespace, i uint64, state layout.ZoneState, written layout.LBA) layout.Zone {
	z := n.EmptyZone(i)
	z.State, z.Written, z.WP = state, written, written
	if !state.HasWP() {
		z.WP = layout.NoWP
	}
	return z
}
