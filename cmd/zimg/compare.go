package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/image"
)

// compareView is one difference in JSON.
type compareView struct {
	Namespace uint32  `json:"nsid"`
	Zone      *uint64 `json:"zone"`
	What      string  `json:"what"`
	A         string  `json:"a,omitempty"`
	B         string  `json:"b,omitempty"`
	Offset    *int64  `json:"offset,omitempty"`
}

type compareOptions struct {
	output string
	quiet  bool
	share  bool
	all    bool
}

func newCompareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare [flags] A B",
		Short: "compare two images: geometry, zones and data",
		Long: `Compare says which zones differ in state, write pointer, capacity, attributes,
extension or written data. Identities and layouts are not compared.

Exit status: 0 the images are alike, 1 they differ, 2 they could not be compared.`,
		Example: "  zimg compare disk.zimg copy.zimg\n  zimg compare -q disk.zimg copy.zimg && echo alike",
		Args:    exactArgs("A B"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	c.Flags().StringVarP(&o.output, "output", "o", "human", "`FORMAT` of the result: human or json")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing, only the exit status tells")
	c.Flags().BoolVarP(&o.share, "force-share", "U", false, "read images that are in use")
	c.Flags().BoolVar(&o.all, "all", false, "list every difference, not only the first 20")
	return c
}

func (o *compareOptions) run(cmd *cobra.Command, a, b string) error {
	if err := oneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	diffs, more, err := o.compare(cmd, a, b)
	if err != nil {
		return withExit(2, err)
	}
	out := cmd.OutOrStdout()
	switch {
	case o.output == "json":
		if err := writeJSON(out, map[string]any{"a": a, "b": b, "identical": len(diffs) == 0, "differences": diffs}); err != nil {
			return err
		}
	case o.quiet:
	case len(diffs) == 0:
		fmt.Fprintln(out, "Images are identical.")
	default:
		for _, d := range diffs {
			fmt.Fprintln(out, d.line())
		}
		if more {
			fmt.Fprintln(out, "... and more: --all lists every difference")
		}
	}
	if len(diffs) > 0 {
		return withExit(1, nil)
	}
	return nil
}

func (o *compareOptions) compare(cmd *cobra.Command, a, b string) (_ []compareView, more bool, err error) {
	ia, err := image.Open(a, image.Options{ForceShare: o.share})
	if err != nil {
		return nil, false, err
	}
	defer closeQuietly(ia)
	ib, err := image.Open(b, image.Options{ForceShare: o.share})
	if err != nil {
		return nil, false, err
	}
	defer closeQuietly(ib)
	diffs := []compareView{}
	err = image.Compare(ia, ib, func(int64, int64) error { return cmd.Context().Err() }, func(d image.Difference) bool {
		if !o.all && len(diffs) == 20 {
			more = true
			return false
		}
		v := compareView{Namespace: uint32(d.Namespace), What: d.What, A: d.A, B: d.B}
		if d.InZone {
			v.Zone = &d.Zone
		}
		if d.Off >= 0 {
			v.Offset = &d.Off
		}
		diffs = append(diffs, v)
		return true
	})
	return diffs, more, err
}

func (v *compareView) line() string {
	place := fmt.Sprintf("namespace %d", v.Namespace)
	if v.Zone != nil {
		place += fmt.Sprintf(" zone %d", *v.Zone)
	}
	if v.Offset != nil {
		return fmt.Sprintf("%s: data differs at byte %d of the namespace", place, *v.Offset)
	}
	return fmt.Sprintf("%s: %s: %s, %s", place, v.What, v.A, v.B)
}
