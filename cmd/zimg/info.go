package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/fsck"
	"zimg/image"
	"zimg/image/foreign"
	"zimg/image/qemu"
	"zimg/layout"
)

// infoView is what info shows in JSON: the keys of qemu-img info first, with
// the same meaning.
type infoView struct {
	VirtualSize    int64        `json:"virtual-size"`
	Filename       string       `json:"filename"`
	Format         string       `json:"format"`
	ActualSize     int64        `json:"actual-size"`
	DirtyFlag      bool         `json:"dirty-flag"`
	FormatSpecific infoSpecific `json:"format-specific"`
}

type infoSpecific struct {
	Type string   `json:"type"`
	Data infoData `json:"data"`
}

type infoData struct {
	Version    int             `json:"version"`
	UUID       string          `json:"uuid"`
	Serial     string          `json:"serial"`
	Label      string          `json:"label"`
	Layout     string          `json:"layout"`
	State      string          `json:"state"`
	Generation uint64          `json:"generation"`
	Created    string          `json:"created"`
	Committed  string          `json:"committed"`
	Tool       string          `json:"tool"`
	DataFiles  []string        `json:"data-files"`
	MetaFile   string          `json:"metadata-file"`
	MetaOff    int64           `json:"metadata-offset"`
	MetaLen    int64           `json:"metadata-length"`
	Session    *infoSession    `json:"session"`
	Undo       *infoUndo       `json:"undo"` // null where there is no undo file
	Leftover   *string         `json:"leftover"`
	Namespaces []infoNamespace `json:"namespaces"`
}

type infoSession struct {
	ID    string `json:"id"`
	PID   uint32 `json:"pid"`
	Start string `json:"start"`
}

// infoUndo is the undo file of the last repair.
type infoUndo struct {
	Filename string `json:"filename"`
	State    string `json:"state"` // usable, stale or useless
	text     string
}

// undoStates are the names of the states in JSON.
var undoStates = map[fsck.UndoState]string{fsck.UndoFits: "usable", fsck.UndoStale: "stale", fsck.UndoUseless: "useless"}

type infoNamespace struct {
	NSID       uint32            `json:"nsid"`
	Type       string            `json:"type"`
	UUID       string            `json:"uuid"`
	ByID       string            `json:"by-id,omitempty"`
	Size       int64             `json:"size"`
	BlockSize  int64             `json:"block-size"`
	MetaSize   uint16            `json:"metadata-size"`
	PI         uint8             `json:"pi"`
	DataFile   int               `json:"data-file"`
	DataOffset int64             `json:"data-offset"`
	Zoned      *infoZoned        `json:"zoned"`
	Counts     map[string]uint64 `json:"zone-states,omitempty"`
}

type infoZoned struct {
	Zones    uint64 `json:"zone-nr"`
	Size     int64  `json:"zone-sz"`
	Capacity int64  `json:"zone-capacity"`
	MaxOpen  uint64 `json:"zone-omax"`
	MaxAct   uint64 `json:"zone-amax"`
	ExtSize  int    `json:"descr-ext-size"`
	ZRWAS    int64  `json:"zrwas"`
	ZRWAFG   int64  `json:"zrwafg"`
	NumZRWA  uint32 `json:"numzrwa"`
	Cross    bool   `json:"cross-read"`
}

type infoOptions struct {
	output  string
	sidecar string
	share   bool
	foreign foreignOptions
}

func newInfoCommand() *cobra.Command {
	var o infoOptions
	c := &cobra.Command{
		Use:   "info [flags] IMAGE",
		Short: "show geometry, layout, state and zone counts of an image",
		Long: `Info reads only the header of an image, so it takes the same time for ten zones and for a
million. In the table of namespaces, OPEN and ACTIVE are the limits. It also shows the format and the zones of files in foreign formats (see zimg convert
--help).`,
		Example: "  zimg info disk.zimg\n  zimg info --output json disk.zimg | jq '.\"format-specific\".data.generation'",
		Args:    cli.ExactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	c.Flags().StringVarP(&o.output, "output", "o", "human", "print the result in `FORMAT`: human or json")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	c.Flags().BoolVarP(&o.share, "force-share", "U", false, "read an image that is in use")
	o.foreign.addFlags(c.Flags())
	return c
}

func (o *infoOptions) run(cmd *cobra.Command, path string) error {
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	o.foreign.fs = files(cmd)
	f, err := o.foreign.find(path, o.sidecar)
	if err != nil {
		return err
	}
	if f != nil {
		return o.runForeign(cmd, path, f)
	}
	im, err := openZones(cmd, path, image.Options{FS: files(cmd), ForceShare: o.share, Sidecar: o.sidecar})
	if err != nil {
		return err
	}
	defer closeQuietly(im)
	v, err := newInfoView(im)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return cli.WriteJSON(cmd.OutOrStdout(), v)
	}
	return printInfo(cmd.OutOrStdout(), im, v)
}

