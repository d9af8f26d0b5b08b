package main

import (
	"time"

	"github.com/spf13/cobra"

	"zimg/image/disk"
)

// waitFlag is the value of --wait: a number of seconds, or a duration; 0 is not to wait.
type waitFlag struct{ timeFlag }

// Set reads a value.
func (f *waitFlag) Set(s string) error {
	if s == "0" {
		f.timeFlag = 0
		return nil
	}
	return f.timeFlag.Set(s)
}

// addWait adds --wait to c, or to the commands below it.
func addWait(c *cobra.Command) {
	if c.HasSubCommands() {
		for _, sub := range c.Commands() {
			addWait(sub)
		}
		return
	}
	c.Flags().Var(&waitFlag{}, "wait", "wait up to `SECONDS` for an image that is in use (also 500ms, 5m); the default is to fail at once, with status 75")
}

// files is the file system in which cmd opens images: its locks are waited for as long as --wait says, from now on.
func files(cmd *cobra.Command) disk.FS {
	f := cmd.Flags().Lookup("wait")
	if f == nil {
		return disk.OS
	}
	wait, ok := f.Value.(*waitFlag)
	if !ok || wait.timeFlag == 0 {
		return disk.OS
	}
	if share := cmd.Flags().Lookup("force-share"); share != nil && share.Changed {
		return disk.OS // it takes no lock
	}
	return disk.Patient(cmd.Context(), time.Duration(wait.timeFlag))
}
