package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/image/foreign/all"
)

// values are what flags with a fixed set of values complete to.
var values = map[string][]string{
	"layout": {"trailing", "sidecar"}, "repair": {"safe", "all"}, "repair-as-qemu": {"leaks", "all"},
	"preallocation": {"off", "falloc", "full"}, "state": stateKeys[:], "unflushed": {"keep", "drop", "torn"}, "every": {"flush", "write"}, "type": {"zoned", "nvm"},
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
	fixed := func(flag string, list []string) {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)) // fails only if it is there twice
		}
	}
	for flag, list := range values {
		fixed(flag, list)
	}
	list := outputs[c.Name()]
	if list == nil {
		list = outputs[""]
	}
	fixed("output", list)
	names := []string{ownFormat}
	for _, f := range all.Formats {
		names = append(names, f.Name+"\t"+f.Title)
	}
	fixed("format", names)
	fixed("output-format", names)
	if f := c.Flags().Lookup("ns"); f != nil && strings.HasPrefix(f.Value.Type(), "uint") {
		_ = c.RegisterFlagCompletionFunc("ns", completeNamespaces)
	}
	if c.Flags().Lookup("zone") != nil {
		_ = c.RegisterFlagCompletionFunc("zone", completeZones)
	}
	if strings.Contains(c.Use, "IMAGE ZONE") {
		c.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return completeZones(cmd, args[:1], toComplete)
		}
	}
}

// completeNamespaces lists the namespaces of the image that the command line names.
func completeNamespaces(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []string
	eachNamespace(args, func(n *image.Namespace) {
		list = append(list, fmt.Sprintf("%d\t%s, %s", n.ID, n.CSI, formatSize(int64(n.Size()))))
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}

// maxCompletions bounds the zones that are offered.
const maxCompletions = 500

// completeZones lists zones with their states.
func completeZones(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	list := []string{"all"}
	eachNamespace(args, func(n *image.Namespace) {
		if !n.Zoned() || len(list) > 1 { // zones are of one namespace
			return
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil || len(list) > maxCompletions {
				return
			}
			if name := fmt.Sprint(i); strings.HasPrefix(name, prefix) {
				list = append(list, fmt.Sprintf("%s\t%s, %d of %d blocks", name, z.State, z.Written-min(z.Start, z.Written), z.Cap))
			}
			i++
		}
	})
	return list, cobra.ShellCompDirectiveNoFileComp
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
