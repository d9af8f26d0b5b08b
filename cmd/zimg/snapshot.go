package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/drive/control"
	"zimg/layout"
)

// snapshotView is a snapshot in JSON.
type snapshotView struct {
	Name       string            `json:"name"`
	Filename   string            `json:"filename"`
	UUID       string            `json:"uuid,omitempty"` // of the image that it was taken of
	Committed  string            `json:"committed"`
	Generation uint64            `json:"generation"`
	ActualSize int64             `json:"actual-size"`
	Counts     map[string]uint64 `json:"zone-states"`
	Error      string            `json:"error,omitempty"` // why it cannot be read: then there is no more than name, file and size
}

type snapshotOptions struct {
	create, apply, remove onceFlag
	list                  bool
	output                string
	uuid                  string
	sidecar               string
	quiet, force          bool
	showBar               bool
}

// onceFlag is a name that is given once: a second one would take the place of the first without a word.
type onceFlag struct {
	name  string
	given bool
}

// String is the name.
func (f *onceFlag) String() string { return f.name }

// Set takes the name.
func (f *onceFlag) Set(s string) error {
	if f.given {
		return fmt.Errorf("given twice, as %q and %q; only one snapshot at a time", f.name, s)
	}
	f.name, f.given = s, true
	_, err := image.SnapshotPath("", s)
	return err
}

// Type is what the help calls the value.
func (f *onceFlag) Type() string { return "string" }

