package image

import "fmt"

// markedError is an error of a kind that errors.Is finds and the text does not name.
type markedError struct {
	text string
	kind error
}

func (e *markedError) Error() string { return e.text }
func (e *markedError) Unwrap() error { return e.kind }

// marked is an error of a kind, such as layout.ErrGeometry, with a text of its own.
func marked(kind error, format string, args ...any) error {
	return &markedError{text: fmt.Sprintf(format, args...), kind: kind}
}
