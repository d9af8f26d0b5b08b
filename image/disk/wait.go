package disk

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// retryLock is how often a lock that another process holds is tried again.
const retryLock = 20 * time.Millisecond

// patience is how long locks are waited for, over all files of a file system.
type patience struct {
	ctx context.Context
	end time.Time
}

// patientFS is the operating system's file system, with files whose locks are waited for.
type patientFS struct {
	osFS
	wait *patience
}

// Patient is OS, but locks that other processes hold are waited for, for at most d from now on in all. The end of ctx ends
// the waiting with its error.
func Patient(ctx context.Context, d time.Duration) FS {
	return patientFS{wait: &patience{ctx: ctx, end: time.Now().Add(d)}}
}

// Open opens a file whose Lock waits.
func (p patientFS) Open(name string, mode Mode, perm fs.FileMode) (File, error) {
	file, err := p.osFS.Open(name, mode, perm)
	if f, ok := file.(*osFile); ok {
		f.wait = p.wait
	}
	return file, err
}

// Lock takes a lock, or gives it back.
func (f *osFile) Lock(mode LockMode) error {
	if f.wait == nil {
		return f.tryLock(mode)
	}
	return f.wait.retry(func() error { return f.tryLock(mode) })
}

// retry takes a lock by try, again and again while another process holds it and there is time left.
func (p *patience) retry(try func() error) error {
	for {
		err := try()
		if err == nil || !errors.Is(err, ErrLocked) {
			return err
		}
		rest := time.Until(p.end)
		if rest <= 0 {
			return err
		}
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case <-time.After(min(rest, retryLock)):
		}
	}
}

// atOnce is fsys, but no lock is waited for.
func atOnce(fsys FS) FS {
	if p, ok := fsys.(patientFS); ok {
		return p.osFS
	}
	return fsys
}
