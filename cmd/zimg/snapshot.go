package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/image"
)

// snapshotView is a snapshot in JSON.
type snapshotView struct {
	Name       string            `json:"name"`
	Filename   string            `json:"filename"`
	Committed  string            `json:"committed"`
	Generation uint64            `json:"generation"`
	ActualSize int64             `json:"actual-size"`
	Counts     map[string]uint64 `json:"zone-states"`
}

type snapshotOptions struct {
	create, apply, remove string
	list                  bool
	output                string
	sidecar               string
	quiet                 bool
}

func newSnapshotCommand() *cobra.Command {
	var o snapshotOptions
	c := &cobra.Command{
		Use:   "snapshot [flags] -l | -c NAME | -a NAME | -d NAME IMAGE",
		Short: "keep named copies of an image, and go back to them",
		Long: `Snapshot keeps an image as it is under a name, lists what is kept, and goes back to it:
zones and data. A snapshot is an image of its own, IMAGE.zsnap/NAME.zimg, by reflink where the file
system can and a sparse copy elsewhere; every command takes it as it is.

-a replaces the image as it is now.`,
		Example: "  zimg snapshot -c fresh disk.zimg\n  zimg run disk.zimg -- qemu-system-x86_64 ...\n  zimg snapshot -a fresh disk.zimg\n  zimg compare disk.zimg disk.zimg.zsnap/fresh.zimg",
		Args:    exactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := c.Flags()
	f.BoolVarP(&o.list, "list", "l", false, "list the snapshots (the default)")
	f.StringVarP(&o.create, "create", "c", "", "take a snapshot called `NAME`")
	f.StringVarP(&o.apply, "apply", "a", "", "go back to the snapshot called `NAME`")
	f.StringVarP(&o.remove, "delete", "d", "", "remove the snapshot called `NAME`")
	f.StringVar(&o.sidecar, "sidecar", "", "`FILE` of the image's metadata")
	f.StringVarP(&o.output, "output", "o", "human", "`FORMAT` of the list: human or json")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	return c
}

func (o *snapshotOptions) run(cmd *cobra.Command, path string) error {
	if err := oneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	asked := 0
	for _, on := range []bool{o.list, o.create != "", o.apply != "", o.remove != ""} {
		if on {
			asked++
		}
	}
	if asked > 1 {
		return usageError("-l, -c, -a and -d exclude one another")
	}
	bar := newProgress(cmd, false)
	defer bar.done()
	opts := image.ConvertOptions{Source: o.sidecar, Progress: bar.update}
	say := func(format string, args ...any) {
		if !o.quiet {
			bar.done()
			fmt.Fprintf(cmd.OutOrStdout(), format, args...)
		}
	}
	switch {
	case o.create != "":
		if err := image.TakeSnapshot(path, o.create, opts); err != nil {
			return err
		}
		say("Snapshot '%s' of '%s' taken.\n", o.create, path)
		return nil
	case o.apply != "":
		if err := image.ApplySnapshot(path, o.apply, opts); err != nil {
			return err
		}
		say("'%s' is as when snapshot '%s' was taken.\n", path, o.apply)
		return nil
	case o.remove != "":
		if err := image.DeleteSnapshot(path, o.remove, opts); err != nil {
			return err
		}
		say("Snapshot '%s' of '%s' removed.\n", o.remove, path)
		return nil
	}
	return o.print(cmd, path, opts)
}

// print lists the snapshots.
func (o *snapshotOptions) print(cmd *cobra.Command, path string, opts image.ConvertOptions) error {
	names, err := image.Snapshots(path, opts)
	if err != nil {
		return err
	}
	views := []snapshotView{}
	var rows [][]string
	for _, name := range names {
		v, err := describeSnapshot(path, name)
		if err != nil {
			return err
		}
		views = append(views, v)
		active := v.Counts["closed"] + v.Counts["implicitly-opened"] + v.Counts["explicitly-opened"]
		rows = append(rows, []string{name, v.Committed, humanSize(v.ActualSize), fmt.Sprint(active), fmt.Sprint(v.Counts["full"])})
	}
	if o.output == "json" {
		return writeJSON(cmd.OutOrStdout(), views)
	}
	if len(rows) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "No snapshots.")
		return nil
	}
	return writeTable(cmd.OutOrStdout(), []column{{"NAME", false}, {"COMMITTED", false}, {"DISK", true}, {"ACTIVE", true}, {"FULL", true}}, rows)
}

// describeSnapshot reads the header of a snapshot.
func describeSnapshot(path, name string) (v snapshotView, err error) {
	file, err := image.SnapshotPath(path, name)
	if err != nil {
		return v, err
	}
	im, err := image.Open(file, image.Options{ForceShare: true})
	if err != nil {
		return v, err
	}
	defer closeQuietly(im)
	h := im.Header()
	v = snapshotView{Name: name, Filename: file, Committed: timeText(h.Committed), Generation: h.Generation, ActualSize: allocated(file), Counts: map[string]uint64{}}
	for _, c := range h.Counts {
		for i, n := range c {
			v.Counts[stateKeys[i]] += n
		}
	}
	return v, nil
}
