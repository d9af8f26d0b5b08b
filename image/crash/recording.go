// Package crash makes images as they would be had the power failed at some
// point of a recorded run. A recording is a copy of the image as it was
// before the run, a log of every write, discard and flush of its data file (package writelog), and what was done to
// zones: marks in the log where the drive was zimg's own, else QEMU's trace. docs/CRASH.md has the model.
//
//	recording.go  what is in the folder       recorder.go  writing the log of zimg's own drive
//	history.go    QEMU's log as steps         trace.go     what QEMU has logged of its commands
//	exact.go      the log of zimg's own drive as steps
//	model.go      a drive with a write cache  fate.go      what becomes of unflushed writes
//	replay.go     the steps up to a point     walk.go      the images of many points
//	cut.go        what a power failure would do to a drive that is running
package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/writelog"
	"zimg/layout"
)

// The names in a recording's folder.
const (
	BaseName  = "base.zimg"
	LogName   = "writes.log"
	TraceName = "commands.log"
)

// Prepare makes the folder dir of a recording to come of im: a copy of the image, made under the lock that im
// has, and an empty log. What the guest writes comes into the log, so all of it belongs to the owner of the image, and nobody may
// read it who may not read the image. The end of ctx stops it. It returns fs.ErrExist if there is something called dir.
func Prepare(ctx context.Context, dir string, im *image.Image) (err error) {
	like, err := disk.Like(im.Files().Data[0])
	if err != nil {
		return err
	}
	if err := disk.OS.Mkdir(dir, like.Folder()); err != nil {
		if errors.Is(err, os.ErrExist) {
			return &image.HintError{Err: err, Hint: "remove it, or choose another name; recordings are not overwritten"}
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, Remove(dir))
		}
	}()
	base := filepath.Join(dir, BaseName)
	o := image.ConvertOptions{Layout: layout.Trailing, Belongs: true, Progress: stopWith(ctx)}
	if err := image.CopyOpen(im, base, o); err != nil {
		return err
	}
	if err := sameOffsets(im, base); err != nil {
		return err
	}
	log, err := disk.CreateLike(disk.OS, filepath.Join(dir, LogName), like)
	if err != nil {
		return err
	}
	return log.Close()
}

// stopWith is a progress that prints nothing and ends with ctx.
func stopWith(ctx context.Context) func(done, total int64) error {
	return func(int64, int64) error { return ctx.Err() }
}

// Remove removes a recording, and its folder if nothing else is in it.
func Remove(dir string) error {
	for _, name := range []string{BaseName, LogName, TraceName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Remove(dir)
}

// sameOffsets makes sure that the offsets in the log of im, which are those of
// its one data file, mean the same in its copy base.
func sameOffsets(im *image.Image, base string) (err error) {
	copied, err := image.Open(base, image.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	for i, n := range im.Namespaces() {
		if n.DataFile > 0 {
			return &image.HintError{
				Err:  fmt.Errorf("%s has several data files; only an image with one data file can be recorded", im.Path()),
				Hint: "convert it to a new image and record that",
			}
		}
		if copied.Namespaces()[i].DataOff != n.DataOff {
			return &image.HintError{
				Err:  fmt.Errorf("the namespaces of %s are not where a new image has them", im.Path()),
				Hint: "convert it to a new image and record that",
			}
		}
	}
	return nil
}

// Recording is one recorded run of one image.
type Recording struct {
	Dir    string
	Log    *writelog.Log
	Stamp  image.Stamp // of the images that are made
	Traced bool        // it is known which zones were finished: from QEMU's trace, or the drive was zimg's own

	file  *os.File
	base  *image.Image
	ns    []*image.Namespace
	steps []packed
	after []uint32 // for each entry of the log, how many steps there are after it
}

// ErrNoRecording is wrapped where a folder holds no recording.
var ErrNoRecording = errors.New("not a recording")

// Open reads the recording in dir; without one there it returns ErrNoRecording.
func Open(dir string) (_ *Recording, err error) {
	for _, name := range []string{BaseName, LogName, TraceName} {
		if err := disk.CheckBeside(disk.OS, dir, name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	file, err := os.Open(filepath.Join(dir, LogName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is %w: %w", dir, ErrNoRecording, err)
	}
	if err != nil {
		return nil, err
	}
	r := &Recording{Dir: dir, file: file}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if r.Log, err = writelog.Read(file, info.Size()); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	if r.base, err = image.Open(r.basePath(), image.Options{}); err != nil {
		return nil, err
	}
	r.ns = r.base.Namespaces()
	t, err := readTrace(filepath.Join(dir, TraceName), r.ns)
	if err != nil {
		return nil, err
	}
	r.Traced = t != nil || r.exact()
	if err := r.build(t); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return r, nil
}

func (r *Recording) basePath() string { return filepath.Join(r.Dir, BaseName) }

// Close closes the recording's files.
func (r *Recording) Close() error {
	err := r.file.Close()
	if r.base != nil {
		err = errors.Join(err, r.base.Close())
	}
	return err
}

// Kind is what points are counted by.
type Kind string

// Flushes are points for themselves; everything else that changed data, discards and
// zone resets too, counts as a write.
const (
	AtWrite Kind = "write"
	AtFlush Kind = "flush"
)

// is reports whether e is a point of kind k; a flush with data is one of both.
func (k Kind) is(e writelog.Entry) bool {
	if k == AtFlush {
		return e.Flags&writelog.Flush != 0
	}
	return e.Length > 0 && e.Flags&writelog.Mark == 0
}

// Points are the points of a kind in order: the n-th element is how many entries of the log
// have completed at point n+1.
func (r *Recording) Points(k Kind) []int {
	var points []int
	for i, e := range r.Log.Entries {
		if k.is(e) {
			points = append(points, i+1)
		}
	}
	return points
}

// Point is how many entries of the log have completed at point n of a kind; 0 is the moment before
// anything happened.
func (r *Recording) Point(k Kind, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	points := r.Points(k)
	if n > len(points) {
		return 0, layout.Errorf(layout.ErrRange, "%s: the last %s is number %d; there is no %d", r.Dir, k, len(points), n)
	}
	return points[n-1], nil
}
