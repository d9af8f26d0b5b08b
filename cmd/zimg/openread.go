package main

import (
	"fmt"
	"strings"

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

// lockHint is what to do about an image that somebody else has; path is that file of it that is locked.
func lockHint(cmd *cobra.Command, path string) string {
	var hints []string
	if im, err := image.Open(path, image.Options{ForceShare: true}); err == nil {
		if c, err := im.Condition(); err == nil && c == image.InUse {
			hints = append(hints, fmt.Sprintf("pid %d has it in use", im.Header().Session.PID))
		}
		closeQuietly(im)
	}
	if cmd.Flags().Lookup("wait") != nil {
		hints = append(hints, "--wait SECONDS waits for it")
	}
	if cmd.Flags().Lookup("force-share") != nil {
		hints = append(hints, "-U reads it as it was before, or in the middle of a change")
	}
	return strings.Join(hints, "; ")
}
