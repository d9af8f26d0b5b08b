//go:build !linux

package disk

// OpenZoned opens a zoned block device: there are none here.
func OpenZoned(name string, _, _ bool) (ZonedDevice, error) {
	return nil, pathError("open", name, ErrNotZoned)
}

// IsZoned reports whether name is a zoned block device.
func IsZoned(string) bool { return false }
