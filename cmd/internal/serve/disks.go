// Package serve is the life of images that are served as drives: opening them, making them ready for
// hosts, and the end.
//
//	disks.go  images, their live zones and drives    tcp.go    a target for NVMe/TCP
//	hosts.go  who may connect, and the keys          ready.go  notices that the target is ready
//
//	vfiouser.go  sockets for virtual machines on this computer    power.go  recordings and power cuts
//
// The package is above fsck, as is the life of a run.
package serve

import (
	"context"
	"errors"
	"fmt"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/control"
	"zimg/image/drive/record"
	"zimg/image/live"
	"zimg/layout"
)

// A Disk is an image that is being served.
type Disk struct {
	Path  string
	Drive *drive.Drive
	Store *live.Store
	im    *image.Image

	noted    *record.Store   // between the drive and its zones
	recorder *crash.Recorder // nil if nothing is recorded
	control  *control.Server // nil if there is none
	log      func(format string, args ...any)
}

// Image is what to open.
type Image struct {
	Path    string
	FS      disk.FS     // nil for the operating system's
	Sidecar string      // metadata file, if it is not beside the image
	Stamp   image.Stamp // of what is written
	Drive   drive.Options
	// Private: the drive is not the only one of the image, so there is no socket beside the image to control it by.
	Private bool

	Record   string          // folder to be made for a recording, if not empty
	PowerCut *record.Trigger // when the power is to be cut; nil if the drive is not to get ready for that
}

// OpenDisk opens an image for hosts: it is locked, and marked as in use by a drive. What the owner before it left when
// it died is taken up, and log says so. The caller closes the Disk. The end of ctx stops the beginning of a recording.
func OpenDisk(ctx context.Context, i Image, log func(format string, args ...any)) (_ *Disk, err error) {
	o := image.Options{FS: i.FS, Write: true, Sidecar: i.Sidecar, Stamp: i.Stamp}
	im, err := image.Open(i.Path, o)
	if errors.Is(err, image.ErrUnclean) {
		im, err = openServed(i.Path, o, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = im.Close()
		}
	}()
	dir := ""
	if i.Record != "" {
		if dir, err = prepareRecording(ctx, i.Record, im, log); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, crash.Remove(dir))
			}
		}()
	}
	st, err := live.Open(im, live.Options{})
	if err != nil {
		return nil, err
	}
	disk := &Disk{Path: i.Path, Store: st, im: im, log: log, noted: record.New(im, drive.Live(st))}
	err = disk.beginRecording(dir, i.PowerCut)
	if err == nil {
		disk.Drive, err = drive.NewWith(im, disk.noted, i.Drive)
	}
	if err != nil {
		return nil, errors.Join(err, disk.endRecording(), st.Close())
	}
	recovered(st, i.Path, log)
	if i.Private {
		return disk, nil
	}
	disk.control, err = control.Listen(control.SocketPath(im.Files().MetaName()), control.Options{
		Drive: disk.Drive, Session: im.Header().Session.ID,
		Snapshot: func(s control.Snapshot) error {
			return image.SnapshotOpen(im, s.Name, image.ConvertOptions{Stamp: i.Stamp, UUID: s.UUID})
		},
		PowerCut: disk.cutPower,
		Log:      func(format string, args ...any) { log("%s: "+format, append([]any{i.Path}, args...)...) },
	})
	if err != nil { // a file system without sockets, say; the image can still be served
		log("%s: it cannot be controlled while it is served: %v", i.Path, err)
	}
	return disk, nil
}

// recovered logs what an owner that died has left.
func recovered(st *live.Store, path string, log func(format string, args ...any)) {
	switch r := st.Recovery(); r.Source {
	case live.Clean:
	case live.Records:
		log("%s: the last server was killed; recovered all zones (%d changed after the last flush)", path, r.Zones)
	case live.Commits:
		log("%s: the last server was killed, and %s; restored zones and data of the last flush", path, r.Reason)
	}
}

// openServed opens an image that a drive has left in use, and refuses others with cause.
func openServed(path string, o image.Options, cause error) (*image.Image, error) {
	im, err := image.OpenUnclean(path, o)
	if err != nil {
		return nil, err
	}
	if h := im.Header(); h.Flags&layout.InUse == 0 || h.Session.Kind != layout.Served {
		return nil, errors.Join(cause, im.Close())
	}
	return im, nil
}

// Close ends the service in order: zones are saved as after a power-down, and the image is clean. All controllers are to
// be closed before it.
func (d *Disk) Close() error {
	if d.control != nil {
		if err := d.control.Close(); err != nil {
			d.log("%s: control socket: %v", d.Path, err)
		}
	}
	var err error
	if d.noted.IsOff() { // the drive has no power
		err = d.noted.Result().Err
	} else {
		err = d.Drive.Close()
	}
	if err == nil {
		err = d.Store.Close()
	} else {
		d.Store.Abandon()
	}
	if err = errors.Join(err, d.endRecording(), d.im.Close()); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	return nil
}
