package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image/crash"
	"zimg/image/drive/control"
	"zimg/image/drive/record"
)

// onRequest is the point of a power cut that zimg power-cut asks for.
const onRequest = "request"

// parsePowerCut reads the value of serve --power-cut: a point, or request, and then the fate of unflushed writes and a
// seed.
func parsePowerCut(s string) (*record.Trigger, error) {
	words := strings.Split(s, ",")
	at := &record.Trigger{Fate: crash.Drop, Seed: rand.Uint64()}
	if words[0] != onRequest {
		kind, n, err := record.ParsePoint(words[0])
		if err != nil {
			return nil, cli.UsageError("--power-cut %q: begin with write:N, flush:N or request", s)
		}
		at.Kind, at.N = kind, n
	}
	for _, word := range words[1:] {
		switch value, isSeed := strings.CutPrefix(word, "seed="); {
		case isSeed:
			seed, err := strconv.ParseUint(value, 0, 64)
			if err != nil {
				return nil, cli.UsageError("--power-cut %q: invalid seed %q", s, value)
			}
			at.Seed = seed
		case crash.Unflushed(word).Check() == nil:
			at.Fate = crash.Unflushed(word)
		default:
			return nil, cli.UsageError("--power-cut %q: %q is not keep, drop, torn or seed=N", s, word)
		}
	}
	return at, nil
}

type powerCutOptions struct {
	at        string
	unflushed string
	seed      uint64
	sidecar   string
}

func newPowerCutCommand() *cobra.Command {
	var o powerCutOptions
	c := &cobra.Command{
		Use:   "power-cut [flags] IMAGE",
		Short: "cut the power of a drive that is being served",
		Long: `Power-cut ends the service of an image (zimg serve, or zimg run with zimg's own drive) as a power
failure would. Hosts get no more answers, the process that serves the image ends, and the image is what
the drive has after the failure: everything flushed is there, and --unflushed controls writes that
were not flushed: drop discards them, keep keeps them all, and torn keeps a random part chosen
by --seed. Zone resets and finishes are never undone. docs/CRASH.md describes the model.

--at waits for a point: write:N is right after the N-th write, discard or zone reset from now on,
flush:N right after the N-th flush. Without --at the power is cut at once. To drop or tear what
was not flushed, the drive has to keep what that needs: zimg serve --power-cut request
does so from the start, and --at from now on.`,
		Example: `  zimg power-cut --at flush:3 disk.zimg
  zimg power-cut --at write:100 --unflushed torn --seed 7 disk.zimg
  zimg power-cut --unflushed keep disk.zimg`,
		Args: cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.at, "at", "", "cut the power at `POINT`: write:N or flush:N, counted from now on (default: at once)")
	f.StringVar(&o.unflushed, "unflushed", "drop", "what happens to unflushed writes, the `FATE`: keep, drop or torn")
	f.Uint64Var(&o.seed, "seed", 0, "set the random seed of --unflushed torn to `N` (default: a random one, which is printed)")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	return c
}

func (o *powerCutOptions) run(cmd *cobra.Command, path string) error {
	if err := cli.OneOf("unflushed", o.unflushed, crash.Fates()...); err != nil {
		return err
	}
	q := &control.PowerCut{Fate: o.unflushed, Seed: o.seed}
	if o.at != "" {
		kind, n, err := record.ParsePoint(o.at)
		if err != nil {
			return cli.UsageError("--at: %v", err)
		}
		q.Kind, q.N = string(kind), n
	}
	torn := o.unflushed == string(crash.Torn)
	if cmd.Flags().Changed("seed") {
		if !torn {
			return cli.UsageError("--seed requires --unflushed torn")
		}
	} else {
		q.Seed = rand.Uint64()
	}
	served, err := openServed(path, o.sidecar)
	if err != nil {
		return err
	}
	defer closeQuietly(served.im)
	if _, err := served.do(&control.Request{PowerCut: q}); err != nil {
		return err
	}
	if torn {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "seed %d\n", q.Seed)
	}
	return err
}
