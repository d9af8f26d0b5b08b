package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// ErrExists is wrapped by the refusal to replace a file; the caller may ask for that (Force).
var ErrExists error = existsError{}

type existsError struct{}

func (existsError) Error() string { return "already exists" }

// Is makes it an fs.ErrExist as well.
func (existsError) Is(target error) bool { return target == fs.ErrExist }

// naming says which names the files of a new image, or of a result in another format, may
// get. Its method allow is the only answer to that question; a disk.Replacement asks for each
// name, with the file that has it open and locked.
type naming struct {
	fs    disk.FS
	force bool // files may be replaced
	// data are the names of the new image's data files, sidecar that of its metadata, "" for
	// none. No other sidecar may be beside the data: it would be taken for the image's own.
	data    []string
	sidecar string
	// known: what becomes of a sidecar beside the data is known.
	known bool
	// uuid: a sidecar of this image, which an interrupted command has left, may be replaced without force.
	uuid [16]byte
	// belongs: the sidecar was named by the user, and is replaced only if it is one of the image.
	belongs bool
}

// allow is a disk.Policy.
func (n *naming) allow(t *disk.Target) error {
	for _, d := range n.data {
		if d == t.Name && !n.known {
			if err := n.unclaimed(d); err != nil {
				return err
			}
		}
	}
	switch {
	case t.File == nil:
		return nil
	case n.belongs && t.Name == n.sidecar:
		return n.sidecarOfData(t.File)
	case n.force:
		return nil
	case n.uuid == [16]byte{}:
		return fmt.Errorf("%s %w", t.Name, ErrExists)
	}
	slot, err := chooseSlot(t.File, nil)
	if err != nil && !layout.IsJudgement(err) {
		return err
	}
	if err != nil || slot.Header.UUID != n.uuid {
		return fmt.Errorf("%s %w, and is not a sidecar of this image", t.Name, ErrExists)
	}
	return nil
}

// unclaimed refuses a name for data if a sidecar beside it would be taken for its own.
func (n *naming) unclaimed(data string) error {
	name := data + SidecarSuffix
	if n.sidecar != "" && filepath.Clean(name) == filepath.Clean(n.sidecar) {
		return nil
	}
	_, err := n.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return &ClaimedError{Name: name}
}

// CheckUnclaimed refuses a name for a data file that is not part of an image, if a sidecar beside it would make it one. The
// error is a *ClaimedError.
func CheckUnclaimed(fsys disk.FS, data string) error { return (&naming{fs: fsys}).unclaimed(data) }

// Overwrite is the policy for a result that is not an image: with force files are replaced, else the error is ErrExists.
func Overwrite(force bool) disk.Policy { return (&naming{force: force}).allow }

// sidecarOfData refuses to replace a file that is no sidecar of the data file.
func (n *naming) sidecarOfData(file disk.File) error {
	slot, err := chooseSlot(file, nil)
	switch {
	case err == nil && slot.Header.UUID == n.uuid:
		return nil
	case err == nil: // of an image that was made anew since
		if filepath.Join(filepath.Dir(n.sidecar), slot.Plan.Entries[0].Name) == filepath.Clean(n.data[0]) {
			return nil
		}
	case !layout.IsJudgement(err):
		return err
	default: // damaged, or something else
		ours, err := beginsWithHeader(file)
		if ours || err != nil {
			return err
		}
	}
	return &HintError{
		Err:  fmt.Errorf("%s %w, and is not a sidecar of %s", n.sidecar, ErrExists, n.data[0]),
		Hint: "if it is left over from that image, move it; trailing images have no sidecar",
	}
}

// ClaimedError is the refusal to make an image beside a sidecar that would be taken for the image's own.
type ClaimedError struct{ Name string }

func (e *ClaimedError) Error() string {
	return e.Name + " already exists and would be used as the sidecar of this image"
}

// Unwrap makes errors.Is(err, fs.ErrExist) true. Force does not help, so it is not ErrExists.
func (e *ClaimedError) Unwrap() error { return fs.ErrExist }

// checkDistinct refuses one name for the data and the metadata.
func checkDistinct(data []string, sidecar string) error {
	seen := map[string]bool{}
	for _, d := range data {
		if seen[filepath.Clean(d)] {
			return marked(layout.ErrGeometry, "two namespaces have the same data file, %s", d)
		}
		seen[filepath.Clean(d)] = true
	}
	if sidecar != "" && seen[filepath.Clean(sidecar)] {
		return marked(layout.ErrGeometry, "the data file and the sidecar must be different files (both are %s)", sidecar)
	}
	return nil
}
