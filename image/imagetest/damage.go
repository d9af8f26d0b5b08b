package imagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/journal"
	"zimg/layout"
)

// Damage breaks the image at path in a way that has a name:
//
//	locator | header N | sums N | table N | block N NAME | both-blocks NAME
//	    bytes are flipped in the locator, or in a part of slot N; NAME is desc, wp or ext of namespace 1
//	bit N NAME         one bit of such a block is flipped
//	both-headers | both-tables
//	foreign N          slot N gets another UUID
//	generation N G     slot N gets generation G
//	set NS ZONE FIELD=VALUE...   fields of a zone: type state attrs cap start wp written (the last two
//	    from the zone's start; none for no write pointer)
//	commit NS ZONE FIELD=VALUE...   the same, in one slot only
//	counts             the header counts an Empty zone of namespace 1 as Closed
//	in-use | interrupted
//	journal EVENT;EVENT...       the journal of the run that the mark speaks of, with these lines of trace
//	data NS ZONE BLOCK TEXT      data at a block of a zone, whatever the write pointer
//	discard NS ZONE    the zone's data goes
//	truncate N | grow N          the data file, by N bytes
//	sidecar-leftover | sidecar-foreign | tail-leftover
func Damage(fsys *MemFS, path, damage string) error {
	f := strings.Fields(damage)
	d := &damager{fs: fsys, path: path}
	if err := d.open(); err != nil {
		return err
	}
	act, ok := damages[f[0]]
	if !ok {
		return fmt.Errorf("no damage is called %q", f[0])
	}
	if err := act(d, f[1:]); err != nil {
		return fmt.Errorf("%s: %w", damage, err)
	}
	return nil
}

type damager struct {
	fs   *MemFS
	path string
	meta string // the file with the metadata area
	plan *layout.Plan
	kind layout.Kind
	live int
}

// open finds out where everything is; it must come before anything is damaged so
// far that the image does not open.
func (d *damager) open() error {
	im, err := image.Open(d.path, image.Options{FS: d.fs})
	if err != nil {
		return err
	}
	d.meta, d.plan, d.kind, d.live = im.Files().MetaName(), im.Plan(), im.Header().Kind, int(im.Header().Slot)
	return im.Close()
}

var damages = map[string]func(d *damager, args []string) error{
	"locator":      func(d *damager, _ []string) error { return d.flip(int64(d.plan.MetaOff + 2*d.plan.SlotLen + 20)) },
	"header":       func(d *damager, a []string) error { return d.flip(d.slot(a[0]) + 30) },
	"sums":         func(d *damager, a []string) error { return d.flip(d.slot(a[0]) + int64(d.plan.ChecksumOff) + 4) },
	"table":        func(d *damager, a []string) error { return d.flip(d.slot(a[0]) + int64(d.plan.TableOff) + 40) },
	"block":        func(d *damager, a []string) error { return d.flip(d.slot(a[0]) + d.tableOff(a[1])) },
	"bit":          func(d *damager, a []string) error { return d.flipBit(d.slot(a[0]) + d.tableOff(a[1])) },
	"both-blocks":  func(d *damager, a []string) error { return d.both(d.tableOff(a[0])) },
	"both-headers": func(d *damager, _ []string) error { return d.both(30) },
	"both-tables":  func(d *damager, _ []string) error { return d.both(int64(d.plan.TableOff) + 40) },
	"foreign": func(d *damager, a []string) error {
		return d.header(a[0], func(h *layout.Header) { h.UUID[0] ^= 1 })
	},
	"generation": func(d *damager, a []string) error {
		g, err := strconv.ParseUint(a[1], 10, 64)
		return errors.Join(err, d.header(a[0], func(h *layout.Header) { h.Generation = g }))
	},
	"counts": func(d *damager, _ []string) error {
		for _, slot := range []string{"0", "1"} {
			if err := d.header(slot, func(h *layout.Header) { h.Counts[0][0]--; h.Counts[0][3]++ }); err != nil {
				return err
			}
		}
		return nil
	},
	"in-use": func(d *damager, _ []string) error {
		return d.change(func(im *image.Image) error { return im.BeginSession(layout.Session{PID: 4711}) })
	},
	"journal":          writeJournal,
	"interrupted":      func(d *damager, _ []string) error { return d.change((*image.Image).BeginChange) },
	"set":              func(d *damager, a []string) error { return setZone(d, a, false) },
	"commit":           func(d *damager, a []string) error { return setZone(d, a, true) },
	"data":             putData,
	"discard":          discardData,
	"truncate":         resizeData,
	"grow":             resizeData,
	"sidecar-leftover": leaveSidecar,
	"sidecar-foreign":  func(d *damager, _ []string) error { return leaveSidecar(d, []string{"foreign"}) },
	"tail-leftover":    leaveTail,
}

