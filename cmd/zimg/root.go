package main

import (
	"runtime/debug"
	"slices"

	"zimg/cmd/internal/cli"

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

// command is one command: its name, its group in the help, and how it is made.
type command struct {
	name, group string
	make        func() *cobra.Command
}

func commands() []command {
	return []command{
		{"create", groupImage, newCreateCommand},
		{"info", groupImage, newInfoCommand},
		{"check", groupImage, newCheckCommand},
		{"undo", groupImage, newUndoCommand},
		{"convert", groupImage, newConvertCommand},
		{"resize", groupImage, newResizeCommand},
		{"compare", groupImage, newCompareCommand},
		{"snapshot", groupImage, newSnapshotCommand},
		{"dump", groupImage, newDumpCommand},
		{"restore", groupImage, newRestoreCommand},
		{"report", groupZones, newReportCommand},
		{"map", groupZones, newMapCommand},
		{"zone", groupZones, newZoneCommand},
		{"write", groupZones, newWriteCommand},
		{"append", groupZones, newAppendCommand},
		{"read", groupZones, newReadCommand},
		{"run", groupBoot, newRunCommand},
		{"serve", groupBoot, newServeCommand},
		{"fault", groupBoot, newFaultCommand},
		{"power-cut", groupBoot, newPowerCutCommand},
		{"crash", groupBoot, newCrashCommand},
		{"qemu-args", groupBoot, newQEMUArgsCommand},
		{"completion", "", newCompletionCommand},
		{"version", "", newVersionCommand},
		{"man", "", newManCommand},
	}
}

// newRootCommand makes the command tree: of the commands only the one that args call, if they call one
// by its name, since making all of them takes longer than most of them run.
func newRootCommand(args []string) *cobra.Command {
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
		Version:       buildVersion(),
	}
	cli.MakeGroup(root)
	root.InitDefaultHelpFlag() // before the command is looked for: a flag that is not known takes what follows
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("zimg {{.Version}}\n")
	root.SetFlagErrorFunc(cli.FlagError)
	root.SetUsageFunc(cli.Usage)
	root.AddGroup(
		&cobra.Group{ID: groupImage, Title: "Images:"},
		&cobra.Group{ID: groupZones, Title: "Zones and data:"},
		&cobra.Group{ID: groupBoot, Title: "QEMU:"},
	)
	list := commands()
	if i := slices.IndexFunc(list, func(c command) bool { return len(args) > 0 && args[0] == c.name }); i >= 0 {
		list = list[i : i+1]
	}
	for _, c := range list {
		cmd := c.make()
		cmd.GroupID = c.group
		cli.Describe(cmd)
		if c.group != "" && c.name != "crash" {
			addWait(cmd)
		}
		root.AddCommand(cmd)
	}
	root.SetHelpCommand(cli.NewHelpCommand())
	return root
}

// buildCommit is the commit that was built, from the linker or from Go.
func buildCommit() string {
	if commit != "unknown" {
		return commit
	}
	if c := buildSetting("vcs.revision"); c != "" {
		return c
	}
	return commit
}

// buildVersion is the version, from the linker; of a program that go install has made, what Go knows: the version of the
// module, or else the commit.
func buildVersion() string {
	if version != "unknown" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	c := buildSetting("vcs.revision")
	if c == "" {
		return version
	}
	c = c[:min(12, len(c))]
	if buildSetting("vcs.modified") == "true" {
		c += "-dirty"
	}
	return c
}

// buildSetting is what Go has recorded about the build, "" for nothing.
func buildSetting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
