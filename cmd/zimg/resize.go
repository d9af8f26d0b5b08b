package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/layout"
)

type resizeOptions struct {
	ns      uint32
	sidecar string
	shrink  bool
	quiet   bool
}

func newResizeCommand() *cobra.Command {
	var o resizeOptions
	c := &cobra.Command{
		Use:   "resize [flags] IMAGE [+|-]ZONES|SIZE",
		Short: "add or drop Empty zones at the end of a namespace",
		Long: `Resize changes the number of zones of a namespace: to ZONES, or by +ZONES or
-ZONES. A SIZE has a suffix (K, M, G, T, P, E) and is whole zones. Added zones are Empty; only Empty zones are
dropped, and only with --shrink. The namespace must be the last in its data file.

An interruption leaves the image as it was or as it is to be; one of the trailing layout may still have its
metadata in a sidecar (zimg convert --in-place --layout trailing moves it back).`,
		Example: "  zimg resize disk.zimg +16\n  zimg resize disk.zimg 64G\n  zimg resize --shrink disk.zimg -16",
		Args:    cli.ExactArgs("IMAGE [+|-]ZONES|SIZE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	c.Flags().Uint32Var(&o.ns, "ns", 0, "namespace `N` (default: the only zoned one)")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "`FILE` of the image's metadata")
	c.Flags().BoolVar(&o.shrink, "shrink", false, "allow zones to be dropped")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	return c
}

// resizeArgs puts a size with a minus behind "--", so that it is no flag: qemu-img takes it as it is, too.
func resizeArgs(args []string) []string {
	if len(args) == 0 || args[0] != "resize" {
		return args
	}
	for i, a := range args {
		if a == "--" {
			break
		}
		if len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' {
			rest := append(append([]string{}, args[:i]...), args[i+1:]...)
			return append(rest, "--", a)
		}
	}
	return args
}

func (o *resizeOptions) run(cmd *cobra.Command, path, size string) error {
	zones, err := o.zones(path, size)
	if err != nil {
		return err
	}
	opts := image.ResizeOptions{Options: image.Options{Sidecar: o.sidecar, Stamp: stamp()}, Namespace: layout.NSID(o.ns), Zones: zones, Shrink: o.shrink}
	if err := image.Resize(path, opts); err != nil {
		return err
	}
	if o.quiet {
		return nil
	}
	im, err := image.Open(path, image.Options{Sidecar: o.sidecar})
	if err != nil {
		return err
	}
	defer closeQuietly(im)
	n, err := pickNamespace(im, o.ns)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Image resized.\n  %s\n", describeNamespace(n.Namespace))
	return nil
}

// zones is the number of zones that size asks for.
func (o *resizeOptions) zones(path, size string) (uint64, error) {
	digits := strings.TrimLeft(size, "+-")
	bad := cli.UsageError("%q is not a size: ZONES, +ZONES or -ZONES, or bytes with a suffix (64G, +1G, -1G)", size)
	if len(size)-len(digits) > 1 {
		return 0, bad
	}
	n, err := strconv.ParseUint(digits, 10, 33)
	inBytes := err != nil
	if inBytes {
		b, err := cli.ParseSize(digits)
		if _, plain := strconv.ParseUint(digits, 10, 64); err != nil || plain == nil {
			return 0, bad
		}
		n = uint64(b)
	}
	if digits == size && !inBytes {
		return n, nil
	}
	im, err := image.Open(path, image.Options{Sidecar: o.sidecar})
	if err != nil {
		return 0, err
	}
	defer closeQuietly(im)
	for _, ns := range im.Namespaces() {
		if !ns.Zoned() || o.ns != 0 && ns.ID != layout.NSID(o.ns) {
			continue
		}
		if inBytes {
			zone := uint64(ns.ByteOff(ns.ZoneSize))
			if n%zone != 0 {
				return 0, fmt.Errorf("%s: %s is not a whole number of zones of %s: %w", path, digits, cli.FormatSize(int64(zone)), layout.ErrGeometry)
			}
			n /= zone
		}
		switch {
		case digits == size:
			return n, nil
		case size[0] == '+':
			return ns.ZoneCount + n, nil
		case n >= ns.ZoneCount:
			return 0, fmt.Errorf("%s: namespace %d has %d zones, %d cannot be dropped: %w", path, ns.ID, ns.ZoneCount, n, layout.ErrRange)
		}
		return ns.ZoneCount - n, nil
	}
	return 0, fmt.Errorf("%s: no zoned namespace %d: %w", path, o.ns, layout.ErrRange)
}
