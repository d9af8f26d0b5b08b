package main

import (
	"errors"
	"fmt"
	"io"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// writer moves a stream of data into a namespace.
//
// The image is marked as being changed first. Then data is written beyond the
// write pointers and synced, and only then are the new write pointers committed, all at
// once. A crash before that commit leaves the old write pointers, and the mark says that
// what lies beyond them is nobody's: the image is as it was. An error undoes the same by hand.
type writer struct {
	im    *image.Image
	ns    *image.Namespace
	zones *zns.Machine // nil without zones
	lba   layout.LBA
	begun bool
	// progress is told the bytes that are written; its error stops the work.
	progress func(done int64) error
	// touched has for each zone written to how far it was written before.
	touched map[uint64]layout.LBA
}

// stream writes all of in and commits.
func (w *writer) stream(in io.Reader) error {
	if err := w.copy(in); err != nil {
		return errors.Join(err, w.undo())
	}
	if !w.begun {
		return nil
	}
	if w.zones != nil {
		if err := w.zones.PowerCycle(); err != nil {
			return errors.Join(err, w.undo())
		}
	}
	if err := w.im.SyncData(); err != nil {
		return errors.Join(err, w.undo())
	}
	return w.im.Commit()
}

func (w *writer) copy(in io.Reader) error {
	buf := make([]byte, ioChunk)
	for done := int64(0); ; {
		if err := w.progress(done); err != nil {
			return err
		}
		room, err := w.room()
		if err != nil {
			return err
		}
		if room == 0 {
			return w.full(in)
		}
		length, err := io.ReadFull(in, buf[:room])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return err
		}
		if length > 0 {
			if err := w.put(buf, length); err != nil {
				return err
			}
			done += int64(length)
		}
		if end {
			return w.progress(done)
		}
	}
}

// room is how many bytes can be written in one go: up to a zone's capacity, at
// whose end the next zone begins.
func (w *writer) room() (int, error) {
	if w.lba >= w.ns.Blocks {
		return 0, nil
	}
	space := w.ns.Blocks - w.lba
	if w.zones != nil {
		i := uint64(w.lba / w.ns.ZoneSize)
		z, err := w.ns.Zone(i)
		if err != nil {
			return 0, err
		}
		if _, ours := w.touched[i]; ours && w.lba == z.End() {
			w.lba = layout.LBA(i+1) * w.ns.ZoneSize
			return w.room()
		}
		space = max(1, z.End()-min(w.lba, z.End())) // a block that has no place is refused by the zone
	}
	return int(min(ioChunk, w.ns.ByteOff(min(space, ioChunk)))), nil
}

// full refuses data that is left when the namespace is at its end.
func (w *writer) full(in io.Reader) error {
	if n, err := io.ReadFull(in, make([]byte, 1)); n == 0 {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	return fmt.Errorf("the data goes on beyond the end of namespace %d (%d blocks): %w", w.ns.ID, w.ns.Blocks, layout.ErrRange)
}

// put writes the first length bytes of buf at w.lba, the last block padded.
func (w *writer) put(buf []byte, length int) error {
	size := int(w.ns.BlockSize())
	blocks := (length + size - 1) / size
	clear(buf[length : blocks*size])
	if w.zones != nil {
		i := uint64(w.lba / w.ns.ZoneSize)
		z, err := w.ns.Zone(i)
		if err != nil {
			return err
		}
		if err := w.zones.Write(w.lba, layout.LBA(blocks)); err != nil {
			return err
		}
		if _, known := w.touched[i]; !known {
			w.touched[i] = z.Written
		}
	}
	if !w.begun {
		// Only the mark: the zone that was just opened must not be committed yet.
		if err := w.im.MarkChanging(); err != nil {
			return err
		}
		w.begun = true
	}
	if _, err := w.ns.WriteAt(buf[:blocks*size], int64(w.ns.ByteOff(w.lba))); err != nil {
		return err
	}
	w.lba += layout.LBA(blocks)
	return nil
}

// undo makes the image as it was before: what was written beyond the write
// pointers is discarded. A namespace without zones keeps what was overwritten.
func (w *writer) undo() error {
	w.im.Rollback()
	if !w.begun {
		return nil
	}
	for i, from := range w.touched {
		if err := w.ns.DiscardZone(i, from); err != nil {
			return err
		}
	}
	if err := w.im.SyncData(); err != nil {
		return err
	}
	return w.im.Commit()
}
