package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/foreign/all"
	"zimg/layout"
)

// values are what flags with a fixed set of values complete to.
var values = map[string][]string{
	"layout": {"trailing", "sidecar"}, "repair": {"safe", "all"}, "repair-as-qemu": {"leaks", "all"},
	"preallocation": {"off", "falloc", "full"}, "unflushed": crash.Fates(), "every": {"flush", "write"}, "like": likeNames(),
}

// outputs are the values of --output, by command.
var outputs = map[string][]string{
	"report": {"table", "json", "csv", "blkzone", "nvme", "zbd", "zbd-csv"},
	"":       {"human", "json"},
}

// addCompletions teaches c and all commands below it to complete what only they know: flags'
// values, formats, and out of the image named the namespaces and zones. Files the shell completes.
func addCompletions(c *cobra.Command) {
	for _, sub := range c.Commands() {
		addCompletions(sub)
	}
	c.Flags().VisitAll(func(f *pflag.Flag) { // shown beside the flag: without the quotes around the value's name
		_, f.Usage = pflag.UnquoteUsage(f)
	})
	fixed := func(flag string, list []string) {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)) // fails only if it is there twice
		}
	}
	for flag, list := range values {
		fixed(flag, list)
	}
	listed := func(flag string, list []string, more cobra.ShellCompDirective) {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, completeList(list, more))
		}
	}
	listed("state", report.StateNames(), 0)
	var keys []string
	for _, k := range namespaceKeys {
		keys = append(keys, k.key+"\t"+k.about)
	}
	listed("geometry", keys, cobra.ShellCompDirectiveNoSpace)
	if c.Name() == "create" {
		var qemu []string
		for _, k := range namespaceKeys {
			if k.qemu != "" {
				qemu = append(qemu, k.qemu+"\t"+k.about)
			}
		}
		listed("options", append(qemu, "help\tlist the keys"), cobra.ShellCompDirectiveNoSpace)
	}
	listed("at", []string{"flush:", "write:"}, cobra.ShellCompDirectiveNoSpace)
	list := outputs[c.Name()]
	if list == nil {
		list = outputs[""]
	}
	fixed("output", list)
	readable, writable := []string{ownFormat}, []string{ownFormat}
	for _, f := range all.Formats {
		name := f.Name + "\t" + f.Title
		readable = append(readable, name)
		if f.Encode != nil {
			writable = append(writable, name)
		}
	}
	fixed("format", readable)
	fixed("second-format", readable)
	fixed("output-format", writable)
	if f := c.Flags().Lookup("ns"); f != nil {
		if strings.HasPrefix(f.Value.Type(), "uint") {
			_ = c.RegisterFlagCompletionFunc("ns", completeNamespaces)
		} else {
			listed("ns", keys, cobra.ShellCompDirectiveNoSpace)
		}
	}
	if c.Flags().Lookup("zone") != nil {
		_ = c.RegisterFlagCompletionFunc("zone", completeZones)
	}
	switch c.Name() {
	case "snapshot":
		_ = c.RegisterFlagCompletionFunc("apply", completeSnapshots)
		_ = c.RegisterFlagCompletionFunc("delete", completeSnapshots)
	case "run":
		c.ValidArgsFunction = completeQEMU
	}
	if strings.Contains(c.Use, "IMAGE ZONES") {
		c.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return completeZones(cmd, args[:1], toComplete)
		}
	}
}

// completeList completes the last item of a list with commas.
func completeList(items []string, more cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		before := prefix[:strings.LastIndexByte(prefix, ',')+1]
		var list []string
		for _, item := range items {
			list = append(list, before+item)
		}
		return list, cobra.ShellCompDirectiveNoFileComp | more
	}
}

// completeNamespaces lists the namespaces of the image that the command line names.
func completeNamespaces(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []string
	eachNamespace(args, func(n *image.Namespace) {
		list = append(list, fmt.Sprintf("%d\t%s, %s", n.ID, n.CSI, cli.FormatSize(int64(n.Size()))))
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeSnapshots lists the snapshots of the image that the command line names.
func completeSnapshots(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := image.Snapshots(args[0], image.ConvertOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for i, name := range names {
		if v, err := describeSnapshot(args[0], name); err == nil && v.Committed != "" {
			names[i] += "\t" + v.Committed
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeQEMU lists the QEMUs of this computer where the program is to come; everything else is files.
func completeQEMU(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if cmd.ArgsLenAtDash() < 0 || len(args) != cmd.ArgsLenAtDash() || strings.Contains(prefix, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	found := map[string]bool{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		names, err := filepath.Glob(filepath.Join(dir, "qemu-system-*"))
		if err != nil {
			continue
		}
		for _, name := range names {
			found[filepath.Base(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), cobra.ShellCompDirectiveNoFileComp
}

// maxCompletions bounds the zones that are offered.
const maxCompletions = 500

// completeZones lists zones with their states, as the last item of a list.
func completeZones(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	before := prefix[:strings.LastIndexByte(prefix, ',')+1]
	var list []string
	if before == "" {
		list = append(list, "all")
	}
	ns, _ := cmd.Flags().GetUint32("ns") // 0 without such a flag
	done := false
	eachNamespace(args, func(n *image.Namespace) {
		if !n.Zoned() || done || ns != 0 && n.ID != layout.NSID(ns) { // zones are of one namespace
			return
		}
		done = true
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil || len(list) > maxCompletions {
				return
			}
			if name := before + fmt.Sprint(i); strings.HasPrefix(name, prefix) {
				list = append(list, fmt.Sprintf("%s\t%s, %d of %d blocks", name, z.State, z.Written-min(z.Start, z.Written), z.Cap))
			}
			i++
		}
	})
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// eachNamespace opens the image named first, whoever has it in use; an error is no time to speak.
func eachNamespace(args []string, fn func(*image.Namespace)) {
	if len(args) == 0 {
		return
	}
	im, err := image.Open(args[0], image.Options{ForceShare: true})
	if err != nil {
		return
	}
	defer closeQuietly(im)
	for _, n := range im.Namespaces() {
		fn(n)
	}
}
