package main

import (
	"fmt"
	"io"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
)

const (
	// maxAlike bounds the lines about findings of one code: a file of millions of zones may be wrong in
	// all of them.
	maxAlike = 100
	// maxFindings bounds the findings in a JSON result, which is in memory at once.
	maxFindings = 10000
)

type findingView struct {
	Code     string  `json:"code"`
	Severity string  `json:"severity"`
	Repair   string  `json:"repair"`
	NSID     uint32  `json:"nsid,omitempty"`
	Zone     *uint64 `json:"zone,omitempty"`
	File     string  `json:"file,omitempty"`
	Offset   *int64  `json:"offset,omitempty"`
	Text     string  `json:"text"`
	Detail   string  `json:"detail,omitempty"`
	Found    string  `json:"found,omitempty"`
	Expected string  `json:"expected,omitempty"`
	Source   string  `json:"source,omitempty"`
	Repaired bool    `json:"repaired"`
}

// findings prints what a check finds as it is found, and keeps it for JSON.
type findings struct {
	w      io.Writer
	path   string // of the image, before each line
	all    bool   // print also those beyond maxAlike
	keep   bool
	dryRun bool

	seen      map[fsck.Code]int
	order     []fsck.Code
	views     []findingView
	truncated bool
}

func (l *findings) add(f fsck.Finding) {
	if l.seen == nil {
		l.seen = map[fsck.Code]int{}
	}
	if l.seen[f.Code]++; l.seen[f.Code] == 1 {
		l.order = append(l.order, f.Code)
	}
	if l.all || l.seen[f.Code] <= maxAlike {
		prefix := ""
		switch {
		case f.Repaired && l.dryRun:
			prefix = "Would repair: "
		case f.Repaired:
			prefix = "Repairing: "
		}
		fmt.Fprintf(l.w, "%s: %s%s\n", cli.OneLine(l.path), prefix, cli.OneLine(f.String()))
	}
	if !l.keep {
		return
	}
	if len(l.views) == maxFindings {
		l.truncated = true
		return
	}
	e := f.Entry()
	v := findingView{
		Code: string(f.Code), Severity: string(e.Severity), Repair: string(e.Class), NSID: uint32(f.Namespace), File: f.File,
		Text: e.Text, Detail: f.Detail, Found: f.Got, Expected: f.Want, Source: f.Source, Repaired: f.Repaired,
	}
	if f.InZone {
		v.Zone = &f.Zone
	}
	if f.File != "" {
		v.Offset = &f.Off
	}
	l.views = append(l.views, v)
}

// end says how many were not printed.
func (l *findings) end() {
	for _, c := range l.order {
		if more := l.seen[c] - maxAlike; more > 0 && !l.all {
			fmt.Fprintf(l.w, "%s: %d more of %s: --all lists them\n", cli.OneLine(l.path), more, c)
		}
	}
}
