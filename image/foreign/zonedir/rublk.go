package zonedir

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

const (
	superblock    = "superblock.json"
	oldSuperblock = "superblock"
	// maxSuperblock bounds what is read of either.
	maxSuperblock = 64 << 10
)

// super is superblock.json; sizes are in bytes.
type super struct {
	Size      int64  `json:"size"`
	ZoneSize  int64  `json:"zone_size"`
	PreAlloc  int64  `json:"pre_alloc_size"`
	ZoneCap   int64  `json:"zone_capacity"`
	Conv      uint32 `json:"zone_nr_conv"`
	MaxOpen   uint32 `json:"zone_max_open"`
	MaxActive uint32 `json:"zone_max_active"`
	Base      string `json:"base"`
}

// Rublk is the directory of rublk's zoned target.
var Rublk = &foreign.Format{
	Name: "rublk", Title: "directory of zone files of rublk's zoned target",
	Shape: foreign.Directory, Original: "rublk",
	Holds: foreign.Holds{
		States: []layout.ZoneState{layout.Empty, layout.Closed, layout.Full, layout.NotWP}, Conventional: true,
		Limits: true, Geometry: true, MinBits: 9, MaxBits: 12,
	},
	Probe: func(h *foreign.Head) bool {
		return h.IsDir && (h.Exists(name("seq-", 0)) || h.Exists(name("conv-", 0))) && (h.Exists(superblock) || h.Exists(oldSuperblock))
	},
	Decode: decodeRublk,
	Encode: encodeRublk,
}

func decodeRublk(in *foreign.Input) (*foreign.Decoded, error) {
	d := &dir{in: in, path: in.Path, cnv: "conv-", n: &layout.Namespace{ID: 1, CSI: layout.ZNS}}
	dec := &foreign.Decoded{}
	if err := in.LockDir(); err != nil { // rublk holds the directory while the device exists
		return nil, err
	}
	s, err := readSuper(in)
	if err != nil {
		return nil, err
	}
	if err := d.list(); err != nil {
		return nil, err
	}
	d.n.BlockBits = in.BlockBits(dec)
	d.n.MOR, d.n.MAR = layout.Limits(s.MaxOpen, s.MaxActive)
	file := filepath.Join(in.Path, superblock)
	if s.ZoneSize > 0 && s.Size/s.ZoneSize != int64(len(d.size)) {
		return nil, layout.Errorf(layout.ErrDamaged, "%s: size %d and zone size %d give %d zones, but there are %d files", file, s.Size, s.ZoneSize, s.Size/s.ZoneSize, len(d.size))
	}
	conv := slices.Index(d.conv, false)
	if conv < 0 {
		conv = len(d.conv)
	}
	if uint64(conv) != uint64(s.Conv) {
		dec.Problems = append(dec.Problems, foreign.Problem{Verdict: foreign.Refused, File: file, Got: fmt.Sprint(s.Conv), Want: fmt.Sprint(conv), Text: "zone_nr_conv is not the number of conventional zones' files: rublk does not find the others"})
	}
	if base, err := filepath.Abs(in.Path); s.Base != "" && err == nil && filepath.Clean(s.Base) != base {
		dec.Problems = append(dec.Problems, foreign.Problem{Verdict: foreign.Refused, File: file, Got: s.Base, Want: base, Text: "base is not the path of the directory; rublk refuses to start"})
	}
	return dec, d.complete(dec, s.ZoneSize, s.ZoneCap)
}

// readSuper reads the JSON, or the older text: five numbers, sizes in MiB.
func readSuper(in *foreign.Input) (*super, error) {
	var s super
	read := func(name string, parse func(b []byte) error) error {
		if err := disk.CheckBeside(in.FS, in.Path, name); err != nil {
			return err
		}
		return in.Brief(filepath.Join(in.Path, name), func(file disk.File) error {
			size, err := file.Size()
			if err != nil {
				return err
			}
			if size > maxSuperblock {
				return foreign.Field(file, "superblock", "length", 0, size, fmt.Sprintf("at most %d", maxSuperblock))
			}
			b := make([]byte, size)
			if err := foreign.ReadFull(file, b, 0); err != nil {
				return err
			}
			if err := parse(b); err != nil {
				return layout.Errorf(layout.ErrDamaged, "%s: %w", file.Name(), err)
			}
			return nil
		})
	}
	if _, err := in.FS.Stat(filepath.Join(in.Path, superblock)); err == nil {
		return &s, read(superblock, func(b []byte) error { return json.Unmarshal(b, &s) })
	}
	return &s, read(oldSuperblock, func(b []byte) error {
		line, _, _ := strings.Cut(string(b), "\n")
		if _, err := fmt.Sscan(line, &s.Size, &s.ZoneSize, &s.Conv, &s.MaxOpen, &s.MaxActive); err != nil {
			return err
		}
		if s.Size < 0 || s.ZoneSize < 0 || s.Size > 1<<41 || s.ZoneSize > 1<<41 {
			return fmt.Errorf("invalid size %d MiB or zone size %d MiB", s.Size, s.ZoneSize)
		}
		s.Size, s.ZoneSize = s.Size*mebi, s.ZoneSize*mebi
		s.ZoneCap = s.ZoneSize
		return nil
	})
}

func encodeRublk(out *foreign.Output) error {
	conv, err := foreign.Leading(out.Content)
	if err != nil {
		return err
	}
	base, err := filepath.Abs(out.Path)
	if err != nil {
		return err
	}
	n := out.NS
	zone := int64(n.ByteOff(n.ZoneSize))
	b, err := json.MarshalIndent(&super{
		Size: int64(n.Size()), ZoneSize: zone, PreAlloc: min(zone, 256*mebi), ZoneCap: zone,
		Conv: uint32(conv), MaxOpen: uint32(n.MaxOpen()), MaxActive: uint32(n.MaxActive()), Base: base,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := out.Mkdir(out.Path); err != nil {
		return err
	}
	file, err := out.Create(filepath.Join(out.Path, superblock))
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		return err
	}
	if err := out.Finish(file); err != nil {
		return err
	}
	if err := encode(out, "conv-"); err != nil {
		return err
	}
	out.Say("rublk add zoned --path %s; if the directory is moved, \"base\" in %s must follow", base, superblock)
	return nil
}
