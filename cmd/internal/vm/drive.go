package vm

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"zimg/cmd/internal/serve"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/drive"
	"zimg/image/qemu"
)

// Drive says whose NVMe controller the guest sees.
type Drive string

// The drives.
const (
	// AutoDrive is zimg's own where this QEMU and what else was asked for allow it.
	AutoDrive Drive = "auto"
	// OwnDrive is zimg's own: QEMU reaches it through a vfio-user socket, and every command that the guest sees
	// completed is in the image.
	OwnDrive Drive = "zimg"
	// QEMUDrive is QEMU's own, which zimg puts into the saved state and reads at the end.
	QEMUDrive Drive = "qemu"
)

// choose decides whose drive it is, and says why.
func (r *run) choose(ctx context.Context) (Drive, string) {
	if r.Drive != AutoDrive && r.Drive != "" {
		return r.Drive, "as requested"
	}
	if r.AllowLostFaults {
		return QEMUDrive, "lost faults are allowed"
	}
	if key := foreignProperty(r.Controllers); key != "" {
		return QEMUDrive, key + " is a property of it"
	}
	if !qemu.HasOwnDrive(ctx, r.Command) {
		return QEMUDrive, "this QEMU does not support vfio-user (10.1 and later do)"
	}
	return OwnDrive, "this QEMU supports vfio-user"
}

// foreignProperty is a property that only QEMU's controller has, "" if there is none.
func foreignProperty(controllers [][]qemu.Property) string {
	for _, props := range controllers {
		for _, p := range props {
			var o drive.Options
			if known, err := setOption(&o, p); !known || err != nil {
				return p.Key
			}
		}
	}
	return ""
}

// setOption applies a property to the options of zimg's own drive. known is false for one that it does not have.
func setOption(o *drive.Options, p qemu.Property) (known bool, err error) {
	number := func(bits int) uint64 {
		n, e := strconv.ParseUint(p.Value, 0, bits)
		if e != nil {
			err = fmt.Errorf("%s=%s: must be a number from 0 to %d", p.Key, p.Value, uint64(1)<<bits-1)
		}
		return n
	}
	switch p.Key {
	case "serial":
		o.Serial = p.Value
	case "mdts":
		o.MDTS = uint8(number(8))
	case "zoned.zasl":
		o.ZASL = uint8(number(8))
	case "max_ioqpairs":
		o.IOQueues = uint16(number(16))
	default:
		return qemu.IsOwnDeviceProperty(p.Key), nil
	}
	return true, err
}

// runOwn runs QEMU with drives that zimg is itself. However QEMU ends, the zones are in the images.
func (r *run) runOwn(ctx context.Context) (_ Outcome, err error) {
	c := r.config()
	disks, err := r.openDisks(ctx, c)
	closed := false
	closeAll := func() error {
		if closed {
			return nil
		}
		closed = true
		var errs []error
		for _, d := range disks {
			errs = append(errs, d.Close())
			if text := d.PowerCut(); text != "" {
				r.Log("%s: %s", d.Path, text)
			}
		}
		return errors.Join(errs...)
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return Outcome{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.Off = serve.PowerCuts(ctx, disks)
	out, err := r.runQEMU(ctx, c)
	if err != nil && r.Record != "" { // of a guest that never ran
		err = errors.Join(err, closeAll(), crash.Remove(r.Record))
	}
	return out, err
}

// openDisks opens the drives of the run, which c then has. The caller closes those that are returned, also with an error.
func (r *run) openDisks(ctx context.Context, c *qemu.Config) (disks []*serve.Disk, err error) {
	c.Controllers = nil
	nqns := map[string]bool{}
	for k, path := range r.Paths {
		options, device, err := r.split(k)
		if err != nil {
			return disks, err
		}
		d, err := r.openDisk(ctx, path, options)
		if err != nil {
			return disks, err
		}
		if nqn := d.Drive.NQN(); nqns[nqn] {
			// A copy of an image: a guest refuses a second drive of the same name.
			options.NQN = fmt.Sprintf("%s:%d", nqn, k+1)
			if d, err = r.reopen(ctx, d, path, options, k); err != nil {
				return disks, err
			}
		}
		disks = append(disks, d)
		nqns[d.Drive.NQN()] = true
		c.Drives = append(c.Drives, d.Drive)
		c.Controllers = append(c.Controllers, device)
	}
	return disks, nil
}

// reopen opens a copy with another identity.
func (r *run) reopen(ctx context.Context, d *serve.Disk, path string, o drive.Options, k int) (*serve.Disk, error) {
	o.Serial, o.Copy = qemu.OtherSerial(d.Drive.Options().Serial, k), uint8(k)
	if err := d.Close(); err != nil {
		return nil, err
	}
	r.Log("%s has the UUID of another image of this run: its serial number in this run is %s", path, o.Serial)
	return serve.OpenDisk(ctx, serve.Image{Path: path, FS: r.FS, Sidecar: r.Sidecar, Stamp: r.Stamp, Drive: o, Private: r.Ephemeral}, r.Log)
}

// split parts the properties of controller k into options of the drive and properties of QEMU's end of it.
func (r *run) split(k int) (o drive.Options, device []qemu.Property, err error) {
	o.Panicked = r.Panicked
	for _, p := range qemu.PropertiesOf(r.Controllers, k) {
		if qemu.IsOwnDeviceProperty(p.Key) {
			device = append(device, p)
			continue
		}
		known, err := setOption(&o, p)
		if err != nil {
			return o, nil, err
		}
		if !known {
			return o, nil, fmt.Errorf("%s is a property of QEMU's own drive, not of zimg's", p.Key)
		}
	}
	return o, device, nil
}

// openDisk opens an image to be served, and repairs one that a crash of QEMU's drive left in use.
func (r *run) openDisk(ctx context.Context, path string, o drive.Options) (*serve.Disk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i := serve.Image{Path: path, FS: r.FS, Sidecar: r.Sidecar, Stamp: r.Stamp, Drive: o, Private: r.Ephemeral, Record: r.Record}
	d, err := serve.OpenDisk(ctx, i, r.Log)
	if errors.Is(err, image.ErrUnclean) && !r.NoRepair {
		if err := r.repair(ctx, path); err != nil {
			return nil, err
		}
		d, err = serve.OpenDisk(ctx, i, r.Log)
	}
	return d, err
}
