package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/layout"
)

// hintFor is the hint to print with err of cmd: hint, its own, or one for errors that come from below.
func hintFor(cmd *cobra.Command, err error, hint string) string {
	switch {
	case errors.Is(err, layout.ErrNotImage):
		if hint == "" {
			hint = "if its metadata was lost: zimg check FILE looks for what is left"
		}
		return hintForeign(cmd, hint)
	case hint != "":
	case errors.Is(err, image.ErrExists) && cmd.Flags().Lookup("force") != nil:
		return "use --force to overwrite it"
	case errors.As(err, new(*image.ClaimedError)):
		return "move it away, or choose another name for the image"
	case errors.As(err, new(*disk.NotRegularError)):
		return "only regular files are replaced; to fill a block device, make the image as a file and copy it to the device"
	case errors.Is(err, image.ErrOtherImage):
		return "use --force to apply it anyway"
	case errors.Is(err, disk.ErrLocked): // the message asks the question itself
	case errors.Is(err, layout.ErrNewer):
		return "a newer zimg can read it: zimg version tells which this is"
	}
	return hint
}

// hintForeign adds to hint what is to be done about files that are not ours: those of a foreign format that
// shows itself have to be imported where a command knows our own only, and others to be named where it knows all.
func hintForeign(cmd *cobra.Command, hint string) string {
	for _, path := range cmd.Flags().Args() {
		if f, err := foreign.Detect(all.Formats, disk.OS, path); err == nil && f != nil {
			return fmt.Sprintf("it is of the format %s: zimg convert %s disk.zimg imports it", f.Name, cli.ShellWord(path))
		}
	}
	if cmd.Flags().Lookup("format") == nil {
		return hint
	}
	if hint != "" {
		hint += "; "
	}
	return hint + "a foreign format without a magic must be named by -f: " + strings.Join(unmarked(), ", ")
}

// closeQuietly closes an image that was only read.
func closeQuietly(im *image.Image) { _ = im.Close() }
