package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/drive/control"
	"zimg/layout"
)

// faultSpec is a fault as a user describes it.
type faultSpec struct {
	ns     uint32
	lba    string
	zone   string
	ops    []string
	status string
	delay  time.Duration
	count  int
}

func (f *faultSpec) addFlags(c *cobra.Command) {
	c.Flags().Uint32Var(&f.ns, "ns", 0, "use namespace `N` (default: the only one, or the only zoned one)")
	c.Flags().StringVar(&f.lba, "lba", "", "the blocks `LBA`, or a range such as 8-15")
	c.Flags().StringVar(&f.zone, "zone", "", "the `ZONES`: a number, a range such as 4-9, or all")
	c.Flags().StringSliceVar(&f.ops, "op", nil, "commands `OPS`: "+strings.Join(control.FaultOps(), ", ")+" (default read,write)")
	c.Flags().StringVar(&f.status, "status", "", "answer with `STATUS`: "+strings.Join(control.Statuses(), ", ")+", or a number such as 0x4281")
	c.Flags().DurationVar(&f.delay, "delay", 0, "execute the command only after `TIME`, such as 500ms or 30s")
	c.Flags().IntVar(&f.count, "count", 0, "end after `N` commands (default: when it is cleared)")
}

// parseFault reads a fault in one word: key=value, separated by commas; several operations are joined by a plus sign.
func parseFault(s string) (f faultSpec, err error) {
	for _, part := range strings.Split(s, ",") {
		key, value, ok := strings.Cut(part, "=")
		var n uint64
		switch {
		case !ok:
			return f, cli.UsageError("--fault %q: %q is not a key and a value, as in zone=3,op=read,status=unrecovered-read", s, part)
		case key == "ns":
			n, err = strconv.ParseUint(value, 0, 32)
			f.ns = uint32(n)
		case key == "lba":
			f.lba = value
		case key == "zone":
			f.zone = value
		case key == "op":
			f.ops = strings.Split(value, "+")
		case key == "status":
			f.status = value
		case key == "delay":
			f.delay, err = time.ParseDuration(value)
		case key == "count":
			f.count, err = strconv.Atoi(value)
		default:
			return f, cli.UsageError("--fault %q: no key %q; there are ns, lba, zone, op, status, delay and count", s, key)
		}
		if err != nil {
			return f, cli.UsageError("--fault %q: invalid %s %q", s, key, value)
		}
	}
	return f, nil
}

// resolve finds the blocks of the fault in an image.
func (f *faultSpec) resolve(im *image.Image) (*control.Fault, error) {
	n, err := pickNamespace(im, f.ns)
	if err != nil {
		return nil, err
	}
	c := &control.Fault{NSID: n.ID, Ops: f.ops, Status: f.status, Delay: f.delay, Count: f.count}
	switch {
	case f.lba != "" && f.zone != "":
		return nil, cli.UsageError("--lba and --zone cannot be used together")
	case f.zone != "":
		if !n.Zoned() {
			return nil, layout.Errorf(layout.ErrRange, "namespace %d has no zones", n.ID)
		}
		zones, err := parseZones(f.zone, n.Namespace)
		if err != nil {
			return nil, err
		}
		if len(zones) > 1 {
			return nil, cli.UsageError("invalid zones %q for a fault: use one zone, one range or all", f.zone)
		}
		c.LBA, c.Blocks = layout.LBA(zones[0].First)*n.ZoneSize, layout.LBA(zones[0].Last-zones[0].First+1)*n.ZoneSize
	case f.lba != "":
		a, b, isRange := strings.Cut(f.lba, "-")
		first, err := strconv.ParseUint(a, 0, 64)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(b, 0, 64)
		}
		if err != nil || last < first {
			return nil, cli.UsageError("invalid LBA %q: use a number, or a range such as 8-15", f.lba)
		}
		if last >= uint64(n.Blocks) {
			return nil, fmt.Errorf("namespace %d has LBAs 0 to %d; there is no LBA %d", n.ID, n.Blocks-1, last)
		}
		c.LBA, c.Blocks = layout.LBA(first), layout.LBA(last-first+1)
	default:
		c.Blocks = n.Blocks
	}
	return c, nil
}

func newFaultCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fault ACTION IMAGE",
		Short: "make a drive that is being served fail on purpose",
		Long: `Fault makes commands of hosts fail or take longer, to test how a file system or an application
reacts. The image has to be served by the same user (zimg serve, or zimg run with zimg's own
drive). A command that fails on purpose changes nothing. Faults are not part of the image: they
end with the service.

zimg serve --fault sets faults from the start.`,
		Example: `  zimg fault add --zone 3 --op read --status unrecovered-read disk.zimg
  zimg fault add --lba 4096-8191 --op write --status write-fault --count 1 disk.zimg
  zimg fault add --delay 40s disk.zimg
  zimg fault list disk.zimg
  zimg fault clear disk.zimg`,
	}
	cli.MakeGroup(c)
	c.AddCommand(newFaultAddCommand(), newFaultListCommand(), newFaultClearCommand())
	return c
}

