package main

import (
	"errors"
	"fmt"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/drive/control"
	"zimg/layout"
)

// controlled is an image that another process serves; im is open for reading only.
type controlled struct {
	path string
	im   *image.Image
}

// openControlled finds the process that serves the image. The caller closes im.
func openControlled(path, sidecar string) (c controlled, found bool) {
	im, err := image.Open(path, image.Options{ForceShare: true, Sidecar: sidecar})
	if err != nil {
		return c, false
	}
	h := im.Header()
	condition, err := im.Condition()
	if err != nil || condition != image.InUse || h.Session.Kind != layout.Served {
		closeQuietly(im)
		return c, false
	}
	return controlled{path: path, im: im}, true
}

// do has the process do what q asks for.
func (c controlled) do(q *control.Request) (*control.Reply, error) {
	h := c.im.Header()
	r, err := control.Do(control.SocketPath(c.im.Files().MetaName()), h.Session.ID, q)
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		err = fmt.Errorf("%s: %w", c.path, err)
		if refused.Hint != "" {
			return nil, &image.HintError{Err: err, Hint: refused.Hint}
		}
	case err != nil:
		return nil, &image.HintError{
			Err:  fmt.Errorf("%s: in use by pid %d, which cannot be controlled: %w", c.path, h.Session.PID, err),
			Hint: fmt.Sprintf("end that process, or be the user that it runs as: ps -o user,args -p %d", h.Session.PID),
		}
	}
	return r, err
}

// changeZones is image.Namespace.ChangeZones on the live drive.
func (c controlled) changeZones(n *image.Namespace, a zoneAction, change image.ZoneChange) (uint64, error) {
	if a.action == image.SetZoneExtension {
		return 0, &image.HintError{
			Err:  fmt.Errorf("%s: %s is not possible while the image is in use by pid %d", c.path, a.name, c.im.Header().Session.PID),
			Hint: "a host can set extensions: nvme zns set-zone-desc",
		}
	}
	r, err := c.do(&control.Request{Zones: &control.Zones{
		NSID: n.ID, Zones: change.Zones, Action: a.name, All: change.All, Pointer: change.Pointer,
	}})
	var refused *control.RefusedError
	if errors.As(err, &refused) && refused.Changed > 0 {
		return 0, fmt.Errorf("%w; %s changed before that", err, cli.Count(int(refused.Changed), "zone was", "zones were"))
	}
	if err != nil {
		return 0, err
	}
	return r.Changed, nil
}
