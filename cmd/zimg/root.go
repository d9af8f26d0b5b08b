package main

import (
	"runtime/debug"

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
		Version:       version,
	}
	makeGroup(root)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("zimg {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
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
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(newCompletionCommand(), newVersionCommand(), newManCommand())
	return root
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
