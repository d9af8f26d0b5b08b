package image

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"zimg/image/disk"
)

// staging makes files under temporary names and gives them their real ones
// when all are complete: an interrupted command leaves nothing that looks like its
// result.
type staging struct {
	fs      disk.FS
	replace bool
	files   []disk.File
	names   []string // the real ones
	temps   []string // emptied when renamed
}

func newStaging(fsys disk.FS, replace bool) *staging {
	return &staging{fs: fsys, replace: replace}
}

// create makes the file that is to be called name.
func (s *staging) create(name string) (disk.File, error) {
	id := NewUUID()
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%s.tmp", filepath.Base(name), hex.EncodeToString(id[:4])))
	file, err := s.fs.Open(temp, disk.CreateNew, 0o666)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, file)
	s.names = append(s.names, name)
	s.temps = append(s.temps, temp)
	return file, nil
}

// publish syncs and closes all files and renames them, the last one made last.
// Each rename is made durable before the next.
func (s *staging) publish() error {
	for _, f := range s.files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	files := s.files
	s.files = nil
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, name := range s.names {
		rename := s.fs.RenameNew
		if s.replace {
			rename = s.fs.Rename
		}
		if err := rename(s.temps[i], name); err != nil {
			return err
		}
		s.temps[i] = ""
		if err := s.fs.SyncDir(name); err != nil {
			return err
		}
	}
	return nil
}

// abandon removes what publish did not come to; after it, it does nothing.
func (s *staging) abandon() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	for i, t := range s.temps {
		if t != "" {
			errs = append(errs, s.fs.Remove(t))
			s.temps[i] = ""
		}
	}
	return errors.Join(errs...)
}
