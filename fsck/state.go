package fsck

import (
	"errors"
	"fmt"

	"zimg/image"
	"zimg/image/journal"
	"zimg/layout"
)

// errBeyond ends a check at something that no later pass can see past; the
// finding that says so has been made.
var errBeyond = errors.New("cannot check further")

// space is a zoned namespace to be judged.
type space struct {
	ns     *layout.Namespace
	zones  layout.Zones
	img    *image.Namespace // nil for foreign metadata
	counts layout.Counts    // of the zones as repaired, after the zone pass
}

// state is what the passes share.
type state struct {
	path   string
	o      Options
	files  *image.Files
	report *Report

	loc     *layout.Locator // sound, or what it must be
	slots   [2]*image.Slot
	live    int // the slot that the image is assembled from
	im      *image.Image
	surgeon *image.Surgeon // of im
	spaces  []space
	flags   layout.StateFlags // as found
	journal *journal.Journal  // nil: none that is of use

	served   bool // a drive had the image in use and died, see checkServed
	fresh    bool // the metadata is new, see renew
	repaired bool // something is to be committed
	blocked  bool // something that may not be repaired blocks a commit
	locator  bool // the locator is to be written
	discard  []discard
	remove   []string // files to remove
	trim     []trim
}

// discard is a range of a data file that is to read as zeroes.
type discard struct {
	file     int
	off, len int64
}

// trim sets the length of a data file.
type trim struct {
	file int
	size int64
}

// found makes a finding; repair, if not nil, repairs it in memory. It is called if the
// mode allows it, and in a check too, so that later passes see what a repair would leave.
func (s *state) found(f Finding, repair func() error) error {
	e := f.Entry()
	if e == nil {
		panic(fmt.Sprintf("fsck: %s is not in the catalogue", f.Code))
	}
	allowed := repair != nil && !s.blocked && (e.Class == ClassSafe && s.o.Mode >= Safe || e.Class == ClassLossy && s.o.Mode == All)
	f.Repaired = allowed
	s.report.count(&f)
	if s.o.Found != nil {
		s.o.Found(f)
	}
	if repair == nil {
		return nil
	}
	if allowed {
		s.repaired = true
		return repair()
	}
	if s.o.Mode == CheckOnly || s.blocked { // nothing of it will be written
		return repair()
	}
	return nil
}

// inBlock is a Finding at table block num of slot.
func (s *state) inMeta(c Code, off int64, detail string) Finding {
	return Finding{Code: c, File: s.files.MetaName(), Off: off, Detail: detail}
}

// pending reports whether there is anything to write.
func (s *state) pending() bool {
	return s.repaired && !s.blocked
}

// describe adds the namespaces to the summary.
func (s *state) describe() {
	sum := &s.report.Summary
	for _, n := range s.im.Namespaces() {
		sum.Namespaces++
		sum.Size += int64(n.Size())
	}
}
