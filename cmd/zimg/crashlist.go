package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image/crash"
)

// crashEvent is what happened in a recorded run, as docs/JSON.md promises it.
type crashEvent struct {
	Point     *string `json:"point"`
	Op        string  `json:"op"`
	Namespace *uint32 `json:"nsid"`
	Zone      *uint64 `json:"zone"`
	Off       *int64  `json:"offset"`
	Length    *int64  `json:"length"`
	FUA       bool    `json:"fua"`

	state string // what a zone was set to, for people
}

type crashList struct {
	Directory string       `json:"directory"`
	Traced    bool         `json:"traced"`
	Missing   uint64       `json:"missing-entries"`
	Writes    int          `json:"writes"`
	Flushes   int          `json:"flushes"`
	Events    []crashEvent `json:"events"`
}

// eventView makes an event of the list; what it does not have is null.
func eventView(r *crash.Recording, e crash.Event) crashEvent {
	v := crashEvent{Op: e.Op.String(), FUA: e.FUA}
	point := ""
	switch {
	case e.Flush > 0:
		point = fmt.Sprintf("%s:%d", crash.AtFlush, e.Flush)
	case e.Write > 0:
		point = fmt.Sprintf("%s:%d", crash.AtWrite, e.Write)
	}
	if point != "" {
		v.Point = &point
	}
	if e.Op == crash.Flush {
		return v
	}
	n := r.Namespace(e.Step)
	v.Namespace = (*uint32)(&n.ID)
	if n.Zoned() && e.Op != crash.ZonesFinish {
		v.Zone = &e.Zone
	}
	if e.Op == crash.ZoneSet {
		v.state = " to " + e.Set.Zone.State.String()
	}
	if e.Op == crash.Write || e.Op == crash.Discard || e.Op == crash.Zeroes {
		v.Off, v.Length = &e.Off, &e.Length
	}
	return v
}

// text is v as a line.
func (v crashEvent) text() string {
	s := ""
	if v.Point != nil {
		s = *v.Point
	}
	if v.Namespace == nil {
		return s
	}
	s = fmt.Sprintf("%-12s  namespace %d", s, *v.Namespace)
	if v.Zone != nil {
		s += fmt.Sprintf(" zone %d", *v.Zone)
	}
	s += ": " + v.Op + v.state
	if v.Off != nil {
		s += fmt.Sprintf(" of %d bytes at %d", *v.Length, *v.Off)
	}
	if v.FUA {
		s += " (FUA)"
	}
	return s
}

// print lists the points, numbered as --at has them, and what has no number of its own.
func (o *crashOptions) print(cmd *cobra.Command, r *crash.Recording) error {
	w := cmd.OutOrStdout()
	list := crashList{
		Directory: r.Dir, Traced: r.Traced, Missing: r.Log.Missing, Events: []crashEvent{},
		Writes: len(r.Points(crash.AtWrite)), Flushes: len(r.Points(crash.AtFlush)),
	}
	for e := range r.Events() {
		v := eventView(r, e)
		if o.output == "json" {
			list.Events = append(list.Events, v)
		} else {
			fmt.Fprintln(w, v.text())
		}
	}
	if o.output == "json" {
		return cli.WriteJSON(w, list)
	}
	fmt.Fprintf(w, "%s, %s\n", cli.Count(list.Writes, "write", "writes"), cli.Count(list.Flushes, "flush", "flushes"))
	if !r.Traced {
		fmt.Fprintln(w, "no trace of QEMU's commands: zones that were finished look Closed")
	}
	if r.Log.Missing > 0 {
		fmt.Fprintf(w, "the end is missing: QEMU was killed before it had written the last %s\n", cli.Count(int(r.Log.Missing), "entry", "entries"))
	}
	return nil
}
