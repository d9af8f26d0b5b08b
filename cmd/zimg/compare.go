package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/compare"
	"zimg/image/transfer"
	"zimg/layout"
)

// compareShown is how many differences are listed if not all are asked for.
const compareShown = 20

// compareView is the result in JSON.
type compareView struct {
	A           string           `json:"a"`
	AState      string           `json:"a-state,omitempty"` // of an image, not of a file in a foreign format
	B           string           `json:"b"`
	BState      string           `json:"b-state,omitempty"`
	Identical   bool             `json:"identical"`
	Differences []differenceView `json:"differences"`
	Truncated   bool             `json:"differences-truncated"`
}

// differenceView is one difference in JSON.
type differenceView struct {
	Namespace *uint32 `json:"nsid"`
	Zone      *uint64 `json:"zone"`
	What      string  `json:"what"`
	A         string  `json:"a,omitempty"`
	B         string  `json:"b,omitempty"`
	Offset    *int64  `json:"offset,omitempty"`
}

type compareOptions struct {
	output  string
	quiet   bool
	share   bool
	all     bool
	strict  bool
	showBar bool
	foreign foreignOptions // of A, and the geometry of both
	formatB string
}

func newCompareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare [flags] A B",
		Short: "compare two images: geometry, zones and data",
		Long: `Compare lists differences in geometry, and the zones that differ in state, write pointer,
capacity, attributes, extension or written data. It ignores the layout. --strict also compares
labels, UUIDs, how far zones without a write pointer are written, and stale data after write
pointers.

Files in foreign formats are compared as they would be imported (see zimg convert --help). If
one side does not record part of its geometry, the other side's is used; limits that a format
cannot store are not compared.

Exit status: 0 the images are identical, 1 they differ, 2 they could not be compared.`,
		Example: "  zimg compare disk.zimg copy.zimg\n  zimg compare disk.zimg export.qcow2\n  zimg compare -q disk.zimg copy.zimg && echo identical",
		Args:    cli.ExactArgs("A B"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "human", "print the result in `FORMAT`: human or json")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing; only set the exit status")
	f.BoolVarP(&o.share, "force-share", "U", false, "read images that are in use")
	f.BoolVarP(&o.strict, "strict", "s", false, "also compare what a guest cannot see")
	f.BoolVar(&o.all, "all", false, fmt.Sprintf("list every difference, not only the first %d", compareShown))
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
	o.foreign.addFlags(f)
	f.StringVarP(&o.formatB, "second-format", "F", "", "read B as foreign format `NAME` (-f sets the format of A)")
	return c
}

func (o *compareOptions) run(cmd *cobra.Command, a, b string) error {
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	v := compareView{A: a, B: b, Differences: []differenceView{}}
	if err := o.compare(cmd, &v); err != nil {
		var usage *cli.CodedError
		if errors.As(err, &usage) {
			return err
		}
		return cli.WithExit(cli.ExitNotCompared, err)
	}
	v.Identical = len(v.Differences) == 0
	out := cmd.OutOrStdout()
	switch {
	case o.output == "json":
		if err := cli.WriteJSON(out, v); err != nil {
			return err
		}
	case o.quiet:
	case v.Identical:
		fmt.Fprintln(out, "Images are identical.")
	default:
		for _, d := range v.Differences {
			fmt.Fprintln(out, cli.OneLine(d.line()))
		}
		if v.Truncated {
			fmt.Fprintln(out, "... and more: --all lists every difference")
		}
	}
	if !v.Identical {
		return cli.WithExit(1, nil)
	}
	return nil
}

