package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/qemu"
	"zimg/layout"
)

type qemuArgsOptions struct {
	output  string
	id      string
	sidecar string
}

func newQEMUArgsCommand() *cobra.Command {
	var o qemuArgsOptions
	c := &cobra.Command{
		Use:   "qemu-args [flags] IMAGE",
		Short: "print the QEMU arguments that attach an image",
		Long: `Qemu-args prints the -blockdev and -device arguments for an image, one per line, for use in
$(...) in a shell. A QEMU started with them has only Empty zones, as always without zimg. Use
zimg run to start QEMU with the zones of the image.`,
		Example: "  qemu-system-x86_64 -m 1G $(zimg qemu-args disk.zimg) ...",
		Args:    cli.ExactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	c.Flags().StringVarP(&o.output, "output", "o", "human", "print the arguments in `FORMAT`: human (one per line) or json")
	c.Flags().StringVar(&o.id, "id", "zimg0", "use `ID` as the prefix of node and device names")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	return c
}

func (o *qemuArgsOptions) run(cmd *cobra.Command, path string) error {
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	im, err := openToRead(cmd, path, image.Options{FS: files(cmd), Sidecar: o.sidecar})
	if err != nil {
		return err
	}
	defer closeQuietly(im)
	var files []string
	for _, f := range im.Files().Data {
		files = append(files, f.Name())
	}
	var namespaces []*layout.Namespace
	for _, n := range im.Namespaces() {
		namespaces = append(namespaces, n.Namespace)
	}
	list := qemu.Args(files, namespaces, im.Header().UUID, o.id, nil)
	if o.output == "json" {
		return cli.WriteJSON(cmd.OutOrStdout(), list)
	}
	for _, f := range files {
		if strings.ContainsAny(f, " \t\n*?[") {
			return fmt.Errorf("%q: a shell would split or expand that name: use --output json, or another name", f)
		}
	}
	for _, a := range list {
		fmt.Fprintln(cmd.OutOrStdout(), a)
	}
	return nil
}
