// Command guest gives shell scripts the guest that the tests boot.
//
//	guest build          builds it if need be, prints the paths of kernel and initrd
//	guest args SCRIPT    prints QEMU's arguments, one per line, for a boot that runs SCRIPT
//	guest bootdisk FILE  writes the disk of a guest that is one boot sector
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"zimg/image/imagetest/guest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	lines, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
}

func run(ctx context.Context, args []string) ([]string, error) {
	switch {
	case len(args) == 1 && args[0] == "build":
		g, err := guest.Build(ctx)
		return []string{g.Kernel, g.Initrd}, err
	case len(args) == 2 && args[0] == "args":
		g, err := guest.Build(ctx)
		return g.Args(args[1]), err
	case len(args) == 2 && args[0] == "bootdisk":
		return nil, os.WriteFile(args[1], guest.BootDisk(), 0o666)
	}
	return nil, fmt.Errorf("usage: guest build | guest args SCRIPT | guest bootdisk FILE")
}
