package image

import (
	"errors"
	"fmt"
	"time"

	"zimg/layout"
)

// How metadata changes
//
//	slot A (live, generation g)          slot B (older)
//	                                     1. write the blocks that differ
//	                                     2. sync
//	                                     3. write the header, generation g+1
//	                                     4. sync
//
// Assumed of the disk: what was written before a sync is there after it; what
// was written since may be there or not, in any order, torn at any sector.
//
// Slot A is never touched, so until step 3 a reader finds A whatever became of
// B: B's header is the old one, of a lower generation. Its blocks may not match it any more,
// and no reader looks. A header torn in step 3 fails its CRC, and a reader
// finds A. A header that is whole was written after sync 2, so all it speaks of is
// there, and a reader finds B. So every crash leaves the commit before, or this one.
//
// "The blocks that differ" are found by comparing B's checksums with those of the
// state in memory. B's header and checksum array may be sound and its blocks still
// not match, if a commit was cut off after step 1 began; so before the first commit of an
// open image B's blocks are all read and checked, and rewritten where they do not
// match. That is reading, not writing, and it takes as long as a check of the metadata.

// Commit makes all changes durable at once, and marks the image clean unless
// a run has it in use. Without changes it does nothing.
func (im *Image) Commit() error {
	flags := im.hdr.Flags
	if flags&layout.InUse == 0 {
		flags = layout.Clean
	}
	return im.commit(flags, im.hdr.Session)
}

// BeginChange marks the image as being changed, so that if the data area
// changes and the commit after it does not happen, the next user knows. Zones
// changed so far are committed with it.
func (im *Image) BeginChange() error {
	return im.commit(im.hdr.Flags&^layout.Clean, im.hdr.Session)
}

// rollback drops all changes that were not committed.
func (im *Image) rollback() {
	live := im.slots[im.live].Header
	im.dirty = map[uint64][]byte{}
	im.hdr.Counts = append([]layout.Counts(nil), live.Counts...)
	im.hdr.Label = live.Label
}

// BeginSession marks the image as in use by a run.
func (im *Image) BeginSession(s layout.Session) error {
	return im.commit(layout.InUse, s)
}

// EndSession commits what a run left and marks the image clean.
//
// The other copy, which says who had the image in use and when, is written anew too: what is in an image then follows from
// what was done to it alone.
func (im *Image) EndSession() error {
	if err := im.commit(layout.Clean, layout.Session{}); err != nil {
		return err
	}
	other := im.slots[1-im.live]
	if other == nil || other.Header.Session == (layout.Session{}) {
		return nil
	}
	return im.forceCommit(layout.Clean, layout.Session{})
}

// SyncError is the error of a sync: what was written before it may be lost, and a later sync may not notice.
type SyncError struct{ Err error }

func (e *SyncError) Error() string { return e.Err.Error() }

// Unwrap returns what the system said.
func (e *SyncError) Unwrap() error { return e.Err }

// chunk is how much of a slot is read or written at a time: no more than stays in a cache, and than the memory
// of a short run costs to touch.
const chunk = 256 << 10

func (im *Image) commit(flags layout.StateFlags, session layout.Session) error {
	old := im.slots[im.live].Header
	if len(im.dirty) == 0 && flags == old.Flags && session == old.Session && im.hdr.Label == old.Label {
		return nil
	}
	// A change takes three commits at most: the mark, the change, and undoing it.
	if old.Flags&layout.Clean != 0 && old.Generation > layout.MaxGeneration-generationsKept {
		return fmt.Errorf("%s: %w", im.path, ErrWornOut)
	}
	return im.forceCommit(flags, session)
}

// generationsKept is how many generations must be left for a change to begin.
const generationsKept = 4

// ErrWornOut is returned when an image has had so many commits that its
// generation cannot be counted on. A copy of it begins anew.
var ErrWornOut = errors.New("the metadata generation counter is exhausted; copy the image to change it")

// forceCommit commits even where nothing has changed.
func (im *Image) forceCommit(flags layout.StateFlags, session layout.Session) error {
	if !im.write {
		return fmt.Errorf("%s: opened read-only", im.path)
	}
	if im.slots[im.live].Header.Generation >= layout.MaxGeneration {
		return fmt.Errorf("%s: %w", im.path, ErrWornOut)
	}
	target := 1 - im.live
	if err := im.commitTo(target, flags, session); err != nil {
		im.slots[target] = nil // what it holds now is not known
		return err
	}
	im.live = target
	im.dirty = map[uint64][]byte{}
	im.cache = [len(im.cache)]cachedBlock{}
	return nil
}

