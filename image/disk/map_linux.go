package disk

import (
	"golang.org/x/sys/unix"
)

// Map maps the file shared.
func (f *osFile) Map(length int64) (*Mapping, error) {
	b, err := unix.Mmap(f.fd(), 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		if cannot(err) { // a file system without shared mappings
			return nil, ErrUnsupported
		}
		return nil, pathError("map", f.Name(), err)
	}
	return NewMapping(b, unix.Munmap), nil
}

// identity is the inode number and the time of its creation: both stay when the file is renamed or its file system is
// mounted again, and a copy has others.
func (f *osFile) identity() (id [16]byte, ok bool) {
	var st unix.Statx_t
	if unix.Statx(f.fd(), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
		return id, false
	}
	words := [2]uint64{st.Ino, 0}
	if st.Mask&unix.STATX_BTIME != 0 {
		words[1] = uint64(st.Btime.Sec)*1_000_000_000 + uint64(st.Btime.Nsec)
	}
	for i := range id {
		id[i] = byte(words[i/8] >> (i % 8 * 8))
	}
	return id, true
}
