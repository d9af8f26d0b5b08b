package main

import (
	"fmt"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
)

func (c *imageCheck) view(r *fsck.Report) *checkView {
	f := r.Final()
	v := &checkView{
		Filename: r.Path, Format: c.format, Errors: f.Errors, Warnings: f.Warnings, Notes: f.Notes, Fixed: r.Fixed, Lossy: f.Lossy,
		Repaired: r.Changed, UndoFile: r.UndoFile, Findings: c.findings.views, Truncated: c.findings.truncated,
		Summary: checkSummary{
			Namespaces: f.Summary.Namespaces, Zones: f.Summary.Zones, Active: f.Summary.Active, Full: f.Summary.Full,
			Written: f.Summary.Written, Size: f.Summary.Size, DataScanned: r.Summary.Scanned,
		},
	}
	if v.Findings == nil {
		v.Findings = []findingView{}
	}
	return v
}

func (c *imageCheck) print(r *fsck.Report) {
	w := c.out
	if r.Changed {
		fmt.Fprintf(w, "%s repaired.\n", cli.Count(r.Fixed, "problem was", "problems were"))
		fmt.Fprintf(w, "The old bytes are saved in '%s'; zimg undo %s restores them.\n", cli.OneLine(r.UndoFile), cli.ShellWord(r.Path))
		fmt.Fprintln(w, "Checking the repaired image again...")
	}
	f := r.Final()
	if f.Errors == 0 && f.Warnings == 0 {
		if r.DryRun && r.Fixed > 0 {
			fmt.Fprintf(w, "%s be repaired; none would remain.\n", cli.Count(r.Fixed, "problem would", "problems would"))
			return
		}
		fmt.Fprintln(w, "No errors were found on the image.")
	} else {
		if f.Errors > 0 {
			fmt.Fprintf(w, "%s found on the image.\n", cli.Count(f.Errors, "error was", "errors were"))
		}
		if f.Warnings > 0 {
			fmt.Fprintf(w, "%s found (harmless).\n", cli.Count(f.Warnings, "warning was", "warnings were"))
		}
	}
	s := &f.Summary
	if s.Namespaces > 0 {
		fmt.Fprintf(w, "%s, %s, %d active, %d full; %s of %s written\n", cli.Count(s.Namespaces, "namespace", "namespaces"),
			cli.Count(int(s.Zones), "zone", "zones"), s.Active, s.Full, cli.HumanSize(s.Written), cli.HumanSize(s.Size))
	}
	if next := nextStep(r, c.format, c.sidecar); next != "" {
		fmt.Fprintln(w, next)
	}
}

// nextStep is what to run next.
func nextStep(r *fsck.Report, format, sidecar string) string {
	f := r.Final()
	left := f.Errors + f.Warnings
	image := cli.ShellWord(r.Path)
	if sidecar != "" {
		image = "--sidecar " + cli.ShellWord(sidecar) + " " + image
	}
	switch {
	case left == 0:
		return ""
	case r.Unreadable || r.Unsound:
		return "The file cannot be imported in this state."
	case format != ownFormat:
		return fmt.Sprintf("zimg convert -f %s %s DST imports what can be read.", format, cli.ShellWord(r.Path))
	case f.Lost:
		return fmt.Sprintf("If you know the geometry, new metadata can be built from the data. Run: %s", rebuildCommand(image))
	case f.NeedsAll || f.Lossy == left && r.Mode != fsck.All || r.Mode == fsck.Safe && f.Lossy > 0:
		return fmt.Sprintf("The remaining problems cannot be repaired without losing data. Run: zimg check --repair=all --dry-run %s", image)
	case r.Mode == fsck.CheckOnly:
		return fmt.Sprintf("Run: zimg check --repair %s", image)
	}
	return "The remaining problems cannot be repaired. zimg dump shows what can still be read."
}

// rebuildCommand is the command that makes new metadata for image, whose name is quoted.
func rebuildCommand(image string) string {
	return "zimg check --repair=all --ns zones=N,zone-size=SIZE " + image + " (with the --ns used for create)"
}

// Exit bits of fsck(8).
const (
	fsckCorrected   = 1
	fsckLeft        = 4
	fsckFailed      = 8
	fsckUsage       = 16
	fsckInterrupted = 32
)
