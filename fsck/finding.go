package fsck

import (
	"fmt"
	"strings"

	"zimg/layout"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Code Code
	// Where. Zone counts only with InZone; Off, in File, only if File is not empty.
	Namespace layout.NSID
	Zone      uint64
	InZone    bool
	File      string
	Off       int64
	Detail    string // what it is about: "slot 1", "namespace 2 write-pointer array", ...
	Got, Want string // may be empty
	Repaired  bool   // it was repaired, or a dry run would repair it
	Source    string // what a repair of a crashed run leans on: "data", "journal"
}

// Entry is what the catalogue says of f.
func (f *Finding) Entry() *Entry { return catalogue[f.Code] }

// Place is where f is, for people.
func (f *Finding) Place() string {
	var b strings.Builder
	if f.Namespace != 0 {
		fmt.Fprintf(&b, "namespace %d ", f.Namespace)
	}
	if f.InZone {
		fmt.Fprintf(&b, "zone %d ", f.Zone)
	}
	if f.File != "" {
		fmt.Fprintf(&b, "%s at byte %d ", f.File, f.Off)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// String is f in one line.
func (f *Finding) String() string {
	e := f.Entry()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Severity, f.Code)
	if p := f.Place(); p != "" {
		fmt.Fprintf(&b, ": %s", p)
	}
	fmt.Fprintf(&b, ": %s", e.Text)
	if f.Detail != "" {
		fmt.Fprintf(&b, " (%s)", f.Detail)
	}
	if f.Got != "" {
		fmt.Fprintf(&b, ": %s", f.Got)
		if f.Want != "" {
			fmt.Fprintf(&b, ", should be %s", f.Want)
		}
	} else if f.Want != "" {
		fmt.Fprintf(&b, ": should be %s", f.Want)
	}
	return b.String()
}
