package layout

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NameLen is the space for a data file's name, in bytes.
const NameLen = 256

// NameError is a file name that an image cannot record, and that no reader follows.
type NameError struct {
	Name   string
	Reason string // "contains a slash", ...
}

func (e *NameError) Error() string { return fmt.Sprintf("file name %q %s", e.Name, e.Reason) }

// CheckFileName accepts the bare name of a file in the image's own folder, and
// returns a *NameError for everything else. An image may come from a stranger: a
// name with a directory in it would lead zimg to any file of the host, and one
// with control characters would forge lines in messages.
func CheckFileName(name string) error {
	bad := func(reason string) error { return &NameError{Name: name, Reason: reason} }
	switch {
	case name == "":
		return bad("is empty")
	case name == "." || name == "..":
		return bad("is a directory")
	case len(name) > NameLen:
		return bad(fmt.Sprintf("is longer than %d bytes", NameLen))
	case !utf8.ValidString(name):
		return bad("is not UTF-8")
	case strings.ContainsAny(name, `/\`):
		return bad("contains a slash")
	case strings.ContainsFunc(name, unicode.IsControl):
		return bad("contains a control character")
	}
	return nil
}

// HintName is name if an image can record it, or "". It is for images that are
// found by the names of their files, where the recorded name is only a hint.
func HintName(name string) string {
	if CheckFileName(name) != nil {
		return ""
	}
	return name
}

// checkNames applies the rules that span the entries of a namespace table: no
// names in a trailing image, one name for each data file, and with several data
// files a different one for each.
func (p *Plan) checkNames() error {
	names := make([]string, len(p.DataLen))
	first := make([]bool, len(p.DataLen))
	owner := map[string]uint32{}
	for _, e := range p.Entries {
		f := e.DataFile
		if e.Name != "" || len(names) > 1 {
			if err := CheckFileName(e.Name); err != nil {
				return fmt.Errorf("namespace %d: data %w", e.ID, err)
			}
		}
		switch {
		case !first[f]:
			names[f], first[f] = e.Name, true
		case names[f] != e.Name:
			return Errorf(ErrGeometry, "namespaces with the same data file name it %q and %q", names[f], e.Name)
		}
		if other, taken := owner[e.Name]; taken && other != f {
			return Errorf(ErrGeometry, "two data files are named %q", e.Name)
		}
		owner[e.Name] = f
	}
	return nil
}

// FormatUUID is u as people write it, with hyphens (RFC 9562).
func FormatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
