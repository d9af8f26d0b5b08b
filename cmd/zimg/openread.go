package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/live"
	"zimg/layout"
)

// openToRead opens an image for a command that only reads it. A line on standard error says when its zones are not the newest.
func openToRead(cmd *cobra.Command, path string, o image.Options) (*image.Image, error) {
	im, err := image.Open(path, o)
	if err != nil {
		return nil, err
	}
	showServed(im)
	if c, err := im.Condition(); err == nil && c == image.InUse && im.ShowsOthers() {
		return im, nil
	}
	warning, err := im.Warning()
	if err != nil {
		closeQuietly(im)
		return nil, err
	}
	if warning != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "zimg: warning: %s\n", cli.OneLine(warning))
	}
	return im, nil
}

// lockHint is what to do about an image that somebody else has; path is that file of it that is locked.
func lockHint(cmd *cobra.Command, path string) string {
	var hints []string
	if im, err := image.Open(path, image.Options{ForceShare: true}); err == nil {
		if c, err := im.Condition(); err == nil && c == image.InUse {
			pid := im.Header().Session.PID
			hint := fmt.Sprintf("pid %d has it in use", pid)
			if im.Header().Session.Kind == layout.Served {
				hint = fmt.Sprintf("pid %d serves it, and 'kill %d' shuts it down; info, report, map, dump, zone, snapshot -c and fault work while it is served", pid, pid)
			}
			hints = append(hints, hint)
		}
		closeQuietly(im)
	}
	if cmd.Flags().Lookup("wait") != nil {
		hints = append(hints, "--wait SECONDS waits for it")
	}
	if cmd.Flags().Lookup("force-share") != nil {
		hints = append(hints, "-U reads it without waiting, perhaps in the middle of a change")
	}
	return strings.Join(hints, "; ")
}

// openZones is openToRead for a command that reads no data. Of an image that is being served it shows the zones as they
// are now.
func openZones(cmd *cobra.Command, path string, o image.Options) (*image.Image, error) {
	im, err := openToRead(cmd, path, o)
	if !errors.Is(err, disk.ErrLocked) {
		return im, err
	}
	o.ForceShare = true
	for range 3 { // the service may just be beginning or ending
		if im, err := image.Open(path, o); err == nil {
			if showServed(im) {
				return im, nil
			}
			closeQuietly(im)
		}
	}
	return nil, err
}

// showServed makes im show the zones of the process that serves it, or of one that was killed and left them.
func showServed(im *image.Image) bool {
	h := im.Header()
	if h.Flags&layout.InUse == 0 || h.Session.Kind != layout.Served {
		return false
	}
	c, err := im.Condition()
	return err == nil && (c == image.InUse || c == image.Crashed) && live.Watch(im, live.Options{}) == nil
}
