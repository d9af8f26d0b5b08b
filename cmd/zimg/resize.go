package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/layout"
)

type resizeOptions struct {
	ns     uint32
	shrink bool
	quiet  bool
}

func newResizeCommand() *cobra.Command {
	var o resizeOptions
	c := &cobra.Command{
		Use:   "resize [flags] IMAGE [+|-]ZONES",
		Short: "add or drop Empty zones at the end of a namespace",
		Long: `Resize changes the number of zones of a namespace: to ZONES, or by +ZONES or
-ZONES. Added zones are Empty; only Empty zones are dropped, and only with
--shrink. The namespace must be the last in its data file.`,
		Example: "  zimg resize disk.zimg +16\n  zimg resize --shrink disk.zimg -16",
		Args:    exactArgs("IMAGE [+|-]ZONES"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	c.Flags().Uint32Var(&o.ns, "ns", 0, "namespace `N` (default: the only zoned one)")
	c.Flags().BoolVar(&o.shrink, "shrink", false, "allow zones to be dropped")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	return c
}

func (o *resizeOptions) run(cmd *cobra.Command, path, size string) error {
	zones, err := o.zones(path, size)
	if err != nil {
		return err
	}
	if err := image.Resize(path, image.ResizeOptions{Namespace: layout.NSID(o.ns), Zones: zones, Shrink: o.shrink}); err != nil {
		return err
	}
	if !o.quiet {
		fmt.Fprintln(cmd.OutOrStdout(), "Image resized.")
	}
	return nil
}

// zones is the number of zones that size asks for.
func (o *resizeOptions) zones(path, size string) (uint64, error) {
	digits := strings.TrimLeft(size, "+-")
	n, err := strconv.ParseUint(digits, 10, 33)
	if err != nil || len(size)-len(digits) > 1 {
		return 0, usageError("%q is not a number of zones: ZONES, +ZONES or -ZONES", size)
	}
	if digits == size {
		return n, nil
	}
	im, err := image.Open(path, image.Options{})
	if err != nil {
		return 0, err
	}
	defer closeQuietly(im)
	for _, ns := range im.Namespaces() {
		if !ns.Zoned() || o.ns != 0 && ns.ID != layout.NSID(o.ns) {
			continue
		}
		if size[0] == '+' {
			return ns.ZoneCount + n, nil
		}
		if n >= ns.ZoneCount {
			return 0, fmt.Errorf("%s: namespace %d has %d zones, %d cannot be dropped: %w", path, ns.ID, ns.ZoneCount, n, layout.ErrRange)
		}
		return ns.ZoneCount - n, nil
	}
	return 0, fmt.Errorf("%s: no zoned namespace %d: %w", path, o.ns, layout.ErrRange)
}
