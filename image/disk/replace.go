package disk

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// A Replacement makes files under temporary names and gives them their real ones when all of them
// are complete and durable. Until then the old files keep their names; after an error nothing is left over. It is the
// only code that renames (publish.go).
//
//	                     Create                   Publish
//	disk.zimg            opened and locked ...... checked, replaced ... closed
//	.disk.zimg.XXXX.tmp  made and locked ........ synced, renamed ..... closed
//
// A file that is replaced is locked from before anybody asks whether it may be until it has lost its
// name, and the new one is locked before it gets it: so a process that locks what it opens never
// works on a file that is being replaced, and one that came first stops the replacement.
//
// The temporary file is in the folder of its target. Its name is recognised, and as long as its maker
// lives it is locked: what a killed process has left is removed by the next Create of that name.
//
// New files have the access (permissions, owner, group) of what they replace, else what
// Like says. A Replacement is for one goroutine. Abandon must be called in the end, and does nothing
// after a Publish without an error.
type Replacement struct {
	// FS is the file system.
	FS FS
	// Policy decides whether a file may get a name. Nil allows free names only.
	Policy Policy
	// Like is the access of files that replace none, and of folders.
	Like Access
	// Held are files that the caller has open and locked for writing: such a target is not opened again.
	Held []File
	// Sources are names of files that are read and must not be replaced.
	Sources []string

	parts []*part
	done  bool     // published without an error
	dirs  []string // made, and removed if nothing comes of it
}

// A Target is the name that a new file is to get.
type Target struct {
	Name string
	// File has the name now, is open for writing and locked; nil if the name is free. It is the
	// Replacement's.
	File File
	// Info describes File.
	Info fs.FileInfo
}

// A Policy returns an error if a file must not get the target's name. The answer holds: while File is locked
// nobody else may change it.
type Policy func(t *Target) error

// part is one of the files.
type part struct {
	name, temp string
	file       File   // nil when finished
	old        File   // what is replaced; nil if nothing is
	held       bool   // old is the caller's
	aside      string // the name that old has for the time of Publish
	named      bool   // the file has its name
	keep       bool   // the caller keeps the file open
}

const (
	tempSuffix = ".tmp"
	tempIDLen  = 8   // hexadecimal digits
	maxName    = 255 // bytes, of every file system that matters
)

// tempPrefix is what the base of every temporary name of target begins with.
func tempPrefix(target string) string {
	base := filepath.Base(target)
	if most := maxName - len("..") - tempIDLen - len(tempSuffix); len(base) > most {
		base = base[:most]
	}
	return "." + base + "."
}

func tempName(target string) string {
	var id [tempIDLen / 2]byte
	_, _ = rand.Read(id[:]) // documented never to fail
	return filepath.Join(filepath.Dir(target), tempPrefix(target)+hex.EncodeToString(id[:])+tempSuffix)
}

// isTemp reports whether base is a temporary name of target.
func isTemp(base, target string) bool {
	id, ok := strings.CutPrefix(base, tempPrefix(target))
	if !ok || len(id) != tempIDLen+len(tempSuffix) || !strings.HasSuffix(id, tempSuffix) {
		return false
	}
	_, err := hex.DecodeString(id[:tempIDLen])
	return err == nil
}

// Create makes the file that is to be called name. Policy is asked, with the file that has the name locked.
// The new file is open for reading and writing, and locked.
func (r *Replacement) Create(name string) (File, error) {
	for _, p := range r.parts {
		if filepath.Clean(p.name) == filepath.Clean(name) {
			return nil, fmt.Errorf("two files have the same name: %s", name)
		}
	}
	p := &part{name: name}
	access, err := r.claim(p)
	if err != nil {
		return nil, errors.Join(err, p.release())
	}
	r.removeStale(name)
	if err := r.makeTemp(p, access); err != nil {
		return nil, errors.Join(realName(err, p.temp, name), p.release())
	}
	r.parts = append(r.parts, p)
	return p.file, nil
}

// claim opens and locks what has the name, asks the policy, and returns the access of the new file.
func (r *Replacement) claim(p *part) (Access, error) {
	t := &Target{Name: p.name}
	if err := r.openTarget(p, t); err != nil {
		return Access{}, err
	}
	policy := r.Policy
	if policy == nil {
		policy = onlyFree
	}
	if err := policy(t); err != nil {
		return Access{}, err
	}
	if t.File == nil {
		return r.Like, nil
	}
	return AccessOf(t.Info), nil
}

// notTwice refuses a file that has another name in r. It is asked before the file is locked, which r has done already.
func (r *Replacement) notTwice(name string, info fs.FileInfo) error {
	for _, other := range r.parts {
		if other.old == nil {
			continue
		}
		old, err := other.old.Stat()
		if err != nil {
			return err
		}
		if SameFile(old, info) {
			return fmt.Errorf("%s and %s are the same file", other.name, name)
		}
	}
	return nil
}

