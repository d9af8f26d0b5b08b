package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/layout"
)

func newVersionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "version",
		Short:   "print the version of zimg and of the image format",
		Example: "  zimg version --output json",
		Args:    cli.ExactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.OneOf("output", output, "human", "json"); err != nil {
				return err
			}
			if output == "json" {
				return cli.WriteJSON(cmd.OutOrStdout(), map[string]any{
					"version": buildVersion(), "commit": buildCommit(), "go": runtime.Version(), "format-version": layout.Version,
				})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "zimg %s\ncommit %s\n%s, image format %d\n", buildVersion(), buildCommit(), runtime.Version(), layout.Version)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "human", "print the result in `FORMAT`: human or json")
	return c
}
