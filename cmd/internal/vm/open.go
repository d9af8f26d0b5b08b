package vm

import (
	"context"
	"errors"
	"fmt"

	"zimg/image"
	"zimg/layout"
)

// open opens an image, after a repair if a crash has left it in use.
func (r *run) open(ctx context.Context, path string) (*image.Image, error) {
	im, err := image.Open(path, image.Options{FS: r.FS, Write: true, Sidecar: r.Sidecar, Stamp: r.Stamp})
	if err == nil || !errors.Is(err, image.ErrUnclean) || r.NoRepair || r.dry {
		return im, err
	}
	r.Log("%v", err)
	if err := r.repair(ctx, path); err != nil {
		return nil, err
	}
	return image.Open(path, image.Options{FS: r.FS, Write: true, Sidecar: r.Sidecar, Stamp: r.Stamp})
}

// restorable refuses zones that QEMU's drive cannot have.
func (r *run) restorable(im *image.Image) error {
	if err := im.CheckZones(); err != nil {
		return err
	}
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		c := n.Counts()
		if c[layout.NotWP.Index()] > 0 {
			return fmt.Errorf("%s: namespace %d has conventional zones, which NVMe does not support", im.Path(), n.ID)
		}
		if lost := c[layout.ReadOnly.Index()] + c[layout.Offline.Index()]; lost > 0 && !r.AllowLostFaults {
			what := fmt.Sprintf("%d Read Only or Offline zones", lost)
			if lost == 1 {
				what = "a Read Only or Offline zone"
			}
			return &image.HintError{
				Err:  fmt.Errorf("%s: namespace %d has %s; QEMU has no way to restore that state", im.Path(), n.ID, what),
				Hint: "--allow-lost-faults runs it anyway: the guest sees those zones as Full, and the image keeps their state",
			}
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if z.Cap != n.ZoneCap {
				return fmt.Errorf("%s: namespace %d zone %d has a capacity of %d blocks and others %d; QEMU uses the same capacity for all zones", im.Path(), n.ID, i, z.Cap, n.ZoneCap)
			}
			i++
		}
	}
	return nil
}
