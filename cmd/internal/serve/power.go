package serve

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/drive/control"
	"zimg/image/drive/record"
	"zimg/image/live"
	"zimg/layout"
)

// prepareRecording makes the folder dir of a recording of im. An image that its last server left in use is brought into
// order first: the recording begins with an image that is clean.
func prepareRecording(ctx context.Context, dir string, im *image.Image, log func(format string, args ...any)) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := crash.Recordable(im.Namespaces()); err != nil {
		return "", fmt.Errorf("%s: %w", im.Path(), err)
	}
	if im.Header().Flags&layout.Clean == 0 {
		st, err := live.Open(im, live.Options{})
		if err == nil {
			recovered(st, im.Path(), log)
			err = st.Close()
		}
		if err != nil {
			return "", err
		}
	}
	return dir, crash.Prepare(ctx, dir, im)
}

// beginRecording begins to record in the folder dir, and to get ready for a power cut.
func (d *Disk) beginRecording(dir string, at *record.Trigger) error {
	if dir != "" {
		var err error
		if d.recorder, err = crash.NewRecorder(dir, d.im.Namespaces()); err != nil {
			return err
		}
		d.noted.Record(d.recorder)
	}
	if at != nil {
		d.noted.Arm(*at)
	}
	return nil
}

// endRecording brings a recording to its end.
func (d *Disk) endRecording() error {
	if d.recorder == nil {
		return nil
	}
	return d.recorder.Close()
}

// PowerCut says how the power was cut, "" if it was not.
func (d *Disk) PowerCut() string {
	if !d.noted.IsOff() {
		return ""
	}
	r := d.noted.Result()
	s := fmt.Sprintf("power cut after write %d and flush %d: ", r.Writes, r.Flushes)
	switch r.Fate {
	case crash.Keep:
		return s + "unflushed writes are kept"
	case crash.Torn:
		return s + fmt.Sprintf("unflushed writes are torn (seed %d)", r.Seed)
	case crash.Drop:
	}
	return s + "unflushed writes are dropped"
}

// errNotReady refuses a power cut that could not undo anything.
var errNotReady = errors.New("the power cannot be cut at once: the drive does not record its unflushed writes")

const notReadyHint = "choose a later point with --at, or serve the image with --power-cut request"

// cutPower does what a client of the control socket asks for.
func (d *Disk) cutPower(q control.PowerCut) error {
	at := record.Trigger{Fate: crash.Unflushed(q.Fate), Seed: q.Seed, Kind: crash.Kind(q.Kind), N: q.N}
	fateErr := at.Fate.Check()
	switch {
	case d.noted.IsOff():
		return record.ErrPowerCut
	case fateErr != nil:
		return fateErr
	case at.Kind != "" && (at.N < 1 || at.Kind != crash.AtFlush && at.Kind != crash.AtWrite):
		return fmt.Errorf("invalid point %s:%d", at.Kind, at.N)
	case at.Kind == "" && at.Fate != crash.Keep && !d.noted.Armed():
		return &image.HintError{Err: errNotReady, Hint: notReadyHint}
	}
	if at.Kind != "" || !d.noted.Armed() {
		if err := d.Drive.Still(func() error { d.noted.Arm(at); return nil }); err != nil {
			return err
		}
	}
	if at.Kind != "" {
		return nil
	}
	return d.noted.Cut(at.Fate, at.Seed).Err
}

// anyOff is closed when the power of one of the disks was cut, or ctx has ended.
func anyOff(ctx context.Context, disks []*Disk) <-chan struct{} {
	off := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(off) }) }
	for _, d := range disks {
		d.Drive.Go(func() {
			select {
			case <-d.noted.Off():
				end()
			case <-ctx.Done():
				end()
			case <-off:
			}
		})
	}
	return off
}

// PowerCuts is closed when the power of one of the disks was cut. Commands of guests that wait for that are released, so
// the guest is to be ended at once. The end of ctx ends the watch.
func PowerCuts(ctx context.Context, disks []*Disk) <-chan struct{} {
	off := make(chan struct{})
	disks[0].Drive.Go(func() {
		<-anyOff(ctx, disks)
		if cut(disks) {
			close(off)
			powerOff(disks)
		}
	})
	return off
}

// powerOff releases the commands of disks whose power was cut. Their connections are gone.
func powerOff(disks []*Disk) {
	for _, d := range disks {
		if d.noted.IsOff() {
			d.noted.Release()
		}
	}
}

// cut reports whether the power of one of the disks was cut.
func cut(disks []*Disk) bool {
	for _, d := range disks {
		if d.noted.IsOff() {
			return true
		}
	}
	return false
}
