// Package foreign is the seam between zimg and every other format that keeps
// zones: how a format describes itself, and what it is given to do its work.
//
//	foreign.go  Format, and what decoding gives        input.go   files to decode from
//	content.go  one namespace, its zones and its data  output.go  files to encode into
//	holds.go    what a format can hold; what is lost   records.go tables of fixed-length records
//	sound.go    what zones must be to be believed      problem.go what the original would say
//
// A format turns bytes into layout.Metadata and back. It opens nothing but what its Input
// opens for it and creates nothing but what its Output creates, so that the
// moving of files, their locks, and what happens to a half-written one are one place's
// business: image/transfer.go. Each format is a package of its own; package all lists them.
package foreign

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"zimg/image/disk"
	"zimg/layout"
)

// ErrNotFormat is wrapped by the error of a decoder that was handed something else.
var ErrNotFormat = errors.New("not of this format")

// ErrUnsupported is wrapped by errors about what a format allows and zimg does not read.
var ErrUnsupported = errors.New("not supported")

// ErrUnfinished is wrapped by the error of an encoder that leaves its work half-done: what was on a
// device is gone, and not all that should be there is.
var ErrUnfinished = errors.New("not finished")

// ErrNoGeometry is wrapped by the error of a decoder that must be given the geometry.
var ErrNoGeometry = errors.New("no geometry")

// ErrWhichBlocks is wrapped where a file may have blocks of two sizes and does not show which.
var ErrWhichBlocks = errors.New("block size unclear")

// ErrNoData is wrapped where a file of zones has no data beside it, and none was named.
var ErrNoData = errors.New("no data image")

// ErrWhichNamespace is wrapped where one namespace is meant and a file has several.
var ErrWhichNamespace = errors.New("more than one namespace")

// ErrOccupied is wrapped by the refusal to overwrite the zones of a device without being asked to.
var ErrOccupied = errors.New("data on the device would be lost")

// Shape says what files a format consists of.
type Shape int

// The shapes. The path that a user gives names the file, the data file, the directory, or what
// the names of both files begin with.
const (
	OneFile Shape = iota
	TwoFiles
	Directory
	Prefix
	Device // that is there already
)

// Format is one foreign format.
type Format struct {
	Name  string // as in -f and -O
	Title string // for people, in one line
	Shape Shape
	// Suffix of the second file's name, after the data file's (TwoFiles).
	Suffix string
	// Original is the program that reads and writes the format.
	Original string
	Holds    Holds
	// Probe reports whether h is of this format; nil for a format without a magic, which only
	// its name can choose. It must not say yes to what Decode does not recognise.
	Probe func(h *Head) bool
	// Named recognises a path by the names of files, for a format whose files have no magic; nil for others.
	Named func(fsys disk.FS, path string) bool
	// Decode reads everything but the data.
	Decode func(in *Input) (*Decoded, error)
	// Encode writes what Fit has made fit; nil for a format that is only read.
	Encode func(out *Output) error
}

// Decoded is a foreign file, or a set of them, in zimg's terms.
type Decoded struct {
	Format   *Format
	Contents []*Content
	// Facts are what info shows beside the geometry: versions, variants.
	Facts []Fact
	// Assumed says what the files do not and was taken to be so.
	Assumed []string
	// Guess is not nil if the geometry is only a guess, which is good enough to look at and not to import: it says why.
	Guess error
	// Lost says what cannot be imported.
	Lost []string
	// Problems are those of headers; Walk finds those of zones. Walk may be nil.
	Problems []Problem
	Walk     func(found func(Problem) error) error
}

// Fact is a line of info.
type Fact struct{ Key, Value string }

// Metadata is d in the form that every reader of zones takes.
func (d *Decoded) Metadata() *layout.Metadata {
	m := &layout.Metadata{}
	for _, c := range d.Contents {
		m.Namespaces = append(m.Namespaces, c.NS)
		m.Zones = append(m.Zones, c.Zones)
	}
	return m
}

// Content returns the namespace id; 0 means the only one.
func (d *Decoded) Content(id layout.NSID) (*Content, error) {
	var ids []layout.NSID
	for _, c := range d.Contents {
		if c.NS.ID == id || id == 0 && len(d.Contents) == 1 {
			return c, nil
		}
		ids = append(ids, c.NS.ID)
	}
	if id == 0 {
		return nil, fmt.Errorf("%w: %s", ErrWhichNamespace, layout.ListIDs(ids))
	}
	return nil, layout.Errorf(layout.ErrRange, "there is no namespace %d; namespaces: %s", id, layout.ListIDs(ids))
}

// Find returns the format called name.
func Find(formats []*Format, name string) (*Format, error) {
	var names []string
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("unknown format %q: must be one of %s", name, strings.Join(names, ", "))
}

// Detect recognizes the format of what path names by its magic, or returns nil. It looks at
// path itself and, where that is a plain data file, at the second file beside it.
func Detect(formats []*Format, fsys disk.FS, path string) (*Format, error) {
	for _, f := range formats {
		if f.Named != nil && f.Named(fsys, path) {
			return f, nil
		}
	}
	h, err := NewHead(fsys, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = h.Close() }()
	for _, f := range formats {
		if f.Probe != nil && f.Probe(h) {
			return f, nil
		}
	}
	if h.IsDir {
		return nil, layout.Errorf(ErrNotFormat, "%s is a directory, but not a zloop or rublk device", path)
	}
	for _, f := range formats {
		if f.Probe == nil || f.Shape != TwoFiles {
			continue
		}
		second, err := NewHead(fsys, path+f.Suffix)
		if err != nil {
			continue
		}
		yes := f.Probe(second)
		_ = second.Close()
		if yes {
			return f, nil
		}
	}
	return nil, nil
}

// Extent says that Len bytes of a namespace from Off on are those of File from FileOff
// on. What no extent covers reads as zeroes.
type Extent struct {
	Off, Len int64
	File     disk.File
	FileOff  int64
}

// Extents yields the extents that cover [from, to) of a namespace, in order. A File is
// open until the next one is asked for.
type Extents func(from, to int64) iter.Seq2[Extent, error]

// Linear is data that is in one file as a whole, byte 0 at base; after limit, an offset
// in the file, there is none.
func Linear(file disk.File, base, limit int64) Extents {
	return func(from, to int64) iter.Seq2[Extent, error] {
		return func(yield func(Extent, error) bool) {
			if to = min(to, limit-base); to > from {
				yield(Extent{Off: from, Len: to - from, File: file, FileOff: base + from}, nil)
			}
		}
	}
}

// ZoneCountError is the refusal to write zones to a device that has another number of them.
type ZoneCountError struct{ Device, Source uint64 }

func (e *ZoneCountError) Error() string {
	return fmt.Sprintf("number of zones %d does not match the source (%d)", e.Device, e.Source)
}

// Unwrap makes it a layout.ErrGeometry.
func (e *ZoneCountError) Unwrap() error { return layout.ErrGeometry }
