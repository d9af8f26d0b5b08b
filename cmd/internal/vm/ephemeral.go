package vm

import "zimg/image/disk"

// overlay makes the run one whose changes go to a folder, which remove removes.
func (r *run) overlay() (remove func() error, err error) {
	under := r.FS
	if under == nil {
		under = disk.OS
	}
	o, remove, err := disk.TempOverlay(under)
	if err != nil {
		return nil, err
	}
	r.FS, r.upper, r.NoRepair = o, o.Dir(), true
	return remove, nil
}
