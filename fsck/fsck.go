// Package fsck finds what is wrong with an image, and repairs it.
//
// Check runs passes over an image, each leaning only on what those before it
// found sound or repaired. What a pass finds becomes a Finding: a code of the
// catalogue, a place, what is there and what should be. A repair is made in memory
// at once, so that later passes see what a repair would leave; nothing reaches the disk
// but through Repair, which saves the old bytes to an undo file, commits in the one way
// that every commit goes, and then checks again.
//
//	fsck.go       Check, Repair                 state.go     what passes share
//	catalogue.go  every code                    finding.go   code, place, got, want
//	pass1_locator.go  pass2_slots.go  pass3_blocks.go  pass4_leftovers.go   our container
//	pass5_zones.go  pass6_resources.go          any Metadata, foreign ones too
//	pass7_data.go scan.go   how far each zone is written    foreign.go  other formats
//	salvage.go    a slot out of what is left    edits.go     a repair's writes
//	undo.go       the old bytes, and back       report.go    counts, verdict
package fsck

import (
	"context"
	"errors"
	"fmt"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// Mode says what a repair may do.
type Mode int

// What a repair fixes. Safe loses nothing that the guest wrote; All chooses where the image
// does not say, and gives up what is gone.
const (
	CheckOnly Mode = iota
	Safe
	All
)

// DataScan says when the data area is compared with the write pointers.
type DataScan int

// By default the data is looked at when the image was left by a crash, or when
// a data file was changed after the last commit.
const (
	DataAuto DataScan = iota
	DataAlways
	DataNever
)

// Options for Check and Repair.
type Options struct {
	FS      disk.FS
	Sidecar string      // path of the metadata file; empty to find it
	Stamp   image.Stamp // of what a repair writes
	Mode    Mode
	DryRun  bool // find what a repair of Mode would fix, and write nothing
	Data    DataScan
	// ForceShare checks an image that is in use; what is found may be half a change.
	ForceShare bool
	// Geometry, if not nil, places the namespaces of an image whose metadata is lost:
	// new metadata is made then, with the zones as the data says (Mode All).
	Geometry func(kind layout.Kind) (*layout.Plan, error)
	// Found is called for each finding as it is made.
	Found func(Finding)
	// Progress is called with the bytes done and the total; an error stops the check.
	Progress func(done, total int64) error
	Context  context.Context
	// BootID is the identity of this boot of the computer; zero: disk.BootID. Tests set it.
	BootID [16]byte
}

func (o *Options) bootID() [16]byte {
	if o.BootID != [16]byte{} {
		return o.BootID
	}
	return disk.BootID()
}

// ErrStopped is wrapped by the error of a check that was stopped.
var ErrStopped = errors.New("stopped")

func (o *Options) context() context.Context {
	if o.Context == nil {
		return context.Background()
	}
	return o.Context
}

func (o *Options) fs() disk.FS {
	if o.FS == nil {
		return disk.OS
	}
	return o.FS
}

// Check looks at the image that path names and changes nothing.
func Check(path string, o Options) (*Report, error) {
	o.Mode = CheckOnly
	return run(path, o)
}

// Repair fixes what o.Mode allows; Report.After is what remains.
func Repair(path string, o Options) (*Report, error) {
	r, err := run(path, o)
	if err != nil || o.DryRun || !r.Changed {
		return r, err
	}
	again := o
	again.Geometry = nil
	again.Found = nil
	again.Progress = nil
	after, err := Check(path, again)
	if err != nil {
		return r, fmt.Errorf("checking again after the repair: %w", err)
	}
	r.After = after
	return r, nil
}

// passes in the order they run in.
var passes = []func(*state) error{
	(*state).checkLocator,
	(*state).checkSlots,
	(*state).checkBlocks,
	(*state).checkLeftovers,
	(*state).checkServed,
	(*state).checkZones,
	(*state).checkData,
	(*state).checkResources,
	(*state).checkProtection,
}

func run(path string, o Options) (_ *Report, err error) {
	if path, err = disk.Resolve(o.fs(), path); err != nil {
		return nil, err
	}
	repairing := o.Mode != CheckOnly && !o.DryRun
	opening := image.Options{FS: o.FS, Write: repairing, ForceShare: o.ForceShare, Sidecar: o.Sidecar, Stamp: o.Stamp}
	files, err := image.OpenFiles(path, opening)
	if errors.Is(err, layout.ErrNotImage) && o.Geometry != nil {
		files, err = image.OpenPlain(path, opening)
	}
	if err != nil {
		return nil, err
	}
	s := &state{path: path, o: o, files: files, report: &Report{Path: path, Mode: o.Mode, DryRun: o.DryRun}}
	defer func() { err = errors.Join(err, files.Close()) }()
	for _, pass := range passes {
		if err := o.context().Err(); err != nil {
			return nil, err
		}
		if err := pass(s); err != nil {
			if errors.Is(err, errBeyond) {
				return s.report, nil // the remaining problems have been reported
			}
			return nil, err
		}
	}
	s.describe()
	if repairing && s.pending() {
		if err := s.apply(); err != nil {
			return nil, err
		}
		s.report.Changed = true
	}
	return s.report, nil
}