func (o *infoOptions) runForeign(cmd *cobra.Command, path string, f *foreign.Format) error {
	d, closer, err := o.foreign.open(path, f, o.sidecar, 0, o.share)
	if err != nil {
		return err
	}
	defer func() { _ = closer() }()
	v, spaces, err := newForeignInfo(path, d)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return cli.WriteJSON(cmd.OutOrStdout(), v)
	}
	return printForeignInfo(cmd.OutOrStdout(), d, v, spaces)
}

func newInfoView(im *image.Image) (*infoView, error) {
	h, f := im.Header(), im.Files()
	condition, err := im.Condition()
	if err != nil {
		return nil, err
	}
	d := infoData{
		Version: layout.Version, UUID: layout.FormatUUID(h.UUID), Serial: qemu.Serial(h.UUID), Label: h.Label, Layout: h.Kind.String(),
		State: condition.String(), Generation: h.Generation, Created: timeText(h.Created), Committed: timeText(h.Committed), Tool: h.Tool,
		MetaFile: f.MetaName(), MetaOff: int64(h.MetaOff), MetaLen: int64(2*h.SlotLen) + layout.LocatorLen,
	}
	if h.Flags&layout.InUse != 0 {
		d.Session = &infoSession{ID: hex.EncodeToString(h.Session.ID[:]), PID: h.Session.PID, Start: timeText(h.Session.Start)}
	}
	name, undo, err := fsck.InspectUndo(im, fsck.Options{})
	if err != nil {
		return nil, err
	}
	if undo != fsck.NoUndo {
		d.Undo = &infoUndo{Filename: name, State: undoStates[undo], text: undo.String()}
	}
	if leftover, err := fsck.Leftover(im, fsck.Options{}); err != nil {
		return nil, err
	} else if leftover != "" {
		d.Leftover = &leftover
	}
	v := &infoView{Filename: im.Path(), Format: "zimg", DirtyFlag: h.Flags&layout.Clean == 0}
	for _, file := range f.Data {
		d.DataFiles = append(d.DataFiles, file.Name())
		n, err := file.AllocatedBytes()
		if err != nil {
			return nil, err
		}
		v.ActualSize += n
	}
	if h.Kind == layout.Sidecar {
		n, err := f.Meta.AllocatedBytes()
		if err != nil {
			return nil, err
		}
		v.ActualSize += n
	}
	for _, n := range im.Namespaces() {
		v.VirtualSize += int64(n.Size())
		view := namespaceView(n.Namespace, n.Counts())
		view.ByID = "/dev/disk/by-id/" + qemu.ByID(d.Serial, n.ID)
		d.Namespaces = append(d.Namespaces, view)
	}
	v.FormatSpecific = infoSpecific{Type: "zimg", Data: d}
	return v, nil
}

