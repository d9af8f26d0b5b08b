package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"zimg/layout"
)

// ErrDump is wrapped by errors about the contents of a dump.
var ErrDump = errors.New("invalid dump")

// jsonStream reads JSON value by value, strictly: a key that is unknown, given twice or missing, and a
// value of another type are errors that name the path of the value.
type jsonStream struct {
	dec  *json.Decoder
	path []byte // of the value being read: namespaces[0].zones[3].state
}

func newJSONStream(r io.Reader) *jsonStream {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return &jsonStream{dec: dec}
}

// errorf is an error about the value being read.
func (s *jsonStream) errorf(format string, args ...any) error {
	problem := fmt.Sprintf(format, args...)
	if len(s.path) == 0 {
		return fmt.Errorf("%w: %s", ErrDump, problem)
	}
	return fmt.Errorf("%w: %s: %s", ErrDump, s.path, problem)
}

func (s *jsonStream) token() (json.Token, error) {
	t, err := s.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, s.errorf("unexpected end at byte %d", s.dec.InputOffset())
	case errors.As(err, &syntax):
		return nil, s.errorf("%v, at byte %d", syntax, syntax.Offset)
	}
	return t, err
}

// delim reads { or [.
func (s *jsonStream) delim(want json.Delim, what string) error {
	t, err := s.token()
	if err != nil {
		return err
	}
	if t != want {
		return s.errorf("%s instead of %s", describe(t), what)
	}
	return nil
}

// field reads the value of a key.
type field struct {
	key      string
	optional bool
	read     func() error
}

// object reads an object of these fields, in any order.
func (s *jsonStream) object(fields []field) error {
	if err := s.delim('{', "an object"); err != nil {
		return err
	}
	var seen uint64 // by index in fields
	base := len(s.path)
	for s.dec.More() {
		t, err := s.token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if base > 0 {
			s.path = append(s.path, '.')
		}
		s.path = append(s.path, key...)
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		switch {
		case i < 0:
			return s.errorf("unknown key")
		case seen&(1<<i) != 0:
			return s.errorf("given twice")
		}
		seen |= 1 << i
		if err := fields[i].read(); err != nil {
			return err
		}
		s.path = s.path[:base]
	}
	if _, err := s.token(); err != nil { // the closing brace
		return err
	}
	for i, f := range fields {
		if !f.optional && seen&(1<<i) == 0 {
			return s.errorf("missing key %q", f.key)
		}
	}
	return nil
}

// array reads an array; elem reads element i.
func (s *jsonStream) array(elem func(i int) error) error {
	if err := s.delim('[', "an array"); err != nil {
		return err
	}
	base := len(s.path)
	for i := 0; s.dec.More(); i++ {
		s.path = append(strconv.AppendInt(append(s.path, '['), int64(i), 10), ']')
		if err := elem(i); err != nil {
			return err
		}
		s.path = s.path[:base]
	}
	_, err := s.token()
	return err
}

// end refuses whatever follows the document.
func (s *jsonStream) end() error {
	if _, err := s.dec.Token(); !errors.Is(err, io.EOF) {
		return s.errorf("unexpected data after the end, at byte %d", s.dec.InputOffset())
	}
	return nil
}

func (s *jsonStream) text(to *string) error {
	t, err := s.token()
	if err != nil {
		return err
	}
	v, ok := t.(string)
	if !ok {
		return s.errorf("%s instead of text", describe(t))
	}
	*to = v
	return nil
}

// flag reads true or false, as 1 or 0.
func (s *jsonStream) flag(to *uint64) error {
	t, err := s.token()
	if err != nil {
		return err
	}
	v, ok := t.(bool)
	if !ok {
		return s.errorf("%s instead of true or false", describe(t))
	}
	*to = 0
	if v {
		*to = 1
	}
	return nil
}

// number reads an integer up to limit, written as one: not 1e3.
func (s *jsonStream) number(to *uint64, limit uint64) error {
	t, err := s.token()
	if err != nil {
		return err
	}
	return s.integer(t, to, limit)
}

func (s *jsonStream) integer(t json.Token, to *uint64, limit uint64) error {
	v, ok := t.(json.Number)
	if !ok {
		return s.errorf("%s instead of a number", describe(t))
	}
	n, err := strconv.ParseUint(v.String(), 10, 64)
	if err != nil || n > limit {
		return s.errorf("%s is not an integer from 0 to %d", v, limit)
	}
	*to = n
	return nil
}

// lba reads a block address, or null if to can hold that.
func (s *jsonStream) lba(to *layout.LBA) error {
	var n uint64
	err := s.number(&n, uint64(layout.NoWP)-1)
	*to = layout.LBA(n)
	return err
}

func (s *jsonStream) lbaOrNull(to **layout.LBA) error {
	t, err := s.token()
	if err != nil || t == nil {
		return err
	}
	var n uint64
	if err := s.integer(t, &n, uint64(layout.NoWP)-1); err != nil {
		return err
	}
	v := layout.LBA(n)
	*to = &v
	return nil
}

// describe names a token for an error.
func describe(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case json.Delim:
		if t == '{' {
			return "an object"
		}
		return "an array"
	case string:
		return fmt.Sprintf("text %q", t)
	}
	return fmt.Sprint(t)
}
