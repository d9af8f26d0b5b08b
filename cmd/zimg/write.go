package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
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

// addFlags adds the flags that say where data is; --lba for commands that take one.
func (p *position) addFlags(c *cobra.Command, count string, lba bool) {
	f := c.Flags()
	if lba {
		f.Uint64Var(&p.lba, "lba", 0, "start at logical block `N` of the namespace")
	}
	f.Uint32Var(&p.ns, "ns", 0, "use namespace `N` (default: the only one, or the only zoned one)")
	f.Uint64Var(&p.zone, "zone", 0, "use zone `N` (the first is 0)")
	f.Uint64Var(&p.count, "count", 0, count)
	f.StringVar(&p.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
}

// resolve looks at which flags were given.
func (p *position) resolve(cmd *cobra.Command) error {
	p.zoneF, p.lbaF = cmd.Flags().Changed("zone"), cmd.Flags().Changed("lba")
	if p.zoneF && p.lbaF {
		return cli.UsageError("--zone and --lba cannot be used together")
	}
	if p.count == 0 && cmd.Flags().Changed("count") {
		return cli.UsageError("--count must be at least 1")
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
			return nil, cli.UsageError("%s has %d namespaces; choose one with --ns", im.Path(), len(all))
		}
		found = n
	}
	if found == nil {
		return nil, cli.UsageError("%s has %d namespaces; choose one with --ns", im.Path(), len(all))
	}
	return found, nil
}

// ioChunk is how many bytes are read at a time; a multiple of every block size.
const ioChunk = 256 << 10

// dataOptions are what write and append share.
type dataOptions struct {
	pos     position
	showBar bool
}

func newWriteCommand() *cobra.Command {
	var o dataOptions
	c := &cobra.Command{
		Use:   "write [flags] IMAGE [FILE]",
		Short: "write data under the zone rules",
		Long: `Write copies FILE, or standard input, to an image. With --zone, it starts at the write pointer
of the zone. With --lba, it starts at that block, which must be the write pointer if it is in a
zone, as on a drive. Data that does not fit into the zone continues in the next one if that is
Empty. The last block is padded with zeros. Write computes protection information if the
namespace uses it.

Afterwards, the written zones are Closed or Full, as after a power-down. If not all data can be
written, no zone is changed.`,
		Example: `  zimg write --zone 3 disk.zimg data.bin
  tar c src | zimg write --lba 0 disk.zimg
  zimg read -U --zone 3 disk.zimg | zimg write --zone 4 disk.zimg`,
		Args: cli.RangeArgs(1, 2, "IMAGE [FILE]"),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return o.run(cmd, args, func(n *image.Namespace, in io.Reader, w image.WriteOptions) error {
			w.Pad = true
			at := layout.LBA(o.pos.lba)
			if o.pos.zoneF {
				var err error
				if at, err = n.WritePointer(o.pos.zone); err != nil {
					return err
				}
			}
			return n.Write(in, at, w)
		})
	}
	o.addFlags(c, "write only `N` blocks", true)
	return c
}

func newAppendCommand() *cobra.Command {
	var o dataOptions
	var pad, quiet bool
	c := &cobra.Command{
		Use:   "append [flags] IMAGE [FILE]",
		Short: "append data to a zone and print its LBA",
		Long: `Append works like the Zone Append command: it writes FILE, or standard input, at the write
pointer of --zone and prints the LBA of the first block. Data larger than 512 KiB, the default
limit of a drive, is written with several commands; append prints the LBA of each on its own
line.

All data goes to one zone: if it does not fit, append fails with Zone Boundary Error. The data
must be whole blocks unless --pad is given. If append fails, the zone is not changed. Append
computes protection information if the namespace uses it.`,
		Example: "  lba=$(zimg append --pad --zone 3 disk.zimg data.bin)",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var list []image.Extent
		err := o.run(cmd, args, func(n *image.Namespace, in io.Reader, w image.WriteOptions) (err error) {
			w.Pad = pad
			list, err = n.Append(in, o.pos.zone, w)
			if errors.Is(err, image.ErrShortBlock) {
				err = &image.HintError{Err: fmt.Errorf("%s: %w", inputName(cli.Second(args)), err), Hint: "use --pad to fill the last block with zeros"}
			}
			return err
		})
		if err != nil || quiet {
			return err
		}
		for _, e := range list {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), uint64(e.LBA)); err != nil {
				return err
			}
		}
		return nil
	}
	o.addFlags(c, "append only `N` blocks", false)
	c.Flags().BoolVar(&pad, "pad", false, "pad the last block with zeros")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not print LBAs")
	return c
}

func (o *dataOptions) addFlags(c *cobra.Command, count string, lba bool) {
	o.pos.addFlags(c, count, lba)
	c.Flags().BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
}

// run opens the image and the data, and has put write it.
func (o *dataOptions) run(
	cmd *cobra.Command, args []string, put func(n *image.Namespace, in io.Reader, w image.WriteOptions) error,
) (err error) {
	if err := o.pos.resolve(cmd); err != nil {
		return err
	}
	if !o.pos.zoneF && !o.pos.lbaF {
		if cmd.Flags().Lookup("lba") == nil {
			return cli.UsageError("--zone is required")
		}
		return cli.UsageError("one of --zone or --lba is required")
	}
	file, err := cli.OpenInput(cmd, cli.Second(args))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var in io.Reader = file
	im, err := image.Open(args[0], image.Options{FS: files(cmd), Write: true, Sidecar: o.pos.sidecar, Stamp: stamp()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n, err := o.pos.namespace(im)
	if err != nil {
		return err
	}
	if o.pos.zoneF && !n.Zoned() {
		return layout.Errorf(layout.ErrRange, "namespace %d has no zones", n.ID)
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
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	w := image.WriteOptions{Progress: func(done int64) error { return bar.Update(done, total) }}
	if err := put(n, in, w); err != nil {
		return err
	}
	bar.Clear()
	return nil
}