// namespaceView is n in JSON.
func namespaceView(n *layout.Namespace, counts layout.Counts) infoNamespace {
	v := infoNamespace{
		NSID: uint32(n.ID), Type: n.CSI.String(), UUID: layout.FormatUUID(n.UUID), Size: int64(n.Size()), BlockSize: n.BlockSize(),
		MetaSize: n.MS, PI: n.PI, DataFile: int(n.DataFile), DataOffset: int64(n.DataOff),
	}
	if !n.Zoned() {
		return v
	}
	bytes := func(b uint32) int64 { return int64(n.ByteOff(layout.LBA(b))) }
	v.Zoned = &infoZoned{
		Zones: n.ZoneCount, Size: int64(n.ByteOff(n.ZoneSize)), Capacity: int64(n.ByteOff(n.ZoneCap)),
		MaxOpen: n.MaxOpen(), MaxAct: n.MaxActive(), ExtSize: n.ExtSize(),
		ZRWAS: bytes(n.ZRWAS), ZRWAFG: bytes(n.ZRWAFG), NumZRWA: n.NumZRWA, Cross: n.CrossRead,
	}
	v.Counts = map[string]uint64{}
	for i, c := range counts {
		v.Counts[report.StateKeys[i]] = c
	}
	return v
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func printInfo(w io.Writer, im *image.Image, v *infoView) error {
	d := &v.FormatSpecific.Data
	fmt.Fprintf(w, "image: %s\n", cli.OneLine(v.Filename))
	fmt.Fprintf(w, "file format: %s\n", v.Format)
	fmt.Fprintf(w, "virtual size: %s (%d bytes)\n", cli.HumanSize(v.VirtualSize), v.VirtualSize)
	fmt.Fprintf(w, "disk size: %s\n", cli.HumanSize(v.ActualSize))
	fmt.Fprintf(w, "layout: %s\n", d.Layout)
	if d.Layout == "sidecar" {
		fmt.Fprintf(w, "sidecar: %s\n", cli.OneLine(d.MetaFile))
		for _, f := range d.DataFiles {
			fmt.Fprintf(w, "data file: %s\n", cli.OneLine(f))
		}
	}
	if d.Label != "" {
		fmt.Fprintf(w, "label: %s\n", cli.OneLine(d.Label))
	}
	fmt.Fprintf(w, "uuid: %s\n", d.UUID)
	fmt.Fprintf(w, "serial number: %s\n", d.Serial)
	for _, n := range im.Namespaces() {
		fmt.Fprintf(w, "namespace %d in a Linux guest: /dev/disk/by-id/%s\n", n.ID, qemu.ByID(d.Serial, n.ID))
	}
	fmt.Fprintf(w, "state: %s\n", strings.ReplaceAll(d.State, "-", " "))
	switch {
	case d.Session != nil && d.State == image.Crashed.String():
		fmt.Fprintf(w, "was in use by: pid %d since %s\n", d.Session.PID, d.Session.Start)
	case d.Session != nil:
		fmt.Fprintf(w, "in use by: pid %d since %s\n", d.Session.PID, d.Session.Start)
	}
	if d.Undo != nil {
		fmt.Fprintf(w, "undo file: %s (%s)\n", cli.OneLine(d.Undo.Filename), d.Undo.text)
	}
	if d.Leftover != nil {
		fmt.Fprintf(w, "leftover: %s has metadata of an interrupted change of the layout; zimg check --repair removes it\n", cli.OneLine(*d.Leftover))
	}
	fmt.Fprintf(w, "generation: %d\n", d.Generation)
	created := d.Created
	if created == "" { // the metadata was rebuilt from the data
		created = "unknown"
	}
	fmt.Fprintf(w, "created: %s\ncommitted: %s by %s\n", created, d.Committed, cli.OneLine(d.Tool))
	fmt.Fprintln(w, "namespaces:")
	if err := cli.WriteTable(w, namespaceColumns, namespaceRows(im)); err != nil {
		return err
	}
	for _, n := range im.Namespaces() {
		if n.ZRWAS > 0 {
			fmt.Fprintf(w, "namespace %d: %s\n", n.ID, describeZRWA(n.Namespace))
		}
	}
	printCounts(w, d.Namespaces)
	return nil
}

// printCounts prints how many zones of each namespace are in each state.
func printCounts(w io.Writer, namespaces []infoNamespace) {
	for _, n := range namespaces {
		if n.Counts == nil {
			continue
		}
		var states []string
		for i, key := range report.StateKeys {
			if c := n.Counts[key]; c > 0 {
				states = append(states, fmt.Sprintf("%d %v", c, layout.ZoneStates[i]))
			}
		}
		fmt.Fprintf(w, "zones of namespace %d: %s\n", n.NSID, strings.Join(states, ", "))
	}
}

var namespaceColumns = []cli.Column{
	cli.RightColumn("NSID"),
	cli.LeftColumn("TYPE"),
	cli.RightColumn("SIZE"),
	cli.RightColumn("BLOCK"),
	cli.RightColumn("META"),
	cli.RightColumn("ZONES"),
	cli.RightColumn("ZONE-SIZE"),
	cli.RightColumn("CAPACITY"),
	cli.RightColumn("OPEN"),
	cli.RightColumn("ACTIVE"),
	cli.RightColumn("EXT"),
}

// namespaceRows has one row per namespace, in the columns of namespaceColumns.
func namespaceRows(im *image.Image) [][]string {
	var rows [][]string
	for _, n := range im.Namespaces() {
		rows = append(rows, namespaceRow(n.Namespace))
	}
	return rows
}

func namespaceRow(n *layout.Namespace) []string {
	row := []string{fmt.Sprint(n.ID), n.CSI.String(), cli.FormatSize(int64(n.Size())), fmt.Sprint(n.BlockSize()), fmt.Sprint(n.MS)}
	if !n.Zoned() {
		return append(row, "-", "-", "-", "-", "-", "-")
	}
	return append(row, fmt.Sprint(n.ZoneCount), cli.FormatSize(int64(n.ByteOff(n.ZoneSize))), cli.FormatSize(int64(n.ByteOff(n.ZoneCap))),
		limitText(n.MaxOpen()), limitText(n.MaxActive()), fmt.Sprint(n.ExtSize()))
}
