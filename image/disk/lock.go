package disk

import "fmt"

// LockError says which permission another process does not leave us. Its words
// are those that QEMU and qemu-img use for the same conflict. It wraps ErrLocked.
type LockError struct {
	Name   string // the file
	Perm   string // QEMU's name of the permission
	Shared bool   // the other holds Perm, which we will not share; else the other does not share it
}

func (e *LockError) Error() string {
	shared := ""
	if e.Shared {
		shared = "shared "
	}
	return fmt.Sprintf("%s: failed to get %s%q lock: is another process using the image [%s]?", e.Name, shared, e.Perm, e.Name)
}

// Unwrap makes errors.Is(err, ErrLocked) true.
func (e *LockError) Unwrap() error { return ErrLocked }
