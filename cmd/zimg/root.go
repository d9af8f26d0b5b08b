package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Set by the linker (Makefile).
var (
	version = "unknown"
	commit  = "unknown"
)

// Groups of commands in the help.
const (
	groupImage = "image"
	groupZones = "zones"
	groupBoot  = "boot"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "zimg",
		Short: "images of zoned NVMe (ZNS) namespaces",
		Long: `zimg creates, inspects, checks, repairs, converts and boots images of zoned
NVMe (ZNS) namespaces. QEMU forgets the zones' states when it exits; zimg keeps them.`,
		Example: `  zimg create --zones 64 --zone-size 64M disk.zimg
  zimg run disk.zimg -- qemu-system-x86_64 -m 2G -kernel bzImage
  zimg report disk.zimg
  zimg check --repair disk.zimg`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError("%v", err) })
	root.AddGroup(
		&cobra.Group{ID: groupImage, Title: "Images:"},
		&cobra.Group{ID: groupZones, Title: "Zones and data:"},
		&cobra.Group{ID: groupBoot, Title: "QEMU:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		groupImage: {newCreateCommand(), newInfoCommand(), newCheckCommand(), newUndoCommand(), newConvertCommand(), newResizeCommand(), newCompareCommand(), newSnapshotCommand(), newDumpCommand(), newRestoreCommand()},
		groupZones: {newReportCommand(), newMapCommand(), newZoneCommand(), newWriteCommand(), newAppendCommand(), newReadCommand()},
		groupBoot:  {newRunCommand(), newCrashCommand(), newQEMUArgsCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(newVersionCommand(), newManCommand())
	root.InitDefaultCompletionCmd()
	return root
}

// unknownCommand refuses what is no command, with the ones that are like it.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usageError("%s has no command %q", cmd.CommandPath(), args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		err.hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return err
}

// buildCommit is the commit that was built, from the linker or from Go.
func buildCommit() string {
	if commit != "unknown" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return commit
}
