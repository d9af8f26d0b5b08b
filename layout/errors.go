package layout

import (
	"errors"
	"fmt"
	"strings"
)

// The answers to "what is this?". They are three different ones: a file that
// was never an image, one that a later zimg made, and one that is ours and damaged.
var (
	ErrNotImage = errors.New("not a zimg image")
	ErrNewer    = errors.New("made by a newer version of zimg")
	ErrDamaged  = errors.New("damaged")
)

// ErrRange is wrapped by errors about a zone, block or namespace that an image does not have.
var ErrRange = errors.New("out of range")

// ErrGeometry is wrapped by errors about a geometry that no image can have.
var ErrGeometry = errors.New("impossible geometry")

// kindError is an error of a kind whose own text is not shown.
type kindError struct{ err, kind error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }

// Errorf is an error of a kind, such as ErrRange, that reads as fmt.Errorf has it for format and args: the text of the
// kind is not part of it.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{fmt.Errorf(format, args...), kind}
}

// GeometryError says what is impossible about a geometry. It is an ErrGeometry.
type GeometryError struct {
	NSID NSID   // the namespace, 0 if it is about the image
	Text string // "no zones"
}

func (e *GeometryError) Error() string {
	if e.NSID == 0 {
		return e.Text
	}
	return fmt.Sprintf("namespace %d: %s", e.NSID, e.Text)
}

// Is reports whether target is ErrGeometry.
func (e *GeometryError) Is(target error) bool { return target == ErrGeometry }

// FieldError says where in a file something is not as it must be.
type FieldError struct {
	Region string // "locator", "slot 0 header", "namespace 2 zone descriptor table", ...
	Off    Bytes  // offset of the field in the file, if known; else 0
	Field  string // name of the field as in docs/FORMAT.md
	Got    any    // nil if there is nothing to show
	Want   any    // nil if there is nothing to show
	Text   string // what is wrong, in place of Field, Got and Want; "" if they say it
	Err    error  // the sentinel
}

func (e *FieldError) Error() string {
	var b strings.Builder
	b.WriteString(e.Region)
	if e.Off != 0 {
		fmt.Fprintf(&b, " at byte %d", e.Off)
	}
	fmt.Fprintf(&b, ": %s", e.Field+e.Text)
	switch {
	case e.Text != "":
	case e.Got != nil:
		fmt.Fprintf(&b, " is %v", e.Got)
	case e.Want == nil:
		b.WriteString(" is invalid")
	}
	if e.Want != nil {
		fmt.Fprintf(&b, ", want %v", e.Want)
	}
	if errors.Is(e.Err, ErrNewer) {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *FieldError) Unwrap() error { return e.Err }

// IsJudgement reports whether err is about what was read: ErrNotImage, ErrNewer or ErrDamaged. Otherwise it could not be read.
func IsJudgement(err error) bool {
	return errors.Is(err, ErrNotImage) || errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged)
}
