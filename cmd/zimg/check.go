package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
	"zimg/image/foreign"
	"zimg/layout"
)

// checkView is the result of check in JSON: the keys of qemu-img check first,
// then the findings.
type checkView struct {
	Filename    string        `json:"filename"`
	Format      string        `json:"format"`
	CheckErrors int           `json:"check-errors"`
	Errors      int           `json:"errors"`
	Warnings    int           `json:"warnings"`
	Notes       int           `json:"notes"`
	Fixed       int           `json:"fixed"`
	Lossy       int           `json:"lossy-left"`
	Repaired    bool          `json:"repaired"`
	UndoFile    string        `json:"undo-file,omitempty"`
	Summary     checkSummary  `json:"image"`
	Findings    []findingView `json:"findings"`
	Truncated   bool          `json:"findings-truncated"`
}

type checkSummary struct {
	Namespaces  int    `json:"namespaces"`
	Zones       uint64 `json:"zones"`
	Active      uint64 `json:"active"`
	Full        uint64 `json:"full"`
	Written     int64  `json:"written-bytes"`
	Size        int64  `json:"size"`
	DataScanned bool   `json:"data-scanned"`
}

type checkOptions struct {
	output  string
	repair  string
	classic string // -r leaks|all
	preen   bool
	yes     bool
	no      bool
	dryRun  bool
	data    bool
	noData  bool
	quiet   bool
	share   bool
	all     bool
	showBar bool
	fsck    bool

	progressFD string // flags of fsck.zimg alone
	times      bool
	sidecar    string
	spaces     []string
	foreign    foreignOptions
}

// imageCheck is the check of one image.
type imageCheck struct {
	*checkOptions
	path     string
	out, err io.Writer
	format   string // its name
	findings findings
}

func newCheckCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [flags] IMAGE...",
		Short: "check an image for errors, and repair it",
		Long: `Check validates an image: both copies of its metadata and their checksums, the state and
write pointer of each zone, and the limits on open and active zones. After a crash, or if a
data file was changed since the last commit, it also reads the data to see how far each zone
was written; with --data it always does.

Without --repair, check changes nothing. --repair makes only safe changes: nothing that a
guest wrote is lost. --repair=all also fixes what needs a decision, and discards what cannot be
recovered. If all metadata is lost, --repair=all with --ns, which gives the geometry, rebuilds the
zones from the data. The old bytes are saved in IMAGE.zundo first; zimg undo restores them.

Files in other formats are checked for what their own program would refuse; they are not
repaired.

Several images are checked in parallel and reported in the order given, each line starting
with the name of its image. With --output json, there is one line of JSON for each image. An
image that cannot be checked does not stop the others.

Findings go to standard error, the summary to standard output.

The exit status describes the image afterwards: 0 no errors, 1 could not be checked, 2 errors
remain, 3 only warnings remain, 75 in use by another process. For several images it is the
worst one, in the order 1, 2, 75, 3. With --fsck, or when called as fsck.zimg, it is that of
fsck(8): 0 no errors, 1 repaired, 4 errors remain, 8 could not be checked, 16 usage error, 32
interrupted; for several images, the sum of those that occurred.`,
		Example: `  zimg check disk.zimg
  zimg check --repair disk.zimg && zimg run disk.zimg -- qemu-system-x86_64 ...
  zimg check --repair=all --dry-run disk.zimg
  zimg check --quiet *.zimg`,
		Args: o.args,
		RunE: o.run,
	}
	f := c.Flags()
	f.StringVar(&o.repair, "repair", "", "repair `MODE`: safe (the default) or all")
	f.Lookup("repair").NoOptDefVal = "safe"
	f.StringVarP(&o.classic, "repair-as-qemu", "r", "", "repair as qemu-img check -r `MODE` does: leaks (same as --repair=safe) or all")
	f.BoolVarP(&o.preen, "preen", "p", false, "same as --repair=safe")
	f.BoolVarP(&o.preen, "auto", "a", false, "same as --repair=safe; passed by boot scripts")
	_ = f.MarkHidden("auto") // there is such a flag
	f.BoolVarP(&o.yes, "yes", "y", false, "same as --repair=all")
	f.BoolVarP(&o.no, "no", "n", false, "change nothing (the default)")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what --repair would do without changing anything")
	f.BoolVar(&o.data, "data", false, "always compare the write pointers with the data")
	f.BoolVar(&o.noData, "no-data", false, "read the data only after a crash, not because the file was changed since")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print the summary")
	f.BoolVarP(&o.share, "force-share", "U", false, "check an image that is in use; findings may be due to a change in progress")
	f.BoolVar(&o.all, "all", false, fmt.Sprintf("list every finding, not only the first %d of each kind", maxAlike))
	f.BoolVar(&o.showBar, "progress", false, "show progress even if standard error is not a terminal")
	f.StringVar(&o.progressFD, "progress-fd", "", "as -C `FD` of fsck.zimg: lines about the progress to descriptor FD; 0 shows it as --progress does")
	_ = f.MarkHidden("progress-fd")
	f.BoolVar(&o.times, "times", false, "as -t of fsck.zimg: print how long the check took")
	_ = f.MarkHidden("times")
	f.BoolVar(&o.fsck, "fsck", false, "use the exit status of fsck(8)")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	f.StringArrayVar(&o.spaces, "ns", nil, "with --repair=all, rebuild lost metadata for a namespace with the geometry `KEY=VALUE,...`, as in create; may be repeated")
	f.StringVarP(&o.output, "output", "o", "human", "print the summary in `FORMAT`: human or json")
	o.foreign.addFlags(f)
	return c
}

