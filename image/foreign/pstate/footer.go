package pstate

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// The footer of RFC v5.
const (
	FooterMagic = 0x00534E5A // "ZNS" NUL
	FooterLen   = 4096
)

// Footer is pstate with the identification block at its end: RFC v5.
//
//	 0                  64z                 +64*zdes*z
//	+------------------+-------------------+---------+---------------------------+
//	| zone descriptors | extensions        | padding | magic | version | zeroes  |
//	+------------------+-------------------+---------+---------------------------+
//
// That QEMU writes no padding, but looks for the footer 4096 bytes before the end of the last
// sector of 512 bytes: a file that does not end there it makes and cannot open again. With padding it can.
var Footer = &foreign.Format{
	Name: "pstate-footer", Title: "raw data and the zns.pstate file of QEMU's ZNS patches of November 2020 (Jensen)",
	Shape: foreign.TwoFiles, Suffix: ".pstate", Original: "QEMU with Jensen's patches of November 2020",
	Holds: holds(false),
	Probe: func(h *foreign.Head) bool {
		return len(h.Last) == FooterLen && h.Size > FooterLen && le.Uint32(h.Last) == FooterMagic
	},
	Decode: decodeFooter,
	Encode: encodeFooter,
}

// decodeFooter reads RFC v5. The file does not record the geometry: zone size and capacity follow from the
// descriptors, the block size from the length of the data image; what is left the user says.
func decodeFooter(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	f := make([]byte, FooterLen)
	if size < FooterLen+layout.DescriptorSize {
		return nil, foreign.Short(file, "a zns.pstate file", FooterLen+layout.DescriptorSize)
	}
	if err := foreign.ReadFull(file, f, size-FooterLen); err != nil {
		return nil, err
	}
	if le.Uint32(f) != FooterMagic {
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a zns.pstate file: ZNS is not 4096 bytes before its end", file.Name())
	}
	if v := le.Uint32(f[4:]); v > 1 {
		return nil, foreign.Field(file, "footer", "version (QEMU refuses to start)", size-FooterLen+4, v, 1)
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "version", Value: "1 (RFC v5)"}}}
	g := &inferred{in: in, d: d, file: file, data: data, length: size - FooterLen}
	if err := g.all(); err != nil {
		return nil, err
	}
	t, err := newTable(seriesRFC5, file, &g.ns, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	if data != nil {
		t.data = data
		if err := t.assumeOpen(d); err != nil {
			return nil, err
		}
	}
	d.Problems = t.checkFooter(f, size)
	return t.finish(d, data)
}

// checkFooter looks at the file's length and at the footer f.
func (t *table) checkFooter(f []byte, size int64) []foreign.Problem {
	var ps []foreign.Problem
	if want := foreign.DeviceLength(size); want != size {
		p := t.problem(foreign.Refused, size-FooterLen, "QEMU takes the length of the file rounded up to 512, does not find the footer there and refuses to start, though it makes such files itself; move the footer to the end of a file as long as that")
		p.Got, p.Want = fmt.Sprint(size), fmt.Sprint(want)
		ps = append(ps, p)
	}
	for i := range f {
		if i >= 8 && f[i] != 0 || i == 4 && f[i] != 1 {
			return append(ps, t.problem(foreign.Odd, size-FooterLen+int64(i), "the footer is not as RFC v5 has it"))
		}
	}
	return ps
}

// encodeFooter writes RFC v5 and the raw data image.
func encodeFooter(out *foreign.Output) error {
	n := out.NS
	if err := out.DataFile(out.Path); err != nil {
		return err
	}
	file, err := out.Create(out.Second)
	if err != nil {
		return err
	}
	ext := int64(n.ZoneCount) * layout.DescriptorSize
	// QEMU looks for the footer at the end of the last sector.
	end := foreign.DeviceLength(ext + int64(n.ZoneCount)*int64(n.ExtSize()))
	if err := file.Truncate(end + FooterLen); err != nil {
		return err
	}
	if err := writeTable(file, 0, ext, out.Content); err != nil {
		return err
	}
	f := make([]byte, FooterLen)
	le.PutUint32(f, FooterMagic)
	le.PutUint32(f[4:], 1)
	if _, err = file.WriteAt(f, end); err != nil {
		return err
	}
	return warnExtensions(out)
}