func onlyFree(t *Target) error {
	if t.File == nil {
		return nil
	}
	return pathError("create", t.Name, fs.ErrExist)
}

// openTarget opens and locks what has the name p.name.
func (r *Replacement) openTarget(p *part, t *Target) error {
	info, err := r.FS.Stat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a directory", p.name)
	case !info.Mode().IsRegular():
		return &NotRegularError{Name: p.name}
	}
	if err := errors.Join(r.notSource(p.name, info), r.notTwice(p.name, info)); err != nil {
		return err
	}
	if p.old, p.held, err = r.heldFile(info); err != nil {
		return err
	}
	if p.old == nil {
		if p.old, err = OpenLocked(r.FS, p.name, ReadWrite, LockWrite); err != nil {
			return err
		}
	}
	t.File = p.old
	t.Info, err = p.old.Stat()
	return err
}

// notSource refuses a file that is a source. It is asked before the file is locked, which the source may be already.
func (r *Replacement) notSource(name string, info fs.FileInfo) error {
	for _, s := range r.Sources {
		is, err := r.FS.Stat(s)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if SameFile(is, info) {
			return fmt.Errorf("%s is both source and destination", name)
		}
	}
	return nil
}

// heldFile is the file that info describes, if the caller has it open.
func (r *Replacement) heldFile(info fs.FileInfo) (File, bool, error) {
	for _, f := range r.Held {
		is, err := f.Stat()
		if err != nil {
			return nil, false, err
		}
		if SameFile(is, info) {
			return f, true, nil
		}
	}
	return nil, false, nil
}

// makeTemp makes the temporary file of p. One that looks stale is removed by others (see removeStale): in the moment
// before it is locked it does.
func (r *Replacement) makeTemp(p *part, a Access) error {
	for {
		p.temp = tempName(p.name)
		file, err := CreateLike(r.FS, p.temp, a)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = file.Lock(LockWrite)
		if err == nil {
			if _, err = r.FS.Stat(p.temp); err == nil {
				p.file = file
				return nil
			}
		}
		if err = errors.Join(err, file.Close()); !errors.Is(err, ErrLocked) && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, r.FS.Remove(p.temp))
		}
	}
}

// removeStale removes the temporary files of name that are not locked: their makers are dead. What it cannot
// remove does no harm.
func (r *Replacement) removeStale(name string) {
	if !locking {
		return
	}
	fsys := atOnce(r.FS)
	dir := filepath.Dir(name)
	names, err := fsys.List(dir)
	if err != nil {
		return
	}
	for _, base := range names {
		if !isTemp(base, name) {
			continue
		}
		temp := filepath.Join(dir, base)
		file, err := OpenLocked(fsys, temp, ReadWrite, LockWrite)
		if err != nil {
			continue
		}
		_ = fsys.Remove(temp)
		_ = file.Close()
	}
}

// Mkdir makes a folder for files to come.
func (r *Replacement) Mkdir(name string) error {
	if err := r.FS.Mkdir(name, r.Like.Folder()); err != nil {
		return err
	}
	r.dirs = append(r.dirs, name)
	return nil
}

// Finish makes a file durable and closes it before the others, where there would be too many open ones.
func (r *Replacement) Finish(file File) error {
	p := r.part(file)
	p.file = nil
	return errors.Join(file.Sync(), file.Close())
}

// Published reports whether all files have their names.
func (r *Replacement) Published() bool {
	return !slices.ContainsFunc(r.parts, func(p *part) bool { return !p.named })
}

// Replaces reports whether file will replace another.
func (r *Replacement) Replaces(file File) bool { return r.part(file).old != nil }

// Keep leaves file open, and locked, when Publish has returned without an error: it is the caller's then.
func (r *Replacement) Keep(file File) { r.part(file).keep = true }

func (r *Replacement) part(file File) *part {
	i := slices.IndexFunc(r.parts, func(p *part) bool { return p.file == file })
	return r.parts[i]
}

// release lets go of what is replaced.
func (p *part) release() error {
	old := p.old
	p.old = nil
	if old == nil || p.held {
		return nil
	}
	return old.Close()
}

// NotRegularError is the refusal to put a file in the place of something that is not a regular file, such as a device.
type NotRegularError struct{ Name string }

func (e *NotRegularError) Error() string { return e.Name + " is not a regular file" }

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// realName is err with name for temp in its text.
func realName(err error, temp, name string) error {
	if err == nil || temp == "" || !strings.Contains(err.Error(), temp) {
		return err
	}
	return &renamedError{err: err, temp: temp, name: name}
}

type renamedError struct {
	err        error
	temp, name string
}

func (e *renamedError) Error() string { return strings.ReplaceAll(e.err.Error(), e.temp, e.name) }
func (e *renamedError) Unwrap() error { return e.err }