func (d *damager) slot(n string) int64 {
	off := int64(d.plan.MetaOff)
	if n == "1" {
		off += int64(d.plan.SlotLen)
	}
	return off
}

// tableOff is where a table of namespace 1 begins in a slot.
func (d *damager) tableOff(name string) int64 {
	t := d.plan.Entries[0].Tables
	return int64(map[string]layout.Bytes{"desc": t.Desc, "wp": t.WP, "ext": t.Ext}[name]) + 16
}

// flip changes a byte of the metadata file.
func (d *damager) flip(off int64) error {
	b, err := d.fs.ReadFile(d.meta)
	if err != nil {
		return err
	}
	b[off] ^= 0x55
	d.fs.WriteFile(d.meta, b)
	return nil
}

// flipBit flips one bit of the metadata file.
func (d *damager) flipBit(off int64) error {
	b, err := d.fs.ReadFile(d.meta)
	if err != nil {
		return err
	}
	b[off] ^= 0x10
	d.fs.WriteFile(d.meta, b)
	return nil
}

func (d *damager) both(off int64) error {
	return errors.Join(d.flip(d.slot("0")+off), d.flip(d.slot("1")+off))
}

// header rewrites a slot's header with a sound CRC.
func (d *damager) header(n string, change func(h *layout.Header)) error {
	b, err := d.fs.ReadFile(d.meta)
	if err != nil {
		return err
	}
	off := d.slot(n)
	h, err := layout.DecodeHeader(b[off:off+int64(d.plan.ChecksumOff)], layout.Bytes(off))
	if err != nil {
		return err
	}
	change(h)
	copy(b[off:], h.Encode())
	d.fs.WriteFile(d.meta, b)
	return nil
}

