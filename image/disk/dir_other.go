//go:build !unix

package disk

import "io"

// LockDir is a shared lock, as flock has it.
func (osFS) LockDir(string) (io.Closer, error) { return noLock{}, nil }
