package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

func newDumpCommand() *cobra.Command {
	var share bool
	c := &cobra.Command{
		Use:   "dump [flags] IMAGE [FILE]",
		Short: "write all metadata as JSON that can be edited",
		Long: `Dump writes label, zones and extensions to FILE, or to standard output. Zones that are
not listed are Empty. Restore reads it back, after an edit or into another image of the same
geometry. The form is in docs/JSON.md.`,
		Example: "  zimg dump disk.zimg zones.json\n  zimg restore disk.zimg zones.json",
		Args:    rangeArgs(1, 2, "IMAGE [FILE]"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			im, err := image.Open(args[0], image.Options{ForceShare: share})
			if err != nil {
				return err
			}
			defer closeQuietly(im)
			d, err := image.NewDump(im)
			if err != nil {
				return err
			}
			out, err := createOutput(cmd, second(args))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, out.Close()) }()
			return writeJSON(out, d)
		},
	}
	c.Flags().BoolVarP(&share, "force-share", "U", false, "read an image that is in use")
	return c
}

func newRestoreCommand() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use:   "restore [flags] IMAGE [FILE]",
		Short: "set all zones from what dump wrote",
		Long: `Restore takes zones, extensions and the label from FILE, or from standard input. They
are judged as check would before anything is changed. Data beyond the new write pointers is
discarded; data is not brought back where a write pointer moves forward: zeroes are.`,
		Example: "  zimg dump disk.zimg | jq '.label = \"other\"' | zimg restore disk.zimg",
		Args:    rangeArgs(1, 2, "IMAGE [FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openInput(cmd, second(args))
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			if err := restore(cmd, args[0], in); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintf(cmd.OutOrStdout(), "Zones of '%s' restored.\n", args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}

func restore(cmd *cobra.Command, path string, in io.Reader) (err error) {
	var d image.Dump
	dec := json.NewDecoder(in)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return fmt.Errorf("not a dump: %w", err)
	}
	im, err := image.Open(path, image.Options{Write: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	was := im.Metadata()
	before, err := writtenEnds(was)
	if err != nil {
		return err
	}
	if err := d.Apply(im); err != nil {
		return err
	}
	report, err := fsck.CheckMetadata(im.Metadata(), fsck.Options{Found: func(f fsck.Finding) {
		fmt.Fprintln(cmd.ErrOrStderr(), printable(f.String()))
	}})
	if err != nil {
		return err
	}
	if report.ExitCode() != 0 {
		return &image.HintError{Err: fmt.Errorf("the dump does not make a sound image; nothing was changed"), Hint: "the lines above say what is wrong"}
	}
	return commitShorter(im, before)
}

// writtenEnds has for each zone, by namespace, how far it is written, where it is at all.
func writtenEnds(m *layout.Metadata) ([]map[uint64]layout.LBA, error) {
	var ends []map[uint64]layout.LBA
	for k, n := range m.Namespaces {
		set := map[uint64]layout.LBA{}
		ends = append(ends, set)
		if !n.Zoned() {
			continue
		}
		i := uint64(0)
		for z, err := range m.Zones[k].All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			if z.Written > z.Start {
				set[i] = z.Written
			}
			i++
		}
	}
	return ends, nil
}

// commitShorter commits zones of which some are written less far than before, and
// discards what they lose.
func commitShorter(im *image.Image, before []map[uint64]layout.LBA) error {
	if err := im.BeginChange(); err != nil {
		return err
	}
	for k, n := range im.Namespaces() {
		for i, end := range before[k] {
			z, err := n.Zone(i)
			if err != nil {
				return err
			}
			if z.Written < end {
				if err := n.DiscardZone(i, z.Written); err != nil {
					return err
				}
			}
		}
	}
	if err := im.SyncData(); err != nil {
		return err
	}
	return im.Commit()
}
