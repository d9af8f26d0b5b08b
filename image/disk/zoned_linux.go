package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of include/uapi/linux/blkzoned.h, by their numbers: x/sys has none of them.
const (
	blkReportZone = 0xC0101282
	blkGetZoneSz  = 0x80041284
	blkGetNrZones = 0x80041285

	reportLen  = 16 // struct blk_zone_report without its zones
	zoneLen    = 64 // struct blk_zone
	hasCap     = 1  // BLK_ZONE_REP_CAPACITY
	directSize = 1 << 20
)

// blkManage are the ioctls that take a struct blk_zone_range.
var blkManage = map[ZoneOp]uintptr{ResetZones: 0x40101283, OpenZones: 0x40101286, CloseZones: 0x40101287, FinishZones: 0x40101288}

// zonedDevice does its I/O in a buffer that is aligned as direct I/O wants it.
type zonedDevice struct {
	osFile
	geo Geometry
	mu  sync.Mutex
	buf []byte
}

// zonedModel is what sysfs says of the block device name: "none", "host-managed", ...
func zonedModel(name string) (model, queue string) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", ""
	}
	queue = fmt.Sprintf("/sys/dev/block/%d:%d/queue", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	b, err := os.ReadFile(filepath.Join(queue, "zoned"))
	if err != nil {
		return "", ""
	}
	return strings.TrimSpace(string(b)), queue
}

// IsZoned reports whether name is a zoned block device.
func IsZoned(name string) bool {
	model, _ := zonedModel(name)
	return model != "" && model != "none"
}

// OpenZoned opens a zoned block device for direct I/O. It is refused while it is mounted or
// another has it for itself, for the zones of a device in use mean nothing a moment later, unless it is
// to be shared.
func OpenZoned(name string, write, share bool) (ZonedDevice, error) {
	model, queue := zonedModel(name)
	switch model {
	case "", "none":
		if _, err := os.Stat(name); err != nil {
			return nil, err
		}
		return nil, pathError("open", name, ErrNotZoned)
	case "host-managed":
	default:
		return nil, pathError("open", name, fmt.Errorf("its zones are %s, not host-managed, which is %w", model, ErrUnsupported))
	}
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	if !share {
		flag |= unix.O_EXCL
	}
	file, err := os.OpenFile(name, flag|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, pathError("open", name, fmt.Errorf("the device is mounted or opened exclusively: %w", ErrLocked))
	}
	if err != nil {
		return nil, err
	}
	d := &zonedDevice{osFile: osFile{file: file, device: true}}
	if err := d.describe(queue); err != nil {
		return nil, errors.Join(pathError("open", name, err), file.Close())
	}
	return d, nil
}

// describe asks for the geometry and makes the buffer.
func (d *zonedDevice) describe(queue string) error {
	block, err := unix.IoctlGetInt(d.fd(), unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("BLKSSZGET: %w", err)
	}
	sectors, err := unix.IoctlGetUint32(d.fd(), blkGetZoneSz)
	if err != nil {
		return fmt.Errorf("BLKGETZONESZ: %w", err)
	}
	zones, err := unix.IoctlGetUint32(d.fd(), blkGetNrZones)
	if err != nil {
		return fmt.Errorf("BLKGETNRZONES: %w", err)
	}
	if sectors == 0 || zones == 0 {
		return fmt.Errorf("%d zones of %d sectors: %w", zones, sectors, ErrNotZoned)
	}
	limit := func(name string) uint64 {
		b, err := os.ReadFile(filepath.Join(queue, name))
		if err != nil {
			return 0
		}
		n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // older kernels do not say
		return n
	}
	d.geo = Geometry{BlockSize: block, ZoneSectors: uint64(sectors), Zones: uint64(zones), MaxOpen: limit("max_open_zones"), MaxActive: limit("max_active_zones")}
	d.buf, err = unix.Mmap(-1, 0, directSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	return err
}

func (d *zonedDevice) Geometry() Geometry { return d.geo }

func (d *zonedDevice) Close() error {
	return errors.Join(d.osFile.Close(), unix.Munmap(d.buf))
}

func (d *zonedDevice) ioctl(req uintptr, arg []byte) error {
	return again(func() error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd()), req, uintptr(unsafe.Pointer(&arg[0]))); e != 0 {
			return e
		}
		return nil
	})
}

func (d *zonedDevice) Report(sector uint64, zones []BlockZone) (int, error) {
	ne := binary.NativeEndian
	b := make([]byte, reportLen+zoneLen*len(zones))
	ne.PutUint64(b, sector)
	ne.PutUint32(b[8:], uint32(len(zones)))
	if err := d.ioctl(blkReportZone, b); err != nil {
		return 0, pathError("report zones", d.Name(), err)
	}
	n := min(int(ne.Uint32(b[8:])), len(zones))
	flags := ne.Uint32(b[12:])
	for i := range n {
		z := b[reportLen+zoneLen*i:]
		zones[i] = BlockZone{Start: ne.Uint64(z), Len: ne.Uint64(z[8:]), WP: ne.Uint64(z[16:]), Type: z[24], Cond: z[25], Reset: z[27] != 0, Cap: ne.Uint64(z[32:])}
		if flags&hasCap == 0 {
			zones[i].Cap = zones[i].Len
		}
	}
	return n, nil
}

func (d *zonedDevice) Manage(op ZoneOp, sector, count uint64) error {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint64(b, sector)
	binary.NativeEndian.PutUint64(b[8:], count)
	if err := d.ioctl(blkManage[op], b); err != nil {
		return pathError([...]string{"reset zone", "open zone", "close zone", "finish zone"}[op], d.Name(), fmt.Errorf("at sector %d: %w", sector, err))
	}
	return nil
}

// ReadAt reads whole blocks into the aligned buffer and hands out what was asked for.
func (d *zonedDevice) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	block := int64(d.geo.BlockSize)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		first := at / block * block
		length := min(int64(len(d.buf)), (at+int64(len(p)-done)-first+block-1)/block*block)
		n, err := d.file.ReadAt(d.buf[:length], first)
		if skip := int(at - first); n > skip {
			done += copy(p[done:], d.buf[skip:n])
		} else if err == nil {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && done < len(p) {
			return done, err
		}
	}
	return done, nil
}

// WriteAt writes whole blocks, through the aligned buffer.
func (d *zonedDevice) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if block := int64(d.geo.BlockSize); off%block != 0 || int64(len(p))%block != 0 {
		return 0, pathError("write", d.Name(), fmt.Errorf("%d bytes at %d are not whole blocks: %w", len(p), off, unix.EINVAL))
	}
	done := 0
	for done < len(p) {
		n := copy(d.buf, p[done:])
		w, err := d.file.WriteAt(d.buf[:n], off+int64(done))
		if done += w; err != nil {
			return done, err
		}
	}
	return done, nil
}

// CopyFrom is not for a device of zones: holes cannot be left out.
func (d *zonedDevice) CopyFrom(File, int64, int64, int64, func(int64) error) error {
	return pathError("copy", d.Name(), ErrUnsupported)
}
