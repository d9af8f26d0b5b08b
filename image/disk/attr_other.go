//go:build !linux

package disk

// Attribute is an extended attribute of a file, not followed if that is a symbolic link.
func (osFS) Attribute(string, string) ([]byte, error) { return nil, nil }
