package image

import (
	"encoding/hex"
	"fmt"
	"slices"

	"zimg/layout"
)

// DumpVersion is the version of Dump's JSON form.
const DumpVersion = 1

// Dump is all metadata of an image in a form for people and editors. A zone
// that is not listed is Empty, with the namespace's capacity.
type Dump struct {
	Format     string          `json:"format"` // "zimg-dump"
	Version    int             `json:"version"`
	UUID       string          `json:"uuid"`
	Label      string          `json:"label"`
	Namespaces []DumpNamespace `json:"namespaces"`
}

// DumpNamespace is the geometry of a namespace, which restore compares, and its
// zones, which it takes. Sizes of zones are in logical blocks.
type DumpNamespace struct {
	ID        layout.NSID `json:"nsid"`
	Type      string      `json:"type"`
	BlockSize int64       `json:"block-size"`
	Blocks    layout.LBA  `json:"blocks"`
	ZoneCount uint64      `json:"zone-count"`
	ZoneSize  layout.LBA  `json:"zone-size"`
	ExtSize   int         `json:"extension-size"`
	Zones     []DumpZone  `json:"zones"`
}

// DumpZone is one zone. Positions are LBAs of the namespace.
type DumpZone struct {
	Zone       uint64      `json:"zone"`
	State      string      `json:"state"`
	Capacity   layout.LBA  `json:"capacity"`
	WP         *layout.LBA `json:"write-pointer"` // null where the state has none
	Written    layout.LBA  `json:"written"`
	Attributes uint8       `json:"attributes,omitempty"`
	AttrsInfo  uint8       `json:"attributes-info,omitempty"`
	Extension  string      `json:"extension,omitempty"` // hexadecimal
}

// NewDump collects the metadata of im. With a nil error only zones that differ
// from Empty are in memory.
func NewDump(im *Image) (*Dump, error) {
	d := &Dump{Format: "zimg-dump", Version: DumpVersion, UUID: hex.EncodeToString(im.hdr.UUID[:]), Label: im.hdr.Label}
	for _, n := range im.ns {
		dn := DumpNamespace{
			ID: n.ID, Type: n.CSI.String(), BlockSize: n.BlockSize(), Blocks: n.Blocks,
			ZoneCount: n.ZoneCount, ZoneSize: n.ZoneSize, ExtSize: n.ExtSize(), Zones: []DumpZone{},
		}
		var i uint64
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			if z != n.EmptyZone(i) {
				dz, err := dumpZone(n, i, z)
				if err != nil {
					return nil, err
				}
				dn.Zones = append(dn.Zones, dz)
			}
			i++
		}
		d.Namespaces = append(d.Namespaces, dn)
	}
	return d, nil
}

func dumpZone(n *Namespace, i uint64, z layout.Zone) (DumpZone, error) {
	dz := DumpZone{Zone: i, State: z.State.String(), Capacity: z.Cap, Written: z.Written, Attributes: uint8(z.Attrs), AttrsInfo: z.AttrsInfo}
	if z.WP != layout.NoWP {
		dz.WP = &z.WP
	}
	if z.Attrs&layout.ZDEV != 0 {
		ext, err := n.Extension(i)
		if err != nil {
			return dz, err
		}
		dz.Extension = hex.EncodeToString(ext)
	}
	return dz, nil
}

// Apply puts the zones of d into im, in memory: the caller judges them and
// commits. The geometry must be im's.
func (d *Dump) Apply(im *Image) error {
	if d.Format != "zimg-dump" || d.Version != DumpVersion {
		return fmt.Errorf("not a dump of version %d (format %q, version %d): %w", DumpVersion, d.Format, d.Version, layout.ErrNotImage)
	}
	if len(d.Namespaces) != len(im.ns) {
		return fmt.Errorf("the dump has %d namespaces, the image %d: %w", len(d.Namespaces), len(im.ns), layout.ErrGeometry)
	}
	for i, dn := range d.Namespaces {
		n := im.ns[i]
		if dn.ID != n.ID || dn.Type != n.CSI.String() || dn.BlockSize != n.BlockSize() || dn.Blocks != n.Blocks ||
			dn.ZoneCount != n.ZoneCount || dn.ZoneSize != n.ZoneSize || dn.ExtSize != n.ExtSize() {
			return fmt.Errorf("namespace %d of the dump has another geometry than namespace %d of %s: %w", dn.ID, n.ID, im.path, layout.ErrGeometry)
		}
		if err := dn.apply(n); err != nil {
			return fmt.Errorf("namespace %d: %w", n.ID, err)
		}
	}
	return im.SetLabel(d.Label)
}

func (dn *DumpNamespace) apply(n *Namespace) error {
	listed := make(map[uint64]layout.Zone, len(dn.Zones))
	for _, dz := range dn.Zones {
		z, err := dz.decode(n)
		if err != nil {
			return fmt.Errorf("zone %d: %w", dz.Zone, err)
		}
		if _, twice := listed[dz.Zone]; twice {
			return fmt.Errorf("zone %d is listed twice: %w", dz.Zone, layout.ErrGeometry)
		}
		listed[dz.Zone] = z
		if dz.Extension == "" {
			continue
		}
		ext, err := hex.DecodeString(dz.Extension)
		if err != nil {
			return fmt.Errorf("zone %d: extension: %w", dz.Zone, err)
		}
		if err := n.SetExtension(dz.Zone, ext); err != nil {
			return err
		}
	}
	for i := range n.ZoneCount {
		z, ok := listed[i]
		if !ok {
			z = n.EmptyZone(i)
		}
		if err := n.SetZone(i, z); err != nil {
			return err
		}
	}
	return nil
}

func (dz *DumpZone) decode(n *Namespace) (layout.Zone, error) {
	s := slices.IndexFunc(layout.ZoneStates[:], func(s layout.ZoneState) bool { return s.String() == dz.State })
	if s < 0 {
		return layout.Zone{}, fmt.Errorf("state %q is none of a zone's: %w", dz.State, layout.ErrGeometry)
	}
	z := n.EmptyZone(dz.Zone)
	z.State, z.Cap, z.Written = layout.ZoneStates[s], dz.Capacity, dz.Written
	z.Attrs, z.AttrsInfo = layout.ZoneAttrs(dz.Attributes), dz.AttrsInfo
	z.WP = layout.NoWP
	if dz.WP != nil {
		z.WP = *dz.WP
	}
	if z.State == layout.NotWP {
		z.Type = layout.Conventional
	}
	return z, n.inRange(dz.Zone)
}