// compare opens both sides and fills in the differences.
func (o *compareOptions) compare(cmd *cobra.Command, v *compareView) (err error) {
	var sides [2]compare.Side
	o.foreign.fs = files(cmd)
	second := foreignOptions{fs: o.foreign.fs, flag: "second-format", format: o.formatB, geometry: o.foreign.geometry}
	opens := []func(*layout.Namespace) (compare.Side, string, func() error, error){
		func(like *layout.Namespace) (compare.Side, string, func() error, error) {
			return o.open(cmd, &o.foreign, v.A, like)
		},
		func(like *layout.Namespace) (compare.Side, string, func() error, error) {
			return o.open(cmd, &second, v.B, like)
		},
	}
	// A side that needs the other's geometry is opened second.
	order := []int{0, 1}
	if f, ferr := o.foreign.find(v.A, ""); ferr == nil && f != nil {
		order = []int{1, 0}
	}
	var like *layout.Namespace
	for _, i := range order {
		side, state, closer, err := opens[i](like)
		if err != nil {
			return err
		}
		defer func() { _ = closer() }()
		sides[i] = side
		*[]*string{&v.AState, &v.BState}[i] = state
		if len(side.Contents) == 1 {
			like = side.Contents[0].NS
		}
	}
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	return compare.Sides(sides[0], sides[1], compare.Options{Strict: o.strict, Progress: bar.Update, Report: func(d compare.Difference) bool {
		if v.Truncated = !o.all && len(v.Differences) == compareShown; v.Truncated {
			return false
		}
		v.Differences = append(v.Differences, newDifference(d))
		return !o.quiet || o.output == "json" // the first one is answer enough
	}})
}

// open opens one side, and returns the state of an image; like is the geometry of the other, where that is known.
func (o *compareOptions) open(cmd *cobra.Command, f *foreignOptions, path string, like *layout.Namespace) (compare.Side, string, func() error, error) {
	format, err := f.find(path, "")
	if err != nil {
		return compare.Side{}, "", nil, err
	}
	if format == nil {
		im, err := openToRead(cmd, path, image.Options{FS: files(cmd), ForceShare: o.share})
		if err != nil {
			return compare.Side{}, "", nil, err
		}
		condition, err := im.Condition()
		if err != nil {
			return compare.Side{}, "", nil, errors.Join(err, im.Close())
		}
		return compare.SideOf(im), condition.String(), im.Close, nil
	}
	t, err := f.transfer("", 0)
	if err != nil {
		return compare.Side{}, "", nil, err
	}
	if t.Geometry == nil && like != nil && !(format.Holds.Geometry && format.Holds.BlockSize) {
		t.Geometry = like
	}
	d, closer, err := transfer.Open(path, format, t, o.share)
	if err != nil {
		return compare.Side{}, "", nil, err
	}
	side := compare.Side{Holds: &format.Holds}
	for _, c := range d.Contents {
		c = c.AtRest()
		err := c.CheckSound(path)
		if c.Data == nil {
			err = fmt.Errorf("%s has no data next to it to compare", path)
		}
		if err != nil {
			return compare.Side{}, "", nil, errors.Join(err, closer())
		}
		side.Contents = append(side.Contents, c)
	}
	return side, "", closer, nil
}

func newDifference(d compare.Difference) differenceView {
	v := differenceView{What: d.What, A: d.A, B: d.B}
	if d.Namespace != 0 {
		id := uint32(d.Namespace)
		v.Namespace = &id
	}
	if d.InZone {
		v.Zone = &d.Zone
	}
	if d.Off >= 0 {
		v.Offset = &d.Off
	}
	return v
}

// line is the difference for people.
func (v *differenceView) line() string {
	place := "image"
	if v.Namespace != nil {
		place = fmt.Sprintf("namespace %d", *v.Namespace)
	}
	if v.Zone != nil {
		place += fmt.Sprintf(" zone %d", *v.Zone)
	}
	what := strings.ReplaceAll(v.What, "-", " ")
	if v.Offset != nil {
		return fmt.Sprintf("%s: %s differs at byte %d of the namespace", place, what, *v.Offset)
	}
	a, b := v.A, v.B
	if v.What == "state" {
		a, b = stateText(a), stateText(b)
	}
	return fmt.Sprintf("%s: %s: %s, %s", place, what, a, b)
}

// stateText is the name of a state, for people.
func stateText(key string) string {
	s, ok := layout.ParseZoneState(key)
	if !ok {
		return key
	}
	return s.String()
}
