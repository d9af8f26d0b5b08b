package fsck

// Report is what a check found. Counts are of findings; those repaired are not
// among Errors and Warnings.
type Report struct {
	Path     string
	Mode     Mode
	DryRun   bool
	Errors   int
	Warnings int
	Notes    int
	Fixed    int
	Lossy    int // of the errors and warnings left, how many a lossy repair removes
	// Unreadable: a foreign format whose zones cannot be read, or not all of them.
	Unreadable bool
	// Unsound: a foreign format with zones that contradict themselves, which no import believes.
	Unsound bool
	// Lost: no metadata is left. A repair needs to be given the geometry.
	Lost     bool
	NeedsAll bool // nothing can be repaired before something is given up
	Changed  bool
	UndoFile string
	After    *Report // the check after a repair
	Summary  Summary
}

// Summary is what is said about an image that could be read, as it was before a repair.
type Summary struct {
	Namespaces int
	Zones      uint64
	Active     uint64
	Full       uint64
	Written    int64 // bytes below write pointers
	Size       int64 // bytes of all namespaces
	Scanned    bool  // the data was looked at
}

// Final is the state of the image now: after the repair if there was one.
func (r *Report) Final() *Report {
	if r.After != nil {
		return r.After
	}
	return r
}

// ExitCode is the exit code of qemu-img check for r.
func (r *Report) ExitCode() int {
	f := r.Final()
	switch {
	case f.Errors > 0:
		return 2
	case f.Warnings > 0:
		return 3
	}
	return 0
}

// count adds f.
func (r *Report) count(f *Finding) {
	e := f.Entry()
	switch {
	case f.Repaired:
		r.Fixed++
		return
	case e.Severity == Error:
		r.Errors++
	case e.Severity == Warning:
		r.Warnings++
	default:
		r.Notes++
		return
	}
	if e.Class == ClassLossy {
		r.Lossy++
	}
	r.Lost = r.Lost || f.Code == SlotsLost
	r.NeedsAll = r.NeedsAll || f.Code == BlockLost || f.Code == LiveRecordDamaged || f.Code == SlotsSalvaged || f.Code == MetadataLost
}
