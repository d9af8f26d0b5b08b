package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/cmd/internal/zonemap"
	"zimg/image"
	"zimg/layout"
)

type mapOptions struct {
	sidecar string
	svg     string
	ns      uint32
	width   int
	zone    string
	states  []string
	share   bool
}

func newMapCommand() *cobra.Command {
	var o mapOptions
	c := &cobra.Command{
		Use:   "map [flags] IMAGE",
		Short: "draw a map of the zones",
		Long: `Map draws each zone as a character that shows how much of the zone is written: a block that grows
from below, or from the left if the zone is open. If there are more zones than fit on the screen, a
character represents several zones. The lines below the map explain the characters.

--svg writes a picture with a square and a tooltip for each zone instead.`,
		Example: "  zimg map disk.zimg\n  zimg map --svg zones.svg disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	c.Flags().StringVar(&o.svg, "svg", "", "write an SVG picture to `FILE`")
	c.Flags().Uint32Var(&o.ns, "ns", 0, "show only namespace `N`")
	c.Flags().IntVar(&o.width, "width", 0, "set the width to `COLUMNS` (default 0: width of the terminal, or 80)")
	c.Flags().StringVar(&o.zone, "zone", "all", "draw only `ZONES`: a list of numbers and ranges, such as 0,3,7-9,12-")
	c.Flags().StringSliceVar(&o.states, "state", nil, "draw only zones in these `STATES`, and leave the places of others empty: "+strings.Join(report.StateNames(), ", "))
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	c.Flags().BoolVarP(&o.share, "force-share", "U", false, "read an image that is in use")
	return c
}

func (o *mapOptions) run(cmd *cobra.Command, path string) error {
	if o.width < 0 {
		return cli.UsageError("invalid value %d for --width: must be a number of columns, or 0 for the width of the terminal", o.width)
	}
	wanted, err := parseStates(o.states)
	if err != nil {
		return err
	}
	im, err := openZones(cmd, path, image.Options{FS: files(cmd), ForceShare: o.share, Sidecar: o.sidecar})
	if err != nil {
		return err
	}
	defer closeQuietly(im)
	if o.ns != 0 {
		if _, err := im.Namespace(layout.NSID(o.ns)); err != nil {
			return err
		}
	}
	var namespaces []zonemap.Namespace
	for _, n := range im.Namespaces() {
		if !n.Zoned() || o.ns != 0 && n.ID != layout.NSID(o.ns) {
			continue
		}
		zones, err := parseZones(o.zone, n.Namespace)
		if err != nil {
			return err
		}
		namespaces = append(namespaces, zonemap.Namespace{NS: n.Namespace, Zones: n, Ranges: zones, Wanted: wanted.Has})
	}
	if len(namespaces) == 0 {
		return layout.Errorf(layout.ErrRange, "%s has no zoned namespace", path)
	}
	if o.svg != "" {
		return o.writeSVG(cmd, filepath.Base(path), namespaces)
	}
	out := cmd.OutOrStdout()
	width, colour := o.terminal()
	for i, m := range namespaces {
		if len(im.Namespaces()) > 1 {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "namespace %d\n", m.NS.ID)
		}
		if err := zonemap.Terminal(out, m, width, colour); err != nil {
			return err
		}
	}
	return nil
}

// terminal is the width to draw in, and whether to colour.
func (o *mapOptions) terminal() (width int, colour bool) {
	width = 80
	if fd := int(os.Stdout.Fd()); term.IsTerminal(fd) {
		if w, _, err := term.GetSize(fd); err == nil && w > 0 {
			width = w
		}
		colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if o.width > 0 {
		width = o.width
	}
	return width, colour
}

func (o *mapOptions) writeSVG(cmd *cobra.Command, title string, namespaces []zonemap.Namespace) error {
	file, err := cli.CreateOutput(cmd, o.svg)
	if err != nil {
		return err
	}
	return file.Finish(zonemap.SVG(file, title, namespaces))
}
