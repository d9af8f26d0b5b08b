package main

import (
	"bufio"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

type readOptions struct {
	pos     position
	share   bool
	showBar bool
}

func newReadCommand() *cobra.Command {
	var o readOptions
	c := &cobra.Command{
		Use:   "read [flags] IMAGE [FILE]",
		Short: "read data from a zone or LBA",
		Long: `Read copies blocks to FILE, or to standard output. With --zone, it reads the written part of
the zone. With --lba and --count, it reads these blocks as a drive would return them: blocks
after a write pointer read as zeros.`,
		Example: "  zimg read --zone 3 disk.zimg > zone3.bin\n  zimg read --lba 0 --count 8 disk.zimg | od -t x1",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.pos.addFlags(c, "read `N` blocks (default: all written blocks of the zone, or all to the end)", true)
	c.Flags().BoolVarP(&o.share, "force-share", "U", false, "read an image that is in use")
	c.Flags().BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
	return c
}

func (o *readOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := o.pos.resolve(cmd); err != nil {
		return err
	}
	im, err := openToRead(cmd, args[0], image.Options{FS: files(cmd), ForceShare: o.share, Sidecar: o.pos.sidecar})
	if err != nil {
		return err
	}
	defer closeQuietly(im)
	n, err := o.pos.namespace(im)
	if err != nil {
		return err
	}
	first, count, err := o.blocks(n)
	if err != nil {
		return err
	}
	out, err := cli.CreateOutput(cmd, cli.Second(args))
	if err != nil {
		return err
	}
	defer func() { err = out.Finish(err) }()
	w := bufio.NewWriterSize(out, ioChunk)
	total := int64(n.ByteOff(count))
	src := io.NewSectionReader(n, int64(n.ByteOff(first)), total)
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	buf := make([]byte, ioChunk)
	for done := int64(0); ; {
		if err := bar.Update(done, total); err != nil {
			return err
		}
		k, err := src.Read(buf)
		done += int64(k)
		if _, werr := w.Write(buf[:k]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// blocks is the range to read, checked against the zone rules.
func (o *readOptions) blocks(n *image.Namespace) (first, count layout.LBA, err error) {
	count = layout.LBA(o.pos.count)
	switch {
	case o.pos.zoneF:
		z, err := n.Zone(o.pos.zone)
		if err != nil {
			return 0, 0, err
		}
		if first = z.Start; count == 0 {
			count = z.Written - z.Start
		}
	case o.pos.lbaF || !n.Zoned():
		first = layout.LBA(o.pos.lba)
		if count == 0 && first < n.Blocks {
			count = n.Blocks - first
			if n.Zoned() {
				count = min(count, n.ZoneSize-first%n.ZoneSize)
			}
		}
	default:
		return 0, 0, cli.UsageError("one of --zone or --lba is required")
	}
	switch {
	case o.pos.zoneF && count == 0: // nothing is written
		return first, 0, nil
	case n.Zoned():
		return first, count, zns.New(n.Namespace, n, n.Counts()).Read(first, max(count, 1))
	case first >= n.Blocks || count > n.Blocks-first:
		return 0, 0, layout.Errorf(layout.ErrRange, "namespace %d has LBAs 0 to %d; there are no %d blocks at %d", n.ID, n.Blocks-1, max(count, 1), first)
	}
	return first, count, nil
}
