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
		Short: "add or remove Empty zones at the end of a namespace",
		Long: `Resize changes the number of zones of a namespace, to ZONES or by +ZONES or -ZONES. A SIZE has a
suffix (K, M, G, T, P, E) and must be a multiple of the zone size. A bare number that could also be
a size in bytes is refused: write 1048576z to mean zones. New zones are Empty. Only Empty zones can
be removed, and only with --shrink. The namespace must be the last in its data file.

If it is interrupted, the image has its old or its new size; a trailing image may still have its
metadata in a sidecar (zimg convert --in-place --layout trailing moves it back).`,
		Example: "  zimg resize disk.zimg +16\n  zimg resize disk.zimg 64G\n  zimg resize --shrink disk.zimg -16",
		Args:    cli.ExactArgs("IMAGE [+|-]ZONES|SIZE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	c.Flags().Uint32Var(&o.ns, "ns", 0, "use namespace `N` (default: the only zoned one)")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	c.Flags().BoolVar(&o.shrink, "shrink", false, "allow zones to be removed")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	return c
}

// resizeArgs puts a size with a minus after "--", so that it is not read as a flag: qemu-img accepts it as it is, too.
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
	zones, err := o.zones(cmd, path, size)
	if err != nil {
		return err
	}
	opts := image.ResizeOptions{Options: image.Options{FS: files(cmd), Sidecar: o.sidecar, Stamp: stamp()}, Namespace: layout.NSID(o.ns), Zones: zones, Shrink: o.shrink}
	if err := image.Resize(path, opts); err != nil {
		return err
	}
	if o.quiet {
		return nil
	}
	im, err := image.Open(path, image.Options{FS: files(cmd), Sidecar: o.sidecar})
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
func (o *resizeOptions) zones(cmd *cobra.Command, path, size string) (uint64, error) {
	digits := strings.TrimLeft(size, "+-")
	bad := cli.UsageError("%q is not a size: ZONES, +ZONES or -ZONES, or bytes with a suffix (64G, +1G, -1G)", size)
	if len(size)-len(digits) > 1 {
		return 0, bad
	}
	number, certain := strings.CutSuffix(digits, "z") // zones, and nothing else
	n, err := strconv.ParseUint(number, 10, 33)
	inBytes := err != nil
	if inBytes {
		b, err := cli.ParseSize(digits)
		if _, plain := strconv.ParseUint(digits, 10, 64); err != nil || plain == nil {
			return 0, bad
		}
		n = uint64(b)
	}
	im, err := image.Open(path, image.Options{FS: files(cmd), Sidecar: o.sidecar})
	if err != nil {
		return 0, err
	}
	defer closeQuietly(im)
	ns, err := o.namespace(im)
	if err != nil {
		return 0, err
	}
	zone := uint64(ns.ByteOff(ns.ZoneSize))
	switch {
	case inBytes && n%zone != 0:
		return 0, fmt.Errorf("%s: %s is not a whole number of zones of %s", path, digits, cli.FormatSize(int64(zone)))
	case inBytes:
		n /= zone
	case !certain && n > 0 && n%zone == 0:
		err := cli.UsageError("%s: %s could be a number of zones or of bytes", path, size)
		err.Hint = fmt.Sprintf("write %sz for %s zones, or %s for %s",
			size, digits, strings.TrimSuffix(size, digits)+cli.FormatSize(int64(n)), cli.Count(int(n/zone), "zone", "zones"))
		return 0, err
	}
	switch {
	case digits == size:
		return n, nil
	case size[0] == '+':
		return ns.ZoneCount + n, nil
	case n >= ns.ZoneCount:
		return 0, fmt.Errorf("%s: namespace %d has %d zones, %d cannot be dropped", path, ns.ID, ns.ZoneCount, n)
	}
	return ns.ZoneCount - n, nil
}

// namespace is the one that is resized: --ns, or the first that is zoned.
func (o *resizeOptions) namespace(im *image.Image) (*image.Namespace, error) {
	for _, ns := range im.Namespaces() {
		if ns.Zoned() && (o.ns == 0 || ns.ID == layout.NSID(o.ns)) {
			return ns, nil
		}
	}
	if o.ns == 0 {
		return nil, fmt.Errorf("%s: there is no zoned namespace", im.Path())
	}
	if _, err := im.Namespace(layout.NSID(o.ns)); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: namespace %d has no zones", im.Path(), o.ns)
}