func newSnapshotCommand() *cobra.Command {
	var o snapshotOptions
	c := &cobra.Command{
		Use:   "snapshot [flags] -l | -c NAME | -a NAME | -d NAME IMAGE",
		Short: "create, list, apply and delete snapshots",
		Long: `Snapshot saves the zones and data of an image under a name, lists the saved states, and
restores them. A snapshot is an image itself, IMAGE.zsnap/NAME.zimg: a reflink copy where the
file system supports it, otherwise a sparse copy. It can be used with every command.

With --uuid new, the snapshot is a drive of its own, with another UUID, serial number and
namespace identifiers; going back to it then takes --force.

-c also works while the image is being served: the drive flushes, and commands wait until the
copy is made.

-l marks snapshots whose UUID is not that of the image: they were taken with --uuid, or of
another image that had the same name. -a refuses them unless --force is given.

-a replaces the image, which may be damaged or missing. If it is interrupted, the image is either
the old one or the snapshot; a sidecar image may then still have its metadata at the end (zimg
convert --in-place --layout sidecar moves it).`,
		Example: "  zimg snapshot -c fresh disk.zimg\n  zimg run disk.zimg -- qemu-system-x86_64 ...\n  zimg snapshot -a fresh disk.zimg\n  zimg compare disk.zimg disk.zimg.zsnap/fresh.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := c.Flags()
	f.BoolVarP(&o.list, "list", "l", false, "list the snapshots (the default)")
	f.VarP(&o.create, "create", "c", "create snapshot `NAME`")
	f.VarP(&o.apply, "apply", "a", "replace the image with snapshot `NAME`")
	f.VarP(&o.remove, "delete", "d", "delete snapshot `NAME`")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	f.StringVarP(&o.output, "output", "o", "human", "print the list in `FORMAT`: human or json")
	f.StringVar(&o.uuid, "uuid", "", "give the snapshot the UUID `UUID`, or a random one: new (default: that of IMAGE)")
	f.BoolVar(&o.force, "force", false, "apply a snapshot even if it is of another image")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
	return c
}

func (o *snapshotOptions) run(cmd *cobra.Command, path string) error {
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	asked := 0
	for _, flag := range []string{"list", "create", "apply", "delete"} {
		if cmd.Flags().Changed(flag) {
			asked++
		}
	}
	if asked > 1 {
		return cli.UsageError("only one of -l, -c, -a and -d can be used")
	}
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	opts := image.ConvertOptions{FS: files(cmd), Stamp: stamp(), Source: o.sidecar, Force: o.force, Progress: bar.Update}
	if cmd.Flags().Changed("uuid") {
		if !cmd.Flags().Changed("create") {
			return cli.UsageError("--uuid is for -c")
		}
		var err error
		if opts.UUID, err = parseUUID(o.uuid); err != nil {
			return err
		}
	}
	say := func(format string, args ...any) {
		if !o.quiet {
			bar.Done()
			cli.Fprintf(cmd.OutOrStdout(), format, args...)
		}
	}
	switch {
	case cmd.Flags().Changed("create"):
		if err := o.take(path, opts); err != nil {
			return err
		}
		say("Created snapshot '%s' of '%s'.\n", o.create.name, path)
		return nil
	case cmd.Flags().Changed("apply"):
		if err := image.ApplySnapshot(path, o.apply.name, opts); err != nil {
			return err
		}
		say("Restored '%s' from snapshot '%s'.\n", path, o.apply.name)
		return nil
	case cmd.Flags().Changed("delete"):
		if err := image.DeleteSnapshot(path, o.remove.name, opts); err != nil {
			return err
		}
		say("Deleted snapshot '%s' of '%s'.\n", o.remove.name, path)
		return nil
	}
	return o.print(cmd, path, opts)
}

// take takes a snapshot, by the process that serves the image if there is one.
func (o *snapshotOptions) take(path string, opts image.ConvertOptions) error {
	err := image.TakeSnapshot(path, o.create.name, opts)
	if !errors.Is(err, disk.ErrLocked) {
		return err
	}
	served, found := openControlled(path, o.sidecar)
	if !found {
		return err
	}
	defer closeQuietly(served.im)
	_, err = served.do(&control.Request{Snapshot: &control.Snapshot{Name: o.create.name, UUID: opts.UUID}})
	return err
}

// print lists the snapshots.
func (o *snapshotOptions) print(cmd *cobra.Command, path string, opts image.ConvertOptions) error {
	names, err := image.Snapshots(path, opts)
	if err != nil {
		return err
	}
	views := []snapshotView{}
	var rows [][]string
	resolved, err := disk.Resolve(disk.OS, path)
	if err != nil {
		return err
	}
	now := o.currentUUID(path)
	foreign := false
	for _, name := range names {
		v, err := describeSnapshot(resolved, name)
		if err != nil {
			return err
		}
		views = append(views, v)
		if v.Error != "" {
			rows = append(rows, []string{name, "unreadable: " + cli.OneLine(v.Error), cli.HumanSize(v.ActualSize), "-", "-", ""})
			continue
		}
		note := ""
		if now != "" && v.UUID != now {
			note, foreign = "another UUID", true
		}
		active := v.Counts["closed"] + v.Counts["implicitly-opened"] + v.Counts["explicitly-opened"]
		rows = append(rows, []string{name, v.Committed, cli.HumanSize(v.ActualSize), fmt.Sprint(active), fmt.Sprint(v.Counts["full"]), note})
	}
	if o.output == "json" {
		return cli.WriteJSON(cmd.OutOrStdout(), views)
	}
	if len(rows) == 0 {
		if !o.quiet {
			fmt.Fprintln(cmd.OutOrStdout(), "No snapshots.")
		}
		return nil
	}
	columns := []cli.Column{
		cli.LeftColumn("NAME"), cli.LeftColumn("TAKEN"), cli.RightColumn("DISK"), cli.RightColumn("ACTIVE"), cli.RightColumn("FULL"), cli.LeftColumn("NOTE"),
	}
	if !foreign {
		columns = columns[:len(columns)-1]
		for i := range rows {
			rows[i] = rows[i][:len(columns)]
		}
	}
	return cli.WriteTable(cmd.OutOrStdout(), columns, rows)
}

// currentUUID is that of the image as it is now; "" if it cannot be read.
func (o *snapshotOptions) currentUUID(path string) string {
	im, err := image.Open(path, image.Options{ForceShare: true, Sidecar: o.sidecar})
	if err != nil {
		return ""
	}
	defer closeQuietly(im)
	return layout.FormatUUID(im.Header().UUID)
}

// describeSnapshot reads the header of a snapshot.
func describeSnapshot(path, name string) (v snapshotView, err error) {
	file, err := image.SnapshotPath(path, name)
	if err != nil {
		return v, err
	}
	v = snapshotView{Name: name, Filename: file, ActualSize: allocated(file), Counts: map[string]uint64{}}
	im, err := image.Open(file, image.Options{ForceShare: true})
	if err != nil { // the others are listed anyway
		v.Error = err.Error()
		return v, nil
	}
	defer closeQuietly(im)
	h := im.Header()
	v.UUID, v.Committed, v.Generation = layout.FormatUUID(h.UUID), timeText(h.Committed), h.Generation
	for _, c := range h.Counts {
		for i, n := range c {
			v.Counts[report.StateKeys[i]] += n
		}
	}
	return v, nil
}
