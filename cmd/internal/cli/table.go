package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Column is the head of a column of a table.
type Column struct {
	Name  string
	Right bool // align to the right, as numbers are
}

// LeftColumn is a column of text.
func LeftColumn(name string) Column { return Column{Name: name} }

// RightColumn is a column of numbers.
func RightColumn(name string) Column { return Column{Name: name, Right: true} }

// WriteTable prints rows in plain aligned columns. It is for short tables: a
// row takes some 20 us. A report of many zones has fixed widths instead.
func WriteTable(w io.Writer, columns []Column, rows [][]string) error {
	var head []string
	var align tw.Alignment
	for _, c := range columns {
		head = append(head, c.Name)
		if c.Right {
			align = append(align, tw.AlignRight)
		} else {
			align = append(align, tw.AlignLeft)
		}
	}
	var buf bytes.Buffer
	t := tablewriter.NewTable(&buf,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Lines: tw.LinesNone, Separators: tw.SeparatorsNone},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithAlignment(align),
		tablewriter.WithPadding(tw.Padding{Left: " ", Right: " ", Overwrite: true}), // it aligns with what it pads with
	)
	t.Header(head)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	if err := t.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(buf.String()) { // it pads the first and the last column too
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.TrimPrefix(line, " "), " \n")); err != nil {
			return err
		}
	}
	return nil
}
