package fsck

import (
	"errors"

	"zimg/image/foreign"
	"zimg/layout"
)

// verdicts are the codes for what an original would do.
var verdicts = map[foreign.Verdict]Code{
	foreign.Odd: ForeignOdd, foreign.Changed: ForeignChanged, foreign.Refused: ForeignRefused, foreign.Wiped: ForeignWiped,
}

// CheckMetadata judges zones of any origin: the passes that need no container.
func CheckMetadata(m *layout.Metadata, o Options) (*Report, error) {
	s := &state{o: o, report: &Report{Mode: CheckOnly}}
	return s.report, s.checkAny(m)
}

// checkAny runs the passes that need no container.
func (s *state) checkAny(m *layout.Metadata) error {
	for i, n := range m.Namespaces {
		s.report.Summary.Namespaces++
		s.report.Summary.Size += int64(n.Size())
		if n.Zoned() {
			s.spaces = append(s.spaces, space{ns: n, zones: m.Zones[i]})
		}
	}
	if err := s.checkZones(); err != nil {
		return err
	}
	return s.checkResources()
}

// CheckForeign looks at path as decode decodes it: at what the original would object to, then at
// the zones. What cannot be decoded is a finding, unless it is not of the format at all or could
// not be read.
func CheckForeign(path string, decode func() (*foreign.Decoded, error), o Options) (*Report, error) {
	o.Mode = CheckOnly
	s := &state{path: path, o: o, report: &Report{Path: path}}
	unreadable := func(err error) error {
		if !errors.Is(err, layout.ErrDamaged) {
			return err
		}
		s.report.Unreadable = true
		return s.found(Finding{Code: ForeignUnreadable, Detail: err.Error()}, nil)
	}
	d, err := decode()
	if err != nil {
		return s.report, unreadable(err)
	}
	for _, p := range d.Problems {
		if err := s.problem(p); err != nil {
			return nil, err
		}
	}
	if d.Walk != nil {
		if err := d.Walk(s.problem); err != nil {
			return s.report, unreadable(err)
		}
	}
	for _, l := range d.Lost {
		if err := s.found(Finding{Code: ForeignOdd, Detail: "cannot be imported: " + l}, nil); err != nil {
			return nil, err
		}
	}
	if err := s.checkAny(d.Metadata()); err != nil {
		s.report.Summary = Summary{}
		return s.report, unreadable(err)
	}
	for _, c := range d.Contents {
		if s.report.Errors > 0 && c.AtRest().CheckSound(path) != nil {
			s.report.Unsound = true
		}
	}
	return s.report, nil
}

// problem makes a finding of what a decoder found.
func (s *state) problem(p foreign.Problem) error {
	return s.found(Finding{
		Code: verdicts[p.Verdict], Zone: p.Zone, InZone: p.InZone, File: p.File, Off: p.Off, Detail: p.Text, Got: p.Got, Want: p.Want,
	}, nil)
}
