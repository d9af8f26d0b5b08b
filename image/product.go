package image

import (
	"errors"
	"fmt"

	"zimg/image/disk"
	"zimg/layout"
)

// product is an image to be made: its files, under temporary names until they are complete, and how they get their
// real ones. Create, Convert and the snapshots make images this way and no other.
type product struct {
	fs      disk.FS
	data    []string // names of the data files
	sidecar string   // name of the metadata file; "" in the trailing layout
	plan    *layout.Plan
	naming  naming      // data and sidecar are filled in
	like    disk.Access // of files that replace none
	held    []disk.File // files that are replaced, which the caller has open and locked for writing
	sources []string    // files that are read and must not be replaced

	// fill writes the data; the files are empty.
	fill func(data []disk.File) error
	// meta writes the whole metadata area of a plan, without a sync, with the given compatible features.
	meta func(file disk.File, plan *layout.Plan, compat uint32) error
	// finish, if not nil, changes a trailing image that is complete but has not got its name.
	finish func(file disk.File) error
}

// make makes the image.
//
// A trailing image is one file and gets its name in one step. Several data files get their names
// before the sidecar. A pair of data file and sidecar that replaces an image goes through
// a trailing image, since two names cannot change in one step: the data file gets a
// metadata area at its end as well, replaces the old data file, and is a complete image, whatever sidecar
// is beside it (see probe). Then the sidecar gets its name, and the area is cut off. What a killed process
// leaves is finished by the next command that writes to the image (see finishMove).
func (p *product) make() (err error) {
	if err := checkDistinct(p.data, p.sidecar); err != nil {
		return err
	}
	p.naming.fs, p.naming.data, p.naming.sidecar = p.fs, p.data, p.sidecar
	r := p.replacement()
	defer func() { err = r.Abandon(err) }()
	var files []disk.File
	for _, name := range p.data {
		file, err := r.Create(name)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	if p.sidecar == "" {
		return p.publishOne(r, files)
	}
	pair := len(files) == 1 && r.Replaces(files[0])
	var trailing *layout.Plan
	if pair {
		if trailing, err = p.trailing(); err != nil {
			return err
		}
		covered, err := p.covered(trailing)
		if err != nil {
			return err
		}
		pair = !covered
	}
	last := r
	if pair {
		last = p.replacement()
		defer func() { err = last.Abandon(err) }()
	}
	meta, err := last.Create(p.sidecar)
	if err != nil {
		return err
	}
	if err := p.fill(files); err != nil {
		return err
	}
	if err := p.meta(meta, p.plan, 0); err != nil {
		return fmt.Errorf("%s: %w", p.sidecar, err)
	}
	if pair {
		return p.publishPair(r, last, files[0], trailing)
	}
	return r.Publish()
}

func (p *product) replacement() *disk.Replacement {
	return &disk.Replacement{FS: p.fs, Policy: p.naming.allow, Like: p.like, Held: p.held, Sources: p.sources}
}

func (p *product) publishOne(r *disk.Replacement, files []disk.File) error {
	if err := p.fill(files); err != nil {
		return err
	}
	if err := p.meta(files[0], p.plan, 0); err != nil {
		return fmt.Errorf("%s: %w", p.data[0], err)
	}
	if p.finish != nil {
		if err := p.finish(files[0]); err != nil {
			return err
		}
	}
	return r.Publish()
}

// publishPair publishes data with a metadata area at its end, then the sidecar, and cuts the area off.
func (p *product) publishPair(data, sidecar *disk.Replacement, file disk.File, trailing *layout.Plan) (err error) {
	var compat uint32
	if p.sidecar == p.data[0]+SidecarSuffix { // else nobody would know where it is to go
		compat = layout.Moving
	}
	if err := p.meta(file, trailing, compat); err != nil {
		return fmt.Errorf("%s: %w", p.data[0], err)
	}
	data.Keep(file)
	if err := data.Publish(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	err = sidecar.Publish()
	if err == nil {
		err = file.Truncate(int64(p.plan.DataLen[0]))
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("%s is complete, but its metadata is still at the end of the file: %w", p.data[0], err)
	}
	return err
}

// trailing is the plan of the same image in the trailing layout.
func (p *product) trailing() (*layout.Plan, error) { return relaid(p.plan, layout.Trailing, "") }

// covered reports whether the data file with a metadata area at its end would be as long as the data area of the
// sidecar that is beside it now, which would be taken for its sidecar then.
func (p *product) covered(trailing *layout.Plan) (bool, error) {
	for _, d := range p.data {
		slot, err := ReadSidecarSlot(p.fs, d+SidecarSuffix)
		if err != nil {
			if isMissing(err) || layout.IsJudgement(err) {
				continue
			}
			return false, err
		}
		if len(slot.Plan.DataLen) == 1 && slot.Plan.DataLen[0] == trailing.MetaFileLen() {
			return true, nil
		}
	}
	return false, nil
}

// relaid is the plan of the namespaces of plan in another layout, in one data file called name.
func relaid(plan *layout.Plan, kind layout.Kind, name string) (*layout.Plan, error) {
	entries := make([]*layout.Entry, len(plan.Entries))
	for i, e := range plan.Entries {
		c := *e
		c.DataFile, c.Name = 0, name
		entries[i] = &c
	}
	return layout.Place(kind, entries)
}
