package image

import (
	"errors"
	"fmt"

	"zimg/layout"
)

// What a caller may want to add advice to. Their own texts never show: the messages of the errors that wrap them
// say what happened.
var (
	// ErrNoSnapshot is wrapped where an image has no snapshot of the name.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrNotInPlace is wrapped where an image cannot become another format in place, but can after a conversion.
	ErrNotInPlace = errors.New("not in place")
)

// ZoneDroppedError is the refusal to resize a namespace to fewer zones where one that would go is not Empty.
type ZoneDroppedError struct {
	Path      string
	Namespace layout.NSID
	Zone      uint64
	State     layout.ZoneState
}

func (e *ZoneDroppedError) Error() string {
	return fmt.Sprintf("%s: namespace %d zone %d is %v and would be removed", e.Path, e.Namespace, e.Zone, e.State)
}

// DataMissingError is the error of a sidecar whose data file is not beside it.
type DataMissingError struct {
	Sidecar string // as it was named
	Name    string // of the data file, beside Sidecar
	Err     error
}

func (e *DataMissingError) Error() string {
	return fmt.Sprintf("%s: its data file is missing: %v", e.Sidecar, e.Err)
}
func (e *DataMissingError) Unwrap() error { return e.Err }

// DataAfterError is the refusal to overwrite what a data file holds after its data area.
type DataAfterError struct {
	Path   string // the image
	Data   string // its data file
	Length int64  // of the data area, in bytes
	Off    int64  // the first byte found
}

func (e *DataAfterError) Error() string {
	return fmt.Sprintf("%s has data past the end of the data area (byte %d) that would be overwritten", e.Data, e.Off)
}

// markedError is an error of a kind that errors.Is finds and the text does not name.
type markedError struct {
	text  string
	kinds []error
}

func (e *markedError) Error() string   { return e.text }
func (e *markedError) Unwrap() []error { return e.kinds }

// marked is an error of a kind, such as layout.ErrGeometry, with a text of its own.
func marked(kind error, format string, args ...any) error {
	return layout.Errorf(kind, format, args...)
}
