package imagetest

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"zimg/image/disk"
)

func (m *MemFS) isDir(name string) bool {
	if name == "." || name == string(filepath.Separator) {
		return true
	}
	for n := range m.names {
		if strings.HasPrefix(n, name+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

func (m *MemFS) bind(dir string, set map[string]*inode) {
	m.pending = append(m.pending, nameChange{dir: dir, set: set})
	apply(m.names, set)
}

func apply(names, set map[string]*inode) {
	for name, ino := range set {
		if ino == nil {
			delete(names, name)
		} else {
			names[name] = ino
		}
	}
}

// Open opens or creates a file.
func (m *MemFS) Open(name string, mode disk.Mode, perm fs.FileMode) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("open", name); err != nil {
		return nil, err
	}
	path := filepath.Clean(name)
	if m.isDir(path) {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	ino := m.names[path]
	switch {
	case mode == disk.CreateNew && ino != nil:
		return nil, pathError("open", name, fs.ErrExist)
	case mode != disk.CreateNew && ino == nil:
		return nil, pathError("open", name, fs.ErrNotExist)
	case mode == disk.CreateNew:
		m.step(OpCreate, path, 0, 0)
		ino = &inode{access: disk.Access{Mode: perm.Perm(), UID: m.uid, GID: m.gid, Owned: true}, now: newSparse(), durable: newSparse(), locks: map[*memFile]disk.LockMode{}}
		m.bind(filepath.Dir(path), map[string]*inode{path: ino})
		if err := m.lost("open", name); err != nil {
			return nil, err
		}
	}
	return &memFile{fs: m, ino: ino, name: name, writable: mode != disk.ReadOnly}, nil
}

// Stat describes a file, or a directory that has a file in it.
func (m *MemFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("stat", name); err != nil {
		return nil, err
	}
	path := filepath.Clean(name)
	if ino := m.names[path]; ino != nil {
		return ino.info(path), nil
	}
	if m.isDir(path) {
		return fileInfo{name: filepath.Base(path), mode: fs.ModeDir | 0o755}, nil
	}
	return nil, pathError("stat", name, fs.ErrNotExist)
}

// Lstat is Stat: there are no links here.
func (m *MemFS) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }

// Rename moves a file over whatever has the new name. Both must be in one
// directory.
func (m *MemFS) Rename(oldname, newname string) error { return m.rename(oldname, newname, true) }

// RenameNew moves a file to a name that is free.
func (m *MemFS) RenameNew(oldname, newname string) error { return m.rename(oldname, newname, false) }

func (m *MemFS) rename(oldname, newname string, replace bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("rename", oldname); err != nil {
		return err
	}
	from, to := filepath.Clean(oldname), filepath.Clean(newname)
	switch {
	case m.names[from] == nil:
		return pathError("rename", oldname, fs.ErrNotExist)
	case filepath.Dir(from) != filepath.Dir(to):
		return pathError("rename", newname, syscall.EXDEV) // would need two directories' durability
	case m.isDir(to), m.names[to] != nil && !replace:
		return pathError("rename", newname, fs.ErrExist)
	case from == to:
		return nil
	}
	m.step(OpRename, from, 0, 0)
	m.bind(filepath.Dir(to), map[string]*inode{from: nil, to: m.names[from]})
	return m.lost("rename", oldname)
}

// Remove takes a name away; who has the file open keeps it.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("remove", name); err != nil {
		return err
	}
	path := filepath.Clean(name)
	if m.names[path] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	m.step(OpRemove, path, 0, 0)
	m.bind(filepath.Dir(path), map[string]*inode{path: nil})
	return m.lost("remove", name)
}

// List returns the names of the files in a directory, sorted.
func (m *MemFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("list", dir); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	if !m.isDir(dir) {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var names []string
	for n := range m.names {
		if filepath.Dir(n) == dir {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Mkdir makes sure that nothing has the name; a directory is there as long as it has a file.
func (m *MemFS) Mkdir(name string, _ disk.Access) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("mkdir", name); err != nil {
		return err
	}
	if path := filepath.Clean(name); m.names[path] != nil || m.isDir(path) {
		return pathError("mkdir", name, fs.ErrExist)
	}
	return nil
}

// SyncDir makes the names in the directory of name durable.
func (m *MemFS) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.lost("syncdir", name); err != nil {
		return err
	}
	dir := filepath.Dir(filepath.Clean(name))
	m.step(OpSyncDir, dir, 0, 0)
	if err := m.lost("syncdir", name); err != nil {
		return err
	}
	m.count.DirSyncs++
	m.pending = slices.DeleteFunc(m.pending, func(c nameChange) bool {
		if c.dir == dir {
			apply(m.durable, c.set)
		}
		return c.dir == dir
	})
	return nil
}

// Names lists all files, sorted.
func (m *MemFS) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// ReadFile returns the content of a file, without counting; not for large ones.
func (m *MemFS) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ino := m.names[filepath.Clean(name)]
	if ino == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	b := make([]byte, ino.now.size)
	_, err := ino.now.readAt(b, 0)
	copy(b, ino.mapped)
	return b, err
}

// WriteFile makes a file of content b, durable at once and without an operation
// being counted: for setting a scene.
func (m *MemFS) WriteFile(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := newSparse()
	s.write(b, 0)
	path := filepath.Clean(name)
	ino := &inode{access: disk.Access{Mode: 0o644, UID: m.uid, GID: m.gid, Owned: true}, now: s, durable: s.clone(), locks: map[*memFile]disk.LockMode{}}
	m.names[path], m.durable[path] = ino, ino
}

// info describes the file under one of its names.
func (ino *inode) info(name string) fs.FileInfo {
	return fileInfo{name: filepath.Base(name), size: ino.now.size, mode: ino.access.Mode, owner: ino.access, of: ino}
}

type fileInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	owner disk.Access
	of    *inode // nil for a directory
}

// Owner is who the file belongs to.
func (i fileInfo) Owner() (uid, gid int) {
	return i.owner.UID, i.owner.GID
}

// SameFile is for disk.SameFile.
func (i fileInfo) SameFile(other fs.FileInfo) bool {
	o, ok := other.(fileInfo)
	return ok && i.of != nil && i.of == o.of
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
