package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// ConvertOptions say how an image is converted.
type ConvertOptions struct {
	FS      disk.FS
	Layout  layout.Kind // 0: as the source
	Sidecar string      // path of the new sidecar; empty for DST.zmeta
	Source  string      // path of the source's sidecar; empty to find it
	Force   bool        // overwrite
	// Progress, if not nil, is told the bytes of data done and to do; an error
	// stops the conversion.
	Progress func(done, total int64) error

	replaces *replaced // the image whose place dst takes: its sidecar is expected, and its generation exceeded
}

// ConvertInPlace moves the metadata area of the image at path to the other
// layout, without touching the data: what it costs depends on the metadata alone.
//
// Trailing to sidecar:  make the sidecar, whole and durable; cut the metadata
// area off the data file.
// Sidecar to trailing:  append the metadata area; make it durable; write the locator
// behind it; remove the sidecar.
//
// While both exist, probe takes the trailing one if and only if its locator is at
// the end of a file that is longer than the sidecar says. So the cut, in the one direction,
// and the locator, in the other, switch from one to the other, and each happens or does
// not. What an interruption leaves beside the live one (a sidecar, or an unfinished
// tail) is overwritten by the next try and found by check.
func ConvertInPlace(path string, o ConvertOptions) error {
	im, err := Open(path, Options{FS: o.FS, Write: true, Sidecar: o.Source})
	if err != nil {
		return err
	}
	convert := im.toTrailing
	switch {
	case im.hdr.Kind == o.Layout || o.Layout == 0:
		err = fmt.Errorf("%s: its layout is %v already", path, im.hdr.Kind)
	case o.Layout == layout.Sidecar:
		convert = im.toSidecar
		fallthrough
	default:
		err = convert(o)
	}
	return errors.Join(err, im.Close())
}

func (im *Image) toSidecar(o ConvertOptions) error {
	data := im.files.Data[0]
	name := o.Sidecar
	if name == "" {
		name = data.Name() + SidecarSuffix
	}
	there, err := im.placeForSidecar(name, o.Force)
	if err != nil {
		return err
	}
	st := newStaging(im.files.FS, there)
	st.like(data.Name())
	plan, err := im.replan(layout.Sidecar, layout.HintName(filepath.Base(data.Name())))
	if err != nil {
		return err
	}
	meta, err := st.create(name)
	if err != nil {
		return err
	}
	err = im.copyMetadata(meta, plan)
	if err == nil {
		err = st.publish()
	}
	if err = st.abandon(err); err != nil {
		return err
	}
	if err := data.Truncate(int64(plan.DataLen[0])); err != nil {
		return err
	}
	return data.Sync()
}

// placeForSidecar tells whether there is a file to be replaced by a sidecar called name, and refuses what must
// not be: the image itself, and without force all but what an interrupted conversion has left.
func (im *Image) placeForSidecar(name string, force bool) (there bool, err error) {
	data := im.files.Data[0].Name()
	if err := distinct([]string{data, name}); err != nil {
		return false, err
	}
	if err := unclaimed(im.files.FS, data, name); err != nil {
		return false, err
	}
	info, err := im.files.FS.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if is, err := im.files.FS.Stat(data); err != nil {
		return false, err
	} else if disk.SameFile(is, info) {
		return false, bothDataAndSidecar(name)
	}
	if !force {
		old, err := uuidOf(im.files.FS, name)
		if err != nil && !isJudgement(err) {
			return false, err
		}
		if err != nil || old != im.hdr.UUID {
			return false, &HintError{Err: fmt.Errorf("%s: %w, and is not this image's", name, ErrExists), Hint: "--force overwrites it"}
		}
	}
	return true, replaceable(im.files.FS, name, info, true)
}

func (im *Image) toTrailing(o ConvertOptions) error {
	if len(im.files.Data) != 1 {
		return &HintError{
			Err:  fmt.Errorf("%s: its namespaces are in %d data files, a trailing image is one file", im.path, len(im.files.Data)),
			Hint: "convert to a new image instead: zimg convert --layout trailing SRC DST",
		}
	}
	data := im.files.Data[0]
	plan, err := im.replan(layout.Trailing, "")
	if err != nil {
		return err
	}
	length := int64(plan.DataLen[0])
	if !o.Force {
		if err := im.nothingBehind(data, length); err != nil {
			return err
		}
	}
	if err := im.appendMetadata(data, plan); err != nil {
		return errors.Join(err, data.Truncate(length))
	}
	if err := im.files.FS.Remove(im.files.MetaName()); err != nil {
		return err
	}
	return im.files.FS.SyncDir(im.files.MetaName())
}

// nothingBehind refuses to write over data that lies behind the data area, length bytes long.
func (im *Image) nothingBehind(data disk.File, length int64) error {
	off, err := data.SeekData(length)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if size, err := data.Size(); err != nil || off >= size {
		return err
	}
	return &HintError{
		Err:  fmt.Errorf("%s: holds data behind its data area, at byte %d, which would be overwritten", data.Name(), off),
		Hint: fmt.Sprintf("if an interrupted command left it: zimg check --repair %s; else cut it off: truncate -s %d %s", im.path, length, data.Name()),
	}
}

// appendMetadata makes data a trailing image; the locator is written when what it
// leads to is durable.
func (im *Image) appendMetadata(data disk.File, plan *layout.Plan) error {
	if err := data.Truncate(int64(plan.DataLen[0])); err != nil {
		return err
	}
	if err := data.Truncate(int64(plan.MetaOff)); err != nil {
		return err
	}
	if err := im.copySlots(data, plan); err != nil {
		return err
	}
	if err := data.Sync(); err != nil {
		return err
	}
	if err := writeLocator(data, plan, im.hdr.UUID); err != nil {
		return err
	}
	return data.Sync()
}

