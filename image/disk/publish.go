package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
)

// Publish makes all files durable and gives them their names, the one that was created last at the end and when
// all other names are durable: it is the one by which the result is known. A single file takes the place of another in
// one step. Of several, those that are replaced are moved aside first, the last one before the others, for it
// does not speak of what they become: a process that is killed in between leaves none of them under the last name. After
// an error the files that were to be replaced have their names again.
func (r *Replacement) Publish() error {
	for _, p := range r.parts {
		if p.file == nil {
			continue
		}
		if err := p.file.Sync(); err != nil {
			return err
		}
	}
	if err := r.unchanged(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // where an open file cannot be renamed, and a lock is none
		if err := r.closeAll(); err != nil {
			return err
		}
	}
	err := r.renameAll()
	if err != nil {
		return errors.Join(err, r.undo())
	}
	r.dirs = nil
	for _, p := range r.parts {
		if p.aside != "" {
			err = errors.Join(err, r.FS.Remove(p.aside))
			p.aside = ""
		}
	}
	err = errors.Join(err, r.closeAll())
	r.done = err == nil
	return err
}

// unchanged makes sure that the names still are those of the files that were locked.
func (r *Replacement) unchanged() error {
	for _, p := range r.parts {
		if p.old == nil {
			continue
		}
		still, err := hasName(r.FS, p.old, p.name)
		if err != nil {
			return err
		}
		if !still {
			return fmt.Errorf("another program has replaced or removed %s", p.name)
		}
	}
	return nil
}

func (r *Replacement) renameAll() error {
	if len(r.parts) == 0 {
		return nil
	}
	last := r.parts[len(r.parts)-1]
	if len(r.parts) > 1 {
		if err := r.moveAside(); err != nil {
			return err
		}
	}
	changed := map[string]string{} // by directory, a name in it
	for _, d := range r.dirs {
		changed[filepath.Dir(d)] = d
	}
	for _, p := range r.parts {
		if p == last {
			for _, n := range changed {
				if err := r.FS.SyncDir(n); err != nil {
					return err
				}
			}
		}
		rename := r.FS.RenameNew
		if p.old != nil && p.aside == "" {
			rename = r.FS.Rename
		}
		if err := rename(p.temp, p.name); err != nil {
			return err
		}
		p.named = true
		changed[filepath.Dir(p.name)] = p.name
	}
	return r.FS.SyncDir(last.name)
}

// moveAside takes the names from files that are to be replaced, durably from the last one.
func (r *Replacement) moveAside() error {
	for i := len(r.parts) - 1; i >= 0; i-- {
		p := r.parts[i]
		if p.old == nil {
			continue
		}
		aside := tempName(p.name)
		if err := r.FS.RenameNew(p.name, aside); err != nil {
			return err
		}
		p.aside = aside
		if i == len(r.parts)-1 {
			if err := r.FS.SyncDir(p.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// undo takes back what renameAll has done, the other way round. A single file that has replaced another stays: it is
// complete, and what it has replaced has no name any more.
func (r *Replacement) undo() error {
	if len(r.parts) == 1 && r.parts[0].named && r.parts[0].old != nil {
		return nil
	}
	var errs []error
	for _, p := range slices.Backward(r.parts) {
		if p.named {
			err := r.FS.RenameNew(p.name, p.temp)
			errs = append(errs, err)
			p.named = err != nil
		}
	}
	for _, p := range r.parts {
		if p.aside == "" || p.named {
			continue
		}
		if err := r.FS.RenameNew(p.aside, p.name); err != nil {
			errs = append(errs, err)
			continue
		}
		p.aside = ""
	}
	return errors.Join(errs...)
}

// Abandon removes what was not published, and closes all files. It returns err, in which files have the names that the
// user knows, and what else went wrong.
func (r *Replacement) Abandon(err error) error {
	for _, p := range r.parts {
		p.keep = p.keep && r.done // else the caller has not got it
	}
	closed := r.closeAll()
	var left []error
	for _, p := range r.parts {
		err, closed = realName(err, p.temp, p.name), realName(closed, p.temp, p.name)
		if !p.named {
			left = append(left, ignoreMissing(r.FS.Remove(p.temp)))
		}
	}
	r.parts = nil
	for _, d := range r.dirs {
		left = append(left, ignoreMissing(r.FS.Remove(d)))
	}
	r.dirs = nil
	return errors.Join(append([]error{err, closed}, left...)...)
}

// closeAll closes the files that are not kept, the new ones first: so what was replaced is locked until then.
func (r *Replacement) closeAll() error {
	var errs []error
	for _, p := range r.parts {
		if p.file != nil && !p.keep {
			errs = append(errs, p.file.Close())
			p.file = nil
		}
	}
	for _, p := range r.parts {
		errs = append(errs, p.release())
	}
	return errors.Join(errs...)
}