func (im *Image) commitTo(target int, flags layout.StateFlags, session layout.Session) error {
	live, err := im.slots[im.live].Sums()
	if err != nil {
		return err
	}
	sums := append([]uint32(nil), live...)
	for num, b := range im.dirty {
		sums[num] = layout.Checksum(b)
	}
	had, err := im.targetSums(target)
	if err != nil {
		return err
	}
	if err := im.writeDiffering(target, sums, had); err != nil {
		return err
	}
	array := layout.EncodeChecksums(sums)
	if err := im.writeArray(target, array, had); err != nil {
		return err
	}
	if err := im.files.Meta.Sync(); err != nil {
		return &SyncError{err}
	}
	h := im.hdr
	h.Generation = im.slots[im.live].Header.Generation + 1
	h.Flags, h.Session = flags, session
	h.Slot = uint32(target)
	h.Committed = im.files.stamp.now()
	h.Tool = im.files.stamp.tool()
	h.ChecksumCRC = layout.Checksum(array)
	if _, err := im.files.Meta.WriteAt(h.Encode(), im.slotOff(target)); err != nil {
		return err
	}
	if err := im.files.Meta.Sync(); err != nil {
		return &SyncError{err}
	}
	written := h
	written.Counts = append([]layout.Counts(nil), h.Counts...)
	im.slots[target] = NewSlot(&written, im.plan, sums)
	im.hdr = h
	return nil
}

// A Stamp is what goes into the headers that are written: the program that writes them, and when.
type Stamp struct {
	// Tool is the name and version of the program, at most 32 bytes; empty for "zimg".
	Tool string
	// Time is used instead of the time of day if it is not zero: so images can be reproduced.
	Time time.Time
}

func (s Stamp) tool() string {
	if s.Tool == "" {
		return "zimg"
	}
	return s.Tool
}

func (s Stamp) now() time.Time {
	if s.Time.IsZero() {
		return time.Now().UTC()
	}
	return s.Time
}

// targetSums is what the blocks of the slot to be written hold now: nil if
// that is not known.
func (im *Image) targetSums(target int) ([]uint32, error) {
	s := im.slots[target]
	if s == nil || s.Header.ChecksumCount != im.plan.ChecksumCount {
		return nil, nil
	}
	sums, err := s.Sums()
	if err != nil {
		if layout.IsJudgement(err) {
			return nil, nil
		}
		return nil, err
	}
	if im.verified {
		return sums, nil
	}
	got := make([]uint32, len(sums))
	buf := make([]byte, chunk)
	off := im.slotOff(target) + int64(im.hdr.TableOff)
	for i := 0; i < len(got); {
		b := buf[:min(chunk, (len(got)-i)*layout.BlockLen)]
		if err := readFull(im.files.Meta, b, off+int64(i)*layout.BlockLen); err != nil {
			if errors.Is(err, layout.ErrDamaged) {
				return nil, nil
			}
			return nil, err
		}
		for len(b) > 0 {
			got[i] = layout.Checksum(b[:layout.BlockLen])
			b, i = b[layout.BlockLen:], i+1
		}
	}
	im.verified = true
	return got, nil
}

// writeDiffering writes those blocks of the target slot whose checksum had is
// not the one in sums; all of them if had is nil.
func (im *Image) writeDiffering(target int, sums, had []uint32) error {
	off := im.slotOff(target) + int64(im.hdr.TableOff)
	changed := make([]bool, len(sums)) // a look into a map for each block would take longer than the rest
	for num := range im.dirty {
		changed[num] = true
	}
	var buf []byte
	start := 0
	flush := func() error {
		if len(buf) == 0 {
			return nil
		}
		_, err := im.files.Meta.WriteAt(buf, off+int64(start)*layout.BlockLen)
		buf = buf[:0]
		return err
	}
	for i := range sums {
		if had != nil && had[i] == sums[i] && !changed[i] {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		b, err := im.block(uint64(i))
		if err != nil {
			return err
		}
		if len(buf) == 0 {
			start = i
		}
		if buf = append(buf, b...); len(buf) >= chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// writeArray writes those blocks of the checksum array that differ from what the
// slot's header vouches for.
func (im *Image) writeArray(target int, array []byte, had []uint32) error {
	var old []byte
	if s := im.slots[target]; had != nil && s != nil && !s.corrected {
		sums, err := s.Sums()
		if err != nil {
			return err
		}
		old = layout.EncodeChecksums(sums)
	}
	off := im.slotOff(target) + int64(im.hdr.ChecksumOff)
	for i := 0; i < len(array); i += layout.BlockLen {
		b := array[i : i+layout.BlockLen]
		if old != nil && string(old[i:i+layout.BlockLen]) == string(b) {
			continue
		}
		if _, err := im.files.Meta.WriteAt(b, off+int64(i)); err != nil {
			return err
		}
	}
	return nil
}
