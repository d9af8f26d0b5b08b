package main

import (
	"fmt"
	"io"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/image/disk"
	"zimg/image/foreign"
)

// foreignInfoView is what info shows of a foreign file in JSON.
type foreignInfoView struct {
	VirtualSize    int64               `json:"virtual-size"`
	Filename       string              `json:"filename"`
	Format         string              `json:"format"`
	ActualSize     int64               `json:"actual-size"`
	FormatSpecific foreignInfoSpecific `json:"format-specific"`
}

type foreignInfoSpecific struct {
	Type string          `json:"type"`
	Data foreignInfoData `json:"data"`
}

type foreignInfoData struct {
	Title      string            `json:"title"`
	Facts      map[string]string `json:"facts"`
	Assumed    []string          `json:"assumed"`
	Lost       []string          `json:"not-importable"`
	Namespaces []infoNamespace   `json:"namespaces"`
}

// newForeignInfo reads all zones: foreign formats keep no counts.
func newForeignInfo(path string, d *foreign.Decoded) (*foreignInfoView, []*report.Namespace, error) {
	spaces, err := foreignSpaces(d, 0)
	if err != nil {
		return nil, nil, err
	}
	v := &foreignInfoView{Filename: path, Format: d.Format.Name, ActualSize: allocated(path)}
	data := &v.FormatSpecific.Data
	v.FormatSpecific.Type = d.Format.Name
	data.Title, data.Facts = d.Format.Title, map[string]string{}
	data.Assumed, data.Lost = append([]string{}, d.Assumed...), append([]string{}, d.Lost...)
	for _, f := range d.Facts {
		data.Facts[f.Key] = f.Value
	}
	for _, s := range spaces {
		c, err := s.Counts()
		if err != nil {
			return nil, nil, err
		}
		v.VirtualSize += int64(s.Size())
		data.Namespaces = append(data.Namespaces, namespaceView(s.Namespace, c))
	}
	return v, spaces, nil
}

// allocated is the space that path takes; 0 for a directory.
func allocated(path string) int64 {
	file, err := disk.OS.Open(path, disk.ReadOnly, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	n, err := file.AllocatedBytes()
	if err != nil {
		return 0
	}
	return n
}

func printForeignInfo(w io.Writer, d *foreign.Decoded, v *foreignInfoView, spaces []*report.Namespace) error {
	fmt.Fprintf(w, "image: %s\n", cli.OneLine(v.Filename))
	fmt.Fprintf(w, "file format: %s (%s)\n", v.Format, d.Format.Title)
	fmt.Fprintf(w, "virtual size: %s (%d bytes)\n", cli.HumanSize(v.VirtualSize), v.VirtualSize)
	if v.ActualSize > 0 {
		fmt.Fprintf(w, "disk size: %s\n", cli.HumanSize(v.ActualSize))
	}
	for _, f := range d.Facts {
		fmt.Fprintf(w, "%s: %s\n", f.Key, cli.OneLine(f.Value))
	}
	for _, a := range d.Assumed {
		fmt.Fprintf(w, "assumed: %s\n", cli.OneLine(a))
	}
	for _, l := range d.Lost {
		fmt.Fprintf(w, "cannot be imported: %s\n", cli.OneLine(l))
	}
	fmt.Fprintln(w, "namespaces:")
	var rows [][]string
	for _, s := range spaces {
		rows = append(rows, namespaceRow(s.Namespace))
	}
	if err := cli.WriteTable(w, namespaceColumns, rows); err != nil {
		return err
	}
	printCounts(w, v.FormatSpecific.Data.Namespaces)
	return nil
}
