package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// position says which blocks a data command means.
type position struct {
	ns    uint32
	zone  uint64
	lba   uint64
	count uint64
	zoneF bool // --zone was given
	lbaF  bool // --lba was given

	sidecar string
}

func (p *position) addFlags(c *cobra.Command, count string) {
	f := c.Flags()
	f.Uint32Var(&p.ns, "ns", 0, "namespace `N` (default: the only one, or the only zoned one)")
	f.Uint64Var(&p.zone, "zone", 0, "zone number `N`, from 0")
	f.Uint64Var(&p.lba, "lba", 0, "logical block address `N` in the namespace")
	f.Uint64Var(&p.count, "count", 0, count)
	f.StringVar(&p.sidecar, "sidecar", "", "`FILE` of the metadata")
}

// resolve looks at which flags were given.
func (p *position) resolve(cmd *cobra.Command) error {
	p.zoneF, p.lbaF = cmd.Flags().Changed("zone"), cmd.Flags().Changed("lba")
	if p.zoneF && p.lbaF {
		return cli.UsageError("--zone and --lba say the same thing twice")
	}
	if p.count == 0 && cmd.Flags().Changed("count") {
		return cli.UsageError("--count 0: at least 1")
	}
	return nil
}

// namespace is the one that p means.
func (p *position) namespace(im *image.Image) (*image.Namespace, error) {
	return pickNamespace(im, p.ns)
}

// pickNamespace is namespace id, or for 0 the only one, or the only zoned one.
func pickNamespace(im *image.Image, id uint32) (*image.Namespace, error) {
	if id != 0 {
		return im.Namespace(layout.NSID(id))
	}
	all := im.Namespaces()
	if len(all) == 1 {
		return all[0], nil
	}
	var found *image.Namespace
	for _, n := range all {
		if !n.Zoned() {
			continue
		}
		if found != nil {
			return nil, cli.UsageError("%s has %d namespaces: say which with --ns", im.Path(), len(all))
		}
		found = n
	}
	if found == nil {
		return nil, cli.UsageError("%s has %d namespaces: say which with --ns", im.Path(), len(all))
	}
	return found, nil
}

// machine is the zone state machine over a namespace of an image.
func machine(n *image.Namespace) *zns.Machine {
	return zns.New(n.Namespace, n, n.Counts())
}

// ioChunk is how many bytes a data command moves at a time; a multiple of every
// block size.
const ioChunk = 256 << 10

type writeOptions struct {
	pos     position
	quiet   bool
	showBar bool
	append  bool
}

func newWriteCommand() *cobra.Command {
	o := writeOptions{}
	c := &cobra.Command{
		Use:   "write [flags] IMAGE [FILE]",
		Short: "write data under the zone rules",
		Long: `Write takes data from FILE, or from standard input, and writes it where --zone or
--lba say: in a zone at its write pointer and nowhere else, as a drive would have it.
With --zone the data begins at the zone's write pointer. Data longer than the zone goes on
in the next one if that is Empty. The last block is padded with zeroes.

When it is done, zones it opened are Closed (or Full), as after a power-down.`,
		Example: "  zimg write --zone 3 disk.zimg data.bin\n  tar c src | zimg write --lba 0 disk.zimg\n  zimg read -U --zone 3 disk.zimg | zimg write --zone 4 disk.zimg",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.pos.addFlags(c, "write only `N` blocks")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	c.Flags().BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is no terminal")
	return c
}

func newAppendCommand() *cobra.Command {
	o := writeOptions{append: true}
	c := &cobra.Command{
		Use:     "append [flags] IMAGE [FILE]",
		Short:   "append data to a zone, and tell where it went",
		Long:    "Append writes at the write pointer of --zone and prints the LBA that was assigned.",
		Example: "  lba=$(zimg append --zone 3 disk.zimg data.bin)",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.pos.addFlags(c, "append only `N` blocks")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "do not print the LBA")
	c.Flags().BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is no terminal")
	return c
}

func (o *writeOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := o.pos.resolve(cmd); err != nil {
		return err
	}
	if !o.pos.zoneF && (o.append || !o.pos.lbaF) {
		return cli.UsageError("say where: %s", map[bool]string{true: "--zone N", false: "--zone N or --lba N"}[o.append])
	}
	file, err := cli.OpenInput(cmd, cli.Second(args))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var in io.Reader = file
	im, err := image.Open(args[0], image.Options{Write: true, Sidecar: o.pos.sidecar})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n, err := o.pos.namespace(im)
	if err != nil {
		return err
	}
	total := int64(0)
	if info, err := os.Stat(cli.Second(args)); err == nil && info.Mode().IsRegular() {
		total = info.Size()
	}
	if o.pos.count != 0 {
		limit := int64(min(o.pos.count, uint64(n.Blocks))) << n.BlockBits
		in = io.LimitReader(in, limit)
		if total == 0 || total > limit {
			total = limit
		}
	}
	w, err := o.start(im, n)
	if err != nil {
		return err
	}
	first := w.lba
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	w.progress = func(done int64) error { return bar.Update(done, total) }
	if err := w.stream(in); err != nil {
		return err
	}
	bar.Clear()
	if o.append && !o.quiet {
		fmt.Fprintln(cmd.OutOrStdout(), uint64(first))
	}
	return nil
}

// start finds where the data goes.
func (o *writeOptions) start(im *image.Image, n *image.Namespace) (*writer, error) {
	w := &writer{im: im, ns: n, lba: layout.LBA(o.pos.lba), touched: map[uint64]layout.LBA{}}
	if !n.Zoned() {
		if o.pos.zoneF {
			return nil, fmt.Errorf("namespace %d has no zones: use --lba: %w", n.ID, layout.ErrRange)
		}
		return w, nil
	}
	w.zones = machine(n)
	if o.pos.zoneF {
		z, err := n.Zone(o.pos.zone)
		if err != nil {
			return nil, err
		}
		w.lba = z.Start
		if z.State.HasWP() {
			w.lba = z.WP
		}
	}
	return w, nil
}