// change opens the image for writing.
func (d *damager) change(fn func(im *image.Image) error) (err error) {
	im, err := image.OpenUnclean(d.path, image.Options{FS: d.fs, Write: true, Stamp: Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return fn(im)
}

// zoneOf opens the image and finds a zone by its arguments.
func (d *damager) zoneOf(args []string, fn func(im *image.Image, n *image.Namespace, i uint64) error) error {
	return d.change(func(im *image.Image) error {
		id, err := strconv.ParseUint(args[0], 10, 32)
		if err != nil {
			return err
		}
		i, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		n, err := im.Namespace(layout.NSID(id))
		if err != nil {
			return err
		}
		return fn(im, n, i)
	})
}

func setZone(d *damager, args []string, once bool) error {
	return d.zoneOf(args, func(im *image.Image, n *image.Namespace, i uint64) error {
		z, err := n.Zone(i)
		if err != nil {
			return err
		}
		for _, a := range args[2:] {
			field, text, _ := strings.Cut(a, "=")
			v := uint64(layout.NoWP)
			if text != "none" {
				if v, err = strconv.ParseUint(text, 0, 64); err != nil {
					return err
				}
			}
			lba := z.Start + layout.LBA(v)
			if text == "none" {
				lba = layout.NoWP
			}
			switch field {
			case "type":
				z.Type = layout.ZoneType(v)
			case "state":
				z.State = layout.ZoneState(v)
			case "attrs":
				z.Attrs = layout.ZoneAttrs(v)
			case "cap":
				z.Cap = layout.LBA(v)
			case "start":
				z.Start = layout.LBA(v)
			case "wp":
				z.WP = lba
			case "written":
				z.Written = lba
			default:
				return fmt.Errorf("no field %q", field)
			}
		}
		if err := n.SetZone(i, z); err != nil {
			return err
		}
		// A reserved state has no count; a header's have to add up.
		c := n.Counts()
		c[0] += n.ZoneCount - c.Total()
		image.Operate(im).SetCounts(n, c)
		if once {
			return im.Commit()
		}
		return image.Operate(im).CommitBoth()
	})
}

func putData(d *damager, args []string) error {
	return d.zoneOf(args, func(_ *image.Image, n *image.Namespace, i uint64) error {
		block, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil {
			return err
		}
		_, err = n.WriteAt([]byte(args[3]), int64(n.ByteOff(layout.LBA(i)*n.ZoneSize+layout.LBA(block))))
		return err
	})
}

func discardData(d *damager, args []string) error {
	return d.zoneOf(args, func(_ *image.Image, n *image.Namespace, i uint64) error {
		return n.DiscardZone(i, layout.LBA(i)*n.ZoneSize)
	})
}

func resizeData(d *damager, args []string) (err error) {
	by, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	file, err := d.fs.Open(d.path, disk.ReadWrite, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return err
	}
	return file.Truncate(size + by)
}

// leaveSidecar leaves what an interrupted conversion to a sidecar does: this
// image's, or one of another.
func leaveSidecar(d *damager, args []string) error {
	b, err := d.fs.ReadFile(d.path)
	if err != nil {
		return err
	}
	if err := image.ConvertInPlace(d.path, image.ConvertOptions{FS: d.fs, Stamp: Stamp, Layout: layout.Sidecar}); err != nil {
		return err
	}
	d.fs.WriteFile(d.path, b)
	if len(args) == 0 {
		return nil
	}
	side := &damager{fs: d.fs, path: d.path, meta: d.path + image.SidecarSuffix, plan: &layout.Plan{ChecksumOff: d.plan.ChecksumOff, SlotLen: d.plan.SlotLen}}
	for _, slot := range []string{"0", "1"} {
		if err := side.header(slot, func(h *layout.Header) { h.UUID[0] ^= 1 }); err != nil {
			return err
		}
	}
	return nil
}

func leaveTail(d *damager, _ []string) error {
	side, err := d.fs.ReadFile(d.meta)
	if err != nil {
		return err
	}
	if err := image.ConvertInPlace(d.path, image.ConvertOptions{FS: d.fs, Stamp: Stamp, Layout: layout.Trailing}); err != nil {
		return err
	}
	d.fs.WriteFile(d.meta, side)
	b, err := d.fs.ReadFile(d.path)
	if err != nil {
		return err
	}
	copy(b[len(b)-layout.LocatorLen:], binary.LittleEndian.AppendUint64(nil, 0)) // the locator was not written yet
	d.fs.WriteFile(d.path, b)
	return nil
}

// writeJournal gives namespace 1 the block backend 0x1, and so on.
func writeJournal(d *damager, args []string) error {
	var drives []*journal.Drive
	for _, e := range d.plan.Entries {
		if e.Zoned() {
			drives = append(drives, &journal.Drive{Namespace: &e.Namespace, Backend: fmt.Sprintf("%#x", e.ID)})
		}
	}
	if err := journal.Write(d.fs, d.path, &journal.Start{Boot: disk.BootID()}, drives, 0, true); err != nil {
		return err
	}
	d.fs.WriteFile(d.path+journal.TraceSuffix, []byte(strings.ReplaceAll(strings.Join(args, " "), ";", "\n")+"\n"))
	return nil
}