func newFaultAddCommand() *cobra.Command {
	var f faultSpec
	var sidecar string
	c := &cobra.Command{
		Use:   "add [flags] IMAGE",
		Short: "add a fault, and print its number",
		Long: `Add adds a fault at blocks or zones, or at all of a namespace. A command is delayed by the first fault
that matches it and has a delay, and fails by the first one that has a status.

busy and interrupted are answers after which a host tries again; the others are final. --op zone is for the
management of zones: reset, finish, open and close.`,
		Example: "  zimg fault add --zone 3 --op read --status unrecovered-read disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.status == "" && f.delay == 0 {
				return cli.UsageError("a fault needs --status or --delay")
			}
			served, err := openServed(args[0], sidecar)
			if err != nil {
				return err
			}
			defer closeQuietly(served.im)
			fault, err := f.resolve(served.im)
			if err != nil {
				return err
			}
			r, err := served.do(&control.Request{Fault: fault})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), r.ID)
			return err
		},
	}
	f.addFlags(c)
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	return c
}

func newFaultListCommand() *cobra.Command {
	var sidecar, output string
	c := &cobra.Command{
		Use:     "list [flags] IMAGE",
		Short:   "list the faults",
		Example: "  zimg fault list disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cli.OneOf("output", output, "human", "json"); err != nil {
				return err
			}
			served, err := openServed(args[0], sidecar)
			if err != nil {
				return err
			}
			defer closeQuietly(served.im)
			r, err := served.do(&control.Request{Faults: true})
			if err != nil {
				return err
			}
			return printFaults(cmd, output, r.Faults)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "human", "print the list in `FORMAT`: human or json")
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	return c
}

// faultView is a fault in JSON.
type faultView struct {
	ID     int      `json:"id"`
	NSID   uint32   `json:"nsid"`
	LBA    uint64   `json:"lba"`
	Blocks uint64   `json:"blocks"`
	Ops    []string `json:"ops"`
	Status string   `json:"status"`
	Delay  string   `json:"delay"`
	Count  int      `json:"count"`
}

func printFaults(cmd *cobra.Command, output string, faults []control.ListedFault) error {
	views := []faultView{}
	var rows [][]string
	for _, f := range faults {
		v := faultView{
			ID: f.ID, NSID: uint32(f.NSID), LBA: uint64(f.LBA), Blocks: uint64(f.Blocks), Ops: f.Ops, Status: f.Status, Delay: f.Delay.String(), Count: f.Count,
		}
		views = append(views, v)
		count, status := "no limit", "-"
		if v.Count > 0 {
			count = strconv.Itoa(v.Count)
		}
		if v.Status != "" {
			status = v.Status
		}
		rows = append(rows, []string{
			strconv.Itoa(v.ID), fmt.Sprint(v.NSID), fmt.Sprint(v.LBA), fmt.Sprint(v.Blocks), strings.Join(v.Ops, ","), status, v.Delay, count,
		})
	}
	if output == "json" {
		return cli.WriteJSON(cmd.OutOrStdout(), views)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "No faults.")
		return err
	}
	return cli.WriteTable(cmd.OutOrStdout(), []cli.Column{
		cli.RightColumn("ID"), cli.RightColumn("NSID"), cli.RightColumn("LBA"), cli.RightColumn("BLOCKS"),
		cli.LeftColumn("OPS"), cli.LeftColumn("STATUS"), cli.RightColumn("DELAY"), cli.RightColumn("LEFT"),
	}, rows)
}

func newFaultClearCommand() *cobra.Command {
	var sidecar string
	c := &cobra.Command{
		Use:     "clear [flags] IMAGE [ID]",
		Short:   "remove a fault, or all of them",
		Example: "  zimg fault clear disk.zimg 1",
		Args:    cli.RangeArgs(1, 2, "IMAGE [ID]"),
		RunE: func(_ *cobra.Command, args []string) error {
			id := 0
			if len(args) == 2 {
				var err error
				if id, err = strconv.Atoi(args[1]); err != nil || id < 1 {
					return cli.UsageError("invalid fault %q: use a number that zimg fault list shows", args[1])
				}
			}
			served, err := openServed(args[0], sidecar)
			if err != nil {
				return err
			}
			defer closeQuietly(served.im)
			_, err = served.do(&control.Request{Clear: &control.Clear{ID: id}})
			return err
		},
	}
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	return c
}

// openServed opens an image that another process serves, which is the only one that can have faults.
func openServed(path, sidecar string) (controlled, error) {
	c, found := openControlled(path, sidecar)
	if found {
		return c, nil
	}
	im, err := image.Open(path, image.Options{Sidecar: sidecar})
	if err != nil {
		return c, err
	}
	closeQuietly(im)
	return c, &image.HintError{
		Err:  fmt.Errorf("%s is not being served", path),
		Hint: "to serve it, run: zimg serve " + cli.ShellWord(path),
	}
}
