package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"zimg/image"
	"zimg/image/disk"
)

// Make makes at dst the image as it would be had the power failed when so many entries of the log had
// completed. It overwrites dst only with force. The end of ctx stops it.
func (r *Recording) Make(ctx context.Context, dst string, entries int, fate Unflushed, seed uint64, force bool) error {
	return r.make(ctx, disk.OS, r.basePath(), dst, force, func(im *image.Image) error {
		p, err := newReplay(r, fate, seed, im.Files().Data[0])
		if err != nil {
			return err
		}
		if err := p.advance(entries); err != nil {
			return err
		}
		return p.settle(im, entries)
	})
}

// make makes dst of a copy of the image src and what change does to it. It gets its name when all is done:
// until then what had the name has it.
func (r *Recording) make(ctx context.Context, fsys disk.FS, src, dst string, force bool, change func(*image.Image) error) error {
	if err := r.apart(dst); err != nil {
		return err
	}
	o := image.ConvertOptions{FS: fsys, Force: force, Stamp: r.Stamp, Progress: stopWith(ctx)}
	return image.Derive(src, dst, o, func(im *image.Image) error {
		if err := im.BeginChange(); err != nil {
			return err
		}
		return change(im)
	})
}

// apart refuses a destination that is part of the recording.
func (r *Recording) apart(dst string) error {
	to, err := os.Stat(dst)
	if err != nil {
		return nil //nolint:nilerr // what is not there is nothing of ours; all else comes to light soon
	}
	for _, name := range []string{BaseName, LogName, TraceName} {
		if part, err := os.Stat(filepath.Join(r.Dir, name)); err == nil && os.SameFile(part, to) {
			return fmt.Errorf("%s is part of the recording", dst)
		}
	}
	return nil
}

// Walk makes the images of points that follow each other: the log is gone through once, each
// image is a copy of what was durable by then, with what survives of the rest.
type Walk struct {
	*replay
	ctx  context.Context
	path string
}

// Walk begins a walk, which the end of ctx stops. What is durable it keeps in a file in the folder dir, until Close; the
// recording itself is only read.
func (r *Recording) Walk(ctx context.Context, dir string, fate Unflushed, seed uint64) (_ *Walk, err error) {
	id := image.NewUUID()
	w := &Walk{ctx: ctx, path: filepath.Join(dir, fmt.Sprintf("%s%x.zimg", walkPrefix, id[:4]))}
	if err := image.Convert(r.basePath(), w.path, image.ConvertOptions{FS: disk.Scratch, Stamp: r.Stamp, Progress: stopWith(ctx)}); err != nil {
		return nil, err
	}
	file, err := disk.Scratch.Open(w.path, disk.ReadWrite, 0)
	if err == nil {
		w.replay, err = newReplay(r, fate, seed, file)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(w.path))
	}
	return w, nil
}

// Path is a name for an image in the folder of the walk that no other walk gives.
func (w *Walk) Path(name string) string {
	return filepath.Join(filepath.Dir(w.path), name+"-"+strings.TrimPrefix(filepath.Base(w.path), walkPrefix))
}

const walkPrefix = "walk-"

// Make makes the image of a point, which is not before the one that was made last, at dst, where there is
// no file yet. The image is for now: it is not synced.
func (w *Walk) Make(dst string, entries int) error {
	if err := w.advance(entries); err != nil {
		return err
	}
	return w.rec.make(w.ctx, disk.Scratch, w.path, dst, false, func(im *image.Image) error { return w.settle(im, entries) })
}

// Close ends the walk.
func (w *Walk) Close() error { return errors.Join(w.file.Close(), os.Remove(w.path)) }
