package image

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"zimg/image/disk"
)

// staging makes files under temporary names and gives them their real ones
// when all are complete: an interrupted command leaves nothing that looks like its
// result.
type staging struct {
	fs      disk.FS
	replace bool
	perm    fs.FileMode // of new files; what is replaced gives its own
	files   []disk.File
	names   []string // the real ones
	temps   []string // emptied when renamed
	dirs    []string // that were made, and go if nothing comes of it
}

func newStaging(fsys disk.FS, replace bool) *staging {
	return &staging{fs: fsys, replace: replace, perm: 0o666}
}

// like gives new files the permissions that all of the named files have, as cp does: a copy of what only its
// owner may read is no more open than that. What is no file has none to give.
func (s *staging) like(names ...string) {
	perm, none := fs.ModePerm, true
	for _, name := range names {
		if info, err := s.fs.Stat(name); err == nil && info.Mode().IsRegular() {
			perm, none = perm&info.Mode(), false
		}
	}
	if !none {
		s.perm = perm
	}
}

// create makes the file that is to be called name.
func (s *staging) create(name string) (disk.File, error) {
	id := NewUUID()
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%s.tmp", filepath.Base(name), hex.EncodeToString(id[:4])))
	perm := s.perm
	if info, err := s.fs.Stat(name); err == nil && s.replace {
		perm = info.Mode().Perm()
	}
	file, err := s.fs.Open(temp, disk.CreateNew, perm)
	if err != nil {
		return nil, realName(err, temp, name)
	}
	s.files = append(s.files, file)
	s.names = append(s.names, name)
	s.temps = append(s.temps, temp)
	return file, nil
}

// mkdir makes a directory for files to come.
func (s *staging) mkdir(name string) error {
	if err := s.fs.Mkdir(name, 0o777); err != nil {
		return err
	}
	s.dirs = append(s.dirs, name)
	return nil
}

// finish makes a file durable and closes it before the others, where there would be too many
// open ones.
func (s *staging) finish(file disk.File) error {
	i := slices.Index(s.files, file)
	s.files[i] = nil
	return errors.Join(file.Sync(), file.Close())
}

// publish syncs and closes all files and renames them, the last one made last and when
// all other names are durable: it is the one by which the result is known. So of several files that are
// replaced, the last one goes before the others change, for it does not speak of what they become.
func (s *staging) publish() error {
	for _, f := range s.files {
		if f == nil {
			continue
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := s.closeAll(); err != nil {
		return err
	}
	rename := s.fs.RenameNew
	if s.replace {
		rename = s.fs.Rename
	}
	last := len(s.names) - 1
	if s.replace && last > 0 {
		if err := s.retire(s.names[last]); err != nil {
			return err
		}
	}
	changed := map[string]string{} // by directory, a name in it
	for _, d := range s.dirs {
		changed[filepath.Dir(d)] = d
	}
	for i, name := range s.names {
		if i == last {
			for _, n := range changed {
				if err := s.fs.SyncDir(n); err != nil {
					return err
				}
			}
		}
		if err := rename(s.temps[i], name); err != nil {
			return err
		}
		s.temps[i] = ""
		s.dirs = nil // they have something in them now
		changed[filepath.Dir(name)] = name
	}
	return s.fs.SyncDir(s.names[last])
}

// retire removes a file that may not be there, durably.
func (s *staging) retire(name string) error {
	err := s.fs.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.fs.SyncDir(name)
}

func (s *staging) closeAll() error {
	files := s.files
	s.files = nil
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// abandon removes what publish did not come to; after it, it does nothing. It returns err, in which
// files have the names that their user knows, and what else went wrong.
func (s *staging) abandon(err error) error {
	closed := s.closeAll()
	var left []error
	for i, t := range s.temps {
		err, closed = realName(err, t, s.names[i]), realName(closed, t, s.names[i])
		if t != "" {
			left = append(left, s.fs.Remove(t))
			s.temps[i] = ""
		}
	}
	for _, d := range s.dirs {
		if err := s.fs.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = append(left, err)
		}
	}
	s.dirs = nil
	return errors.Join(append([]error{err, closed}, left...)...)
}

// realName has err, if it is of the file temp, speak of name instead.
func realName(err error, temp, name string) error {
	var of *fs.PathError
	if errors.As(err, &of) && of.Path == temp {
		of.Path = name
	}
	var ofTwo *os.LinkError
	if errors.As(err, &ofTwo) && ofTwo.Old == temp {
		return &fs.PathError{Op: ofTwo.Op, Path: name, Err: ofTwo.Err}
	}
	return err
}
