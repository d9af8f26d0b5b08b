package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
)

// openToRead opens an image for a command that only reads it. A line on standard error says when its zones are not the newest.
func openToRead(cmd *cobra.Command, path string, o image.Options) (*image.Image, error) {
	im, err := image.Open(path, o)
	if err != nil {
		return nil, err
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

// lockHint is what to do about an image at path that somebody else has.
func lockHint(cmd *cobra.Command, path string) string {
	hint := ""
	if im, err := image.Open(path, image.Options{ForceShare: true}); err == nil {
		if c, err := im.Condition(); err == nil && c == image.InUse {
			hint = fmt.Sprintf("pid %d has it in use", im.Header().Session.PID)
		}
		closeQuietly(im)
	}
	if f := cmd.Flags().Lookup("force-share"); f != nil {
		if hint != "" {
			hint += "; "
		}
		hint += "-U reads it as it was before, or in the middle of a change"
	}
	return hint
}
