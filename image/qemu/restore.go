package qemu

import (
	"fmt"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// Restore brings the zones of all namespaces of im, Empty as QEMU starts them,
// to the states they have in the image after a power-up. The namespaces have storage that
// swallows writes: a write pointer moves at no cost. If an earlier Restore was interrupted, again resets all
// zones first.
//
// A Full zone is finished, wherever its write pointer was: a drive does not report that. Extensions
// come before writes, since only an Empty zone takes one. Open zones are closed before there are more of them
// than may be open. The zones' write order is of no consequence to the guest.
func (c *Controller) Restore(im *image.Image, again bool) error {
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		r := restorer{c: c, n: n, limit: int(n.MaxOpen())}
		if again {
			// By itself: commands of one batch may run while QEMU is still resetting zone after zone.
			if err := c.run(&c.io, []command{zoneSend(n.ID, zns.ActionReset, 0, true)}, 0); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
		}
		if err := r.all(); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return nil
}

type restorer struct {
	c     *Controller
	n     *image.Namespace
	batch []command
	open  int // zones that batch leaves open
	limit int // how many may be, 0 for no limit
}

// restoreBatch bounds the commands that are collected before they are sent.
const restoreBatch = 4 * queueDepth

func (r *restorer) all() error {
	i := uint64(0)
	for z, err := range r.n.All(0, r.n.ZoneCount) {
		if err != nil {
			return err
		}
		if z.State != layout.Empty {
			if err := r.zone(i, zns.AtRest(r.n.Namespace, z)); err != nil {
				return err
			}
		}
		i++
	}
	return r.send()
}

func (r *restorer) zone(i uint64, z layout.Zone) error {
	if z.Attrs&layout.ZDEV != 0 && z.State != layout.Offline {
		if err := r.extension(i, z); err != nil {
			return err
		}
	}
	switch z.State { //nolint:exhaustive // Empty was passed over, no zone is open at rest, conventional ones were refused
	case layout.Full, layout.ReadOnly, layout.Offline:
		// QEMU has no way to set a zone to the last two: at least nobody writes to them.
		r.batch = append(r.batch, zoneSend(r.n.ID, zns.ActionFinish, z.Start, false))
	case layout.Closed:
		switch {
		case z.WP > z.Start:
			r.batch = append(r.batch, writeZeroes(r.n.ID, z.Start, z.WP-z.Start)...)
			r.open++
		case z.Attrs&layout.ZDEV == 0:
			r.batch = append(r.batch, zoneSend(r.n.ID, zns.ActionOpen, z.Start, false), zoneSend(r.n.ID, zns.ActionClose, z.Start, false))
		}
	}
	if len(r.batch) >= restoreBatch || r.limit > 0 && r.open == r.limit {
		return r.send()
	}
	return nil
}

// extension sets the extension of zone i. It needs the data buffer, and there is only one.
func (r *restorer) extension(i uint64, z layout.Zone) error {
	if err := r.send(); err != nil {
		return err
	}
	ext, err := r.n.Extension(i)
	if err != nil {
		return err
	}
	if err := r.c.t.Write(r.c.ram+memData, ext); err != nil {
		return err
	}
	set := zoneSend(r.n.ID, znsSetExtension, z.Start, false)
	set.data, set.length = true, len(ext)
	return r.c.run(&r.c.io, []command{set}, 0)
}

// send executes the batch and closes the zones that it has opened.
func (r *restorer) send() error {
	err := r.c.run(&r.c.io, r.batch, 0)
	r.batch = r.batch[:0]
	if err != nil || r.open == 0 {
		return err
	}
	r.open = 0
	return r.c.run(&r.c.io, []command{zoneSend(r.n.ID, zns.ActionClose, 0, true)}, 0)
}