// args wants images; "--repair all" names one called all, as the value of --repair may be left out.
func (o *checkOptions) args(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cli.UsageError("check needs an IMAGE")
	}
	if err := cli.RangeArgs(1, len(args), "IMAGE...")(cmd, args); err != nil {
		return err
	}
	if o.repair != "" && cli.OneOf("repair", args[0], "safe", "all") == nil {
		if _, err := os.Lstat(args[0]); errors.Is(err, fs.ErrNotExist) {
			err := cli.UsageError("there is no image called %s", args[0])
			err.Hint = "did you mean --repair=" + args[0] + "?"
			return err
		}
	}
	if len(args) > 1 && o.sidecar != "" {
		return cli.UsageError("--sidecar can only be used with one image, not %d", len(args))
	}
	return nil
}

// mode is what the flags ask for.
func (o *checkOptions) mode() (fsck.Mode, error) {
	modes := map[fsck.Mode]bool{}
	switch o.repair {
	case "":
	case "safe", "leaks":
		modes[fsck.Safe] = true
	case "all":
		modes[fsck.All] = true
	default:
		return 0, cli.OneOf("repair", o.repair, "safe", "all")
	}
	switch o.classic {
	case "":
	case "leaks":
		modes[fsck.Safe] = true
	case "all":
		modes[fsck.All] = true
	default:
		return 0, cli.UsageError("invalid value %q for -r: must be leaks or all", o.classic)
	}
	if o.preen {
		modes[fsck.Safe] = true
	}
	if o.yes {
		modes[fsck.All] = true
	}
	if o.no {
		modes[fsck.CheckOnly] = true
	}
	if len(modes) > 1 {
		return 0, cli.UsageError("only one of --repair, -r, -p, -y and -n can be used")
	}
	for m := range modes {
		return m, nil
	}
	if o.dryRun {
		return fsck.Safe, nil
	}
	return fsck.CheckOnly, nil
}

