//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// report prints everything, and writes it to the file out, if that has a name.
func report(m *machine, results []result, inside []comparison, out string) error {
	fmt.Println(m)
	fmt.Println()
	table(os.Stdout, results)
	if len(inside) > 0 {
		fmt.Println()
		insideTable(os.Stdout, inside)
	}
	if out == "" {
		return nil
	}
	j, err := json.MarshalIndent(struct {
		Machine  *machine     `json:"machine"`
		Programs []result     `json:"programs"`
		Inside   []comparison `json:"in-process"`
	}{m, results, inside}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(j, '\n'), 0o666)
}

func table(w io.Writer, results []result) {
	const form = "%-58s %8s %8s %8s %5s %8s %9s %6s  %s\n"
	fmt.Fprintf(w, form, "work / against", "min ms", "median", "max", "MiB", "floor ms", "other ms", "ratio", "goal")
	for _, r := range results {
		other, ratio, floor, goal := "-", "-", "-", ""
		if r.Theirs != nil {
			other, ratio = ms(r.Theirs.Median), fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.Floor > 0 {
			floor = ms(r.Floor)
		}
		if r.Goal != "" {
			goal = r.Goal + map[bool]string{true: " met", false: " MISSED"}[r.Met]
		}
		fmt.Fprintf(w, form, r.Name, ms(r.Zimg.Min), ms(r.Zimg.Median), ms(r.Zimg.Max), fmt.Sprint(r.Zimg.PeakKB/1024), floor, other, ratio, goal)
	}
}

func ms(s float64) string { return fmt.Sprintf("%.1f", 1000*s) }

func insideTable(w io.Writer, list []comparison) {
	const form = "%-58s %12s %12s %6s %12s\n"
	fmt.Fprintf(w, form, "in process / against", "us", "other us", "ratio", "allocated B")
	for _, c := range list {
		other, ratio := "-", "-"
		if c.Theirs > 0 {
			other, ratio = us(c.Theirs), fmt.Sprintf("%.2f", c.Ratio)
		}
		fmt.Fprintf(w, form, c.Name, us(c.Zimg), other, ratio, fmt.Sprint(c.Allocated))
	}
}

func us(s float64) string { return fmt.Sprintf("%.1f", 1e6*s) }