// uuidOf reads the UUID of the sidecar called name, from the newest sound slot.
func uuidOf(fsys disk.FS, name string) ([16]byte, error) {
	s, err := ReadSidecarSlot(fsys, name)
	if err != nil {
		return [16]byte{}, err
	}
	return s.Header.UUID, nil
}

// replan is the plan of im in another layout, in one data file called name.
func (im *Image) replan(kind layout.Kind, name string) (*layout.Plan, error) {
	entries := make([]*layout.Entry, len(im.plan.Entries))
	for i, e := range im.plan.Entries {
		c := *e
		c.DataFile, c.Name = 0, name
		entries[i] = &c
	}
	return layout.Place(kind, entries)
}

// copyMetadata writes the whole metadata area of plan to file.
func (im *Image) copyMetadata(file disk.File, plan *layout.Plan) error {
	if err := im.copySlots(file, plan); err != nil {
		return err
	}
	return writeLocator(file, plan, im.hdr.UUID)
}

// copySlots writes both slots of plan: im's tables, and headers that are newer
// than im's. The tables lie at the same place of a slot in every layout; only the namespace table
// differs.
func (im *Image) copySlots(file disk.File, plan *layout.Plan) error {
	sums := append([]uint32(nil), im.slots[im.live].Sums...)
	table := layout.EncodeTable(plan.Entries)
	buf := make([]byte, chunk)
	for first := uint64(0); first < plan.ChecksumCount; {
		b := buf[:min(chunk, (plan.ChecksumCount-first)*layout.BlockLen)]
		if err := im.readBlocks(b, first); err != nil {
			return err
		}
		if at := first * layout.BlockLen; at < uint64(len(table)) {
			n := copy(b, table[at:])
			for i := 0; i < n; i += layout.BlockLen {
				sums[first+uint64(i/layout.BlockLen)] = layout.Checksum(b[i : i+layout.BlockLen])
			}
		}
		if err := writeBoth(file, plan, first, b); err != nil {
			return err
		}
		first += uint64(len(b) / layout.BlockLen)
	}
	h := im.hdr
	h.Tool, h.Committed = Tool, now(Clock)
	return writeHeaders(file, plan, &h, sums, im.hdr.Generation+1)
}

// Convert makes a new image at dst with the zones and data of the one at src.
func Convert(src, dst string, o ConvertOptions) (err error) {
	im, err := Open(src, Options{FS: o.FS, Sidecar: o.Source})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if im.hdr.Flags&layout.Clean == 0 {
		return &HintError{Err: fmt.Errorf("%s: %w", src, ErrUnclean), Hint: "run: zimg check --repair " + src}
	}
	kind := o.Layout
	if kind == 0 {
		kind = im.hdr.Kind
	}
	name := ""
	names := []string{dst}
	if kind == layout.Sidecar {
		name = layout.HintName(filepath.Base(dst))
		sidecar := o.Sidecar
		if sidecar == "" {
			sidecar = dst + SidecarSuffix
		}
		names = append(names, sidecar)
	}
	plan, err := im.replan(kind, name)
	if err != nil {
		return err
	}
	if r := o.replaces; r != nil {
		if r.sidecar != "" && int64(plan.MetaFileLen()) == r.dataLen {
			return fmt.Errorf("%s: with its metadata at its end it is as long as the data area of %s: convert it to a new image instead: %w", src, r.sidecar, layout.ErrGeometry)
		}
		im.hdr.Generation = max(im.hdr.Generation, r.generation)
	}
	for _, f := range append([]disk.File{im.files.Meta}, im.files.Data...) {
		for _, n := range names {
			if filepath.Clean(n) == filepath.Clean(f.Name()) {
				return fmt.Errorf("%s is both source and destination", n)
			}
		}
	}
	if err := distinct(names); err != nil {
		return err
	}
	if err := vacant(im.files.FS, names, CreateOptions{Layout: kind, Force: o.Force}, o.replaces != nil); err != nil {
		return err
	}
	st := newStaging(im.files.FS, o.Force)
	st.like(im.files.Data[0].Name())
	defer func() { err = st.abandon(err) }()
	for _, n := range names {
		if _, err := st.create(n); err != nil {
			return err
		}
	}
	if err := im.copyData(st.files[0], plan, o.Progress); err != nil {
		return err
	}
	if err := im.copyMetadata(st.files[len(st.files)-1], plan); err != nil {
		return err
	}
	return st.publish()
}

// copyData copies the data of every namespace to where plan has it in file.
func (im *Image) copyData(file disk.File, plan *layout.Plan, progress func(done, total int64) error) error {
	if err := file.Truncate(int64(plan.DataLen[0])); err != nil {
		return err
	}
	var done, total int64
	for _, e := range plan.Entries {
		total += int64(e.DataLen)
	}
	tick := func(n int64) error {
		done += n
		if progress == nil {
			return nil
		}
		return progress(done, total)
	}
	for i, e := range plan.Entries {
		n := im.ns[i]
		if err := file.CopyFrom(n.File(), int64(n.DataOff), int64(e.DataOff), int64(e.DataLen), tick); err != nil {
			return fmt.Errorf("%s: copy namespace %d: %w", file.Name(), e.ID, err)
		}
	}
	return nil
}