func (o *checkOptions) run(cmd *cobra.Command, paths []string) error {
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	o.foreign.fs = files(cmd)
	opts, err := o.options(cmd)
	if err != nil {
		return err
	}
	if o.times {
		start := time.Now()
		defer func() {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %.2f seconds\n", strings.Join(paths, " "), time.Since(start).Seconds())
		}()
	}
	if len(paths) > 1 {
		return o.runSeveral(cmd, paths, opts)
	}
	bar, err := o.progress(cmd, paths[0])
	if err != nil {
		return err
	}
	defer bar.Done()
	opts.Progress = bar.Update
	c := &imageCheck{checkOptions: o, path: paths[0], out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
	r, err := c.work(opts, bar.Clear)
	if err != nil {
		return err
	}
	bar.Done()
	if o.output == "json" {
		if err := cli.WriteJSON(c.out, c.view(r)); err != nil {
			return err
		}
	} else if !o.quiet {
		c.print(r)
	}
	if code := o.exitCode(r); code != 0 {
		return cli.WithExit(code, nil)
	}
	return nil
}

// progress is where the progress is shown.
func (o *checkOptions) progress(cmd *cobra.Command, path string) (*cli.Progress, error) {
	bar := cli.NewProgress(cmd, o.showBar || o.progressFD == "0")
	if o.progressFD == "" || o.progressFD == "0" {
		return bar, nil
	}
	fd, err := strconv.ParseUint(o.progressFD, 10, 16)
	if err != nil {
		return nil, cli.UsageError("invalid file descriptor %q for the progress: must be a number", o.progressFD)
	}
	file := os.NewFile(uintptr(fd), "progress")
	if _, err := file.Stat(); err != nil {
		return nil, cli.UsageError("file descriptor %d for the progress is not open", fd)
	}
	bar.Lines(file, path)
	return bar, nil
}

// options are what the flags ask of package fsck.
func (o *checkOptions) options(cmd *cobra.Command) (fsck.Options, error) {
	mode, err := o.mode()
	opts := fsck.Options{FS: files(cmd), Stamp: stamp(), Sidecar: o.sidecar, Mode: mode, DryRun: o.dryRun, ForceShare: o.share, Context: cmd.Context()}
	switch {
	case err != nil:
		return opts, err
	case o.data && o.noData:
		return opts, cli.UsageError("--data and --no-data cannot be used together")
	case o.data:
		opts.Data = fsck.DataAlways
	case o.noData:
		opts.Data = fsck.DataNever
	}
	if len(o.spaces) == 0 {
		return opts, nil
	}
	create := createOptions{namespaces: o.spaces}
	if _, err := create.options(); err != nil {
		return opts, err
	}
	opts.Geometry = func(kind layout.Kind) (*layout.Plan, error) {
		spec, err := create.options()
		if err != nil {
			return nil, err
		}
		spec.Layout = kind
		return spec.Complete()
	}
	return opts, nil
}

// work checks or repairs the image, by the format that it is of. clear makes room for a line of findings.
func (c *imageCheck) work(opts fsck.Options, clearLine func()) (*fsck.Report, error) {
	c.findings = findings{w: c.err, path: c.path, all: c.all, keep: c.output == "json", dryRun: c.dryRun}
	opts.Found = func(f fsck.Finding) {
		clearLine()
		c.findings.add(f)
	}
	r, err := c.check(opts)
	clearLine()
	c.findings.end()
	return r, err
}

func (c *imageCheck) check(opts fsck.Options) (*fsck.Report, error) {
	var format *foreign.Format
	var err error
	if len(c.spaces) == 0 {
		if format, err = c.foreign.find(c.path, c.sidecar); err != nil {
			return nil, err
		}
	}
	c.format = ownFormat
	switch {
	case format == nil && opts.Mode == fsck.CheckOnly:
		return fsck.Check(c.path, opts)
	case format == nil:
		return fsck.Repair(c.path, opts)
	case opts.Mode != fsck.CheckOnly:
		return nil, cli.UsageError("%s is of the format %s, which is not repaired here; zimg convert imports what can be read", c.path, format.Name)
	}
	c.format = format.Name
	closer := func() error { return nil }
	r, err := fsck.CheckForeign(c.path, func() (d *foreign.Decoded, err error) {
		var done func() error
		if d, done, err = c.foreign.open(c.path, format, c.sidecar, 0, c.share); err == nil {
			closer = done
		}
		return d, err
	}, opts)
	return r, errors.Join(err, closer())
}

// exitCode is that of qemu-img check, or of fsck(8).
func (o *checkOptions) exitCode(r *fsck.Report) int {
	code := r.ExitCode()
	if !o.fsck {
		return code
	}
	bits := 0
	if r.Changed {
		bits |= fsckCorrected
	}
	if code != 0 {
		bits |= fsckLeft
	}
	return bits
}
