package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive/tcp"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/transfer"
	"zimg/image/zns"
	"zimg/layout"
)

// nameImage puts the name of the image before an error about one of its zones or blocks, which does not know it.
func nameImage(cmd *cobra.Command, err error) error {
	var status *zns.StatusError
	if !errors.As(err, &status) && !errors.Is(err, layout.ErrRange) || !strings.Contains(cmd.Use, " IMAGE") {
		return err
	}
	if len(cmd.Flags().Args()) == 0 {
		return err
	}
	name := cmd.Flags().Args()[0]
	if strings.HasPrefix(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// hintFor is the hint to print with err of cmd: hint, its own, or one for errors that come from below.
func hintFor(cmd *cobra.Command, err error, hint string) string {
	return hintAbout(cmd, cmd.Flags().Args(), err, hint)
}

// hintAbout is hintFor where the command was working on the files paths.
func hintAbout(cmd *cobra.Command, paths []string, err error, hint string) string {
	var (
		repair *image.RepairError
		packed *foreign.ContainerError
	)
	switch {
	case errors.Is(err, layout.ErrNotImage):
		return hintForeign(cmd, paths, hint)
	case errors.As(err, &packed):
		return hintUnpack(packed.Path, &packed.Container)
	case errors.Is(err, foreign.ErrUnfinished):
		return hint + "; use --force to start again"
	case hint != "":
	case errors.Is(err, image.ErrExists) && cmd.Flags().Lookup("force") != nil:
		return "use --force to overwrite it"
	case errors.As(err, new(*image.ClaimedError)):
		return "move it, or choose another name for the image"
	case errors.As(err, new(*disk.NotRegularError)):
		return "create the image as a regular file, then copy it to the device"
	case errors.Is(err, tcp.ErrSameNQN):
		return "copies of an image are the same drive; zimg convert --uuid new makes one that is not"
	case errors.Is(err, image.ErrOtherImage):
		return "use --force to apply it anyway"
	case errors.Is(err, disk.ErrLocked): // the message asks the question itself
		var lock *disk.LockError
		if errors.As(err, &lock) {
			return lockHint(cmd, lock.Name)
		}
	case errors.Is(err, image.ErrNoSnapshot) && len(paths) > 0:
		return "to list the snapshots, run: zimg snapshot -l " + cli.ShellWord(paths[0])
	case errors.Is(err, layout.ErrNewer):
		return "use a newer version of zimg (zimg version prints the version)"
	case errors.As(err, &repair):
		named := ""
		if repair.Sidecar != "" {
			named = "--sidecar " + cli.ShellWord(repair.Sidecar) + " "
		}
		what := "check"
		if errors.Is(err, image.ErrUnclean) {
			what = "check --repair"
		}
		return fmt.Sprintf("run: zimg %s %s%s", what, named, cli.ShellWord(repair.Path))
	default:
		return hintBelow(err)
	}
	return hint
}

// kindHints are hints for errors of a kind that need no facts about the case.
var kindHints = []struct {
	kind error
	hint string
}{
	{image.ErrShrink, "use --shrink to remove zones; only Empty zones are removed"},
	{image.ErrNotInPlace, "run zimg convert --in-place --layout sidecar first, or convert to a new file"},
	{foreign.ErrNoData, "pass the data file as SRC and this file with --source-sidecar"},
	{transfer.ErrLossy, "use --lossy to convert anyway"},
	{crash.ErrNoRecording, "make a recording with zimg run --record DIR"},
	{foreign.ErrWhichBlocks, "use --geometry block-size=512 for QEMU with series v5, or the block size of the header for an earlier one"},
	{foreign.ErrNoGeometry, "use --geometry zone-size=SIZE,zone-capacity=SIZE,block-size=BYTES"},
	{foreign.ErrWhichNamespace, "choose one with --ns"},
	{foreign.ErrOccupied, "use --force to reset and overwrite its zones"},
}

// hintBelow is the hint for an error of the library, "" for none: the library says what happened, and knows no
// commands.
func hintBelow(err error) string {
	for _, k := range kindHints {
		if errors.Is(err, k.kind) {
			return k.hint
		}
	}
	var (
		dropped *image.ZoneDroppedError
		missing *image.DataMissingError
		after   *image.DataAfterError
		unsound *transfer.UnsoundError
	)
	var count *foreign.ZoneCountError
	switch {
	case errors.As(err, &count):
		shrink := ""
		if count.Device < count.Source {
			shrink = "--shrink "
		}
		return fmt.Sprintf("make a copy of the same size first: zimg convert SRC copy.zimg && zimg resize %scopy.zimg %d", shrink, count.Device)
	case errors.As(err, &dropped):
		return fmt.Sprintf("reset it first if its data is not needed: zimg zone reset --ns %d %s %d",
			dropped.Namespace, cli.ShellWord(dropped.Path), dropped.Zone)
	case errors.As(err, &missing):
		return fmt.Sprintf("put the data file next to the sidecar as %q, or pass both: --sidecar %s DATAFILE",
			missing.Name, cli.ShellWord(missing.Sidecar))
	case errors.As(err, &after):
		return fmt.Sprintf("after an interrupted command, run: zimg check --repair %s; otherwise remove the extra data: truncate -s %d %s",
			cli.ShellWord(after.Path), after.Length, cli.ShellWord(after.Data))
	case errors.As(err, &unsound):
		return fmt.Sprintf("run: zimg check -f %s %s", unsound.Format, cli.ShellWord(unsound.Path))
	}
	return ""
}

// hintForeign says what to do about files that are not ours: those of a foreign format that shows itself have
// to be imported where a command knows our own only, and others to be named where it knows all.
func hintForeign(cmd *cobra.Command, paths []string, hint string) string {
	for _, path := range paths {
		if f, err := foreign.Detect(all.Formats, disk.OS, path); err == nil && f != nil {
			return fmt.Sprintf("the file is in format %s; to import it, run: zimg convert %s disk.zimg", f.Name, cli.ShellWord(path))
		}
		if c, err := foreign.FindContainer(disk.OS, path); err == nil && c != nil {
			return hintContainer(path, c)
		}
	}
	var hints []string
	if hint != "" {
		hints = append(hints, hint)
	}
	if cmd.Flags().Lookup("format") != nil {
		hints = append(hints, "if it is in another format, choose it with -f: "+strings.Join(unmarked(), ", "))
	}
	if len(paths) > 0 {
		hints = append(hints, "if it was an image and its metadata is lost, run: "+rebuildCommand(cli.ShellWord(paths[0])))
	}
	return strings.Join(hints, "\n")
}

// closeQuietly closes an image that was only read.
func closeQuietly(im *image.Image) { _ = im.Close() }
