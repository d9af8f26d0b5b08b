package live

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"unsafe"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// Watch makes im, which is open for reading only and being served by another process, show the zones as they are at
// the moment they are asked for, instead of those of the last commit. After that process was killed they are those that it left. Each zone is whole, but a walk over several sees
// changes that are made meanwhile. Nothing is locked and nobody waits. It returns an error, and im stays as it was, if
// the image is not being served on this computer.
//
// The live file alone has every zone: a record that was never set is an Empty zone. A half of a record that is being
// stored while it is read fails its checksum, and the other one counts; if that is overwritten as well in the time of
// one read, the record is read again. So it is with the two copies of an extension.
func Watch(im *image.Image, o Options) error {
	f, err := inspect(im, o, disk.ReadOnly)
	if err != nil {
		return err
	}
	if f.Source != Records {
		return fmt.Errorf("%s: nobody serves it on this computer: %w", im.Path(), ErrNoRecords)
	}
	p := placesOf(im)
	sources := make([]image.ZoneSource, len(im.Namespaces()))
	base := uint64(0)
	for k, n := range im.Namespaces() {
		if n.Zoned() {
			w := &watched{Namespace: n.Namespace, file: f.file, base: base, extOff: p.ext[k]}
			if err := w.count(); err != nil {
				return errors.Join(err, f.file.Close())
			}
			sources[k] = w
		}
		base += n.ZoneCount
	}
	im.ShowZones(sources, f.file)
	return nil
}

// watched has the zones of a namespace that another process serves.
type watched struct {
	*layout.Namespace
	file   disk.File
	base   uint64 // number of the first zone in the live file
	extOff int64
	counts layout.Counts
}

// Counts are the numbers of zones by state when the image was opened.
func (w *watched) Counts() layout.Counts { return w.counts }

func (w *watched) count() error {
	for z, err := range w.All(0, w.ZoneCount) {
		if err != nil {
			return err
		}
		w.counts[max(0, z.State.Index())]++
	}
	return nil
}

// tries is how often a record is read that changes while it is read: each time it has to be set twice.
const tries = 1000

// read reads the records of zones from first on.
func (w *watched) read(words []uint64, first uint64) error {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
	n, err := w.file.ReadAt(b, recordsOff+int64((w.base+first)*recordLen))
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// decode is zone i by its record, which is read again while it makes no sense.
func (w *watched) decode(r *record, b *scratch, i uint64) (z layout.Zone, ext uint8, err error) {
	for range tries {
		if z, ext, err = decode(r, b, w.base+i, w.Namespace, i); err == nil {
			return z, ext, nil
		}
		if err := w.read(r[:], i); err != nil {
			return z, 0, err
		}
	}
	return z, 0, err
}

func (w *watched) zone(i uint64) (z layout.Zone, ext uint8, err error) {
	if err := w.CheckZoneNumber(i); err != nil {
		return z, 0, err
	}
	var r record
	if err := w.read(r[:], i); err != nil {
		return z, 0, err
	}
	return w.decode(&r, new(scratch), i)
}

// Zone returns zone i as it is now.
func (w *watched) Zone(i uint64) (layout.Zone, error) {
	z, _, err := w.zone(i)
	return z, err
}

// All yields count zones from first on, each as it was shortly before it is yielded.
func (w *watched) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		if count > 0 && (first >= w.ZoneCount || count > w.ZoneCount-first) {
			_, err := w.Zone(w.ZoneCount)
			yield(layout.Zone{}, err)
			return
		}
		words := make([]uint64, min(count, viewChunk)*recordWords)
		var b scratch
		for i := range count {
			in := i % viewChunk
			if in == 0 {
				words = words[:min(count-i, viewChunk)*recordWords]
				if err := w.read(words, first+i); err != nil {
					yield(layout.Zone{}, err)
					return
				}
			}
			z, _, err := w.decode((*record)(words[in*recordWords:]), &b, first+i)
			if !yield(z, err) || err != nil {
				return
			}
		}
	}
}

// Extension returns the extension of zone i as it is now.
func (w *watched) Extension(i uint64) ([]byte, error) {
	for range tries {
		_, ext, err := w.zone(i)
		if err != nil || w.ZDES == 0 {
			return nil, err
		}
		b := make([]byte, w.ExtSize())
		if ext == 0 {
			return b, nil
		}
		if _, err := w.file.ReadAt(b, w.extOff+(2*int64(i)+int64(ext)-1)*int64(len(b))); err != nil {
			return nil, err
		}
		_, again, err := w.zone(i)
		if err != nil || again == ext {
			return b, err
		}
	}
	return nil, fmt.Errorf("namespace %d zone %d: its extension keeps changing", w.ID, i)
}
