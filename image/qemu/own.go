package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"zimg/image/drive"
	"zimg/image/drive/vfiouser"
)

// own is drives that zimg is itself: QEMU reaches each through a socket (vfio-user), and the zones are in the images
// at every moment. So there is nothing to restore, and nothing to save when the guest is done.
type own struct {
	*session
	devices [][]Property // of each drive, what the caller gives
	clients sync.WaitGroup

	mu        sync.Mutex
	listeners []*net.UnixListener
}

// ownDeviceProperties are the properties of QEMU's end of a drive that a caller may give: where it is in the machine.
var ownDeviceProperties = map[string]bool{"id": true, "bus": true, "addr": true, "bootindex": true, "multifunction": true, "acpi-index": true, "x-msg-timeout": true}

// IsOwnDeviceProperty reports whether a property of a controller says where in the machine it is, so that it is for
// QEMU also where the drive is zimg's own.
func IsOwnDeviceProperty(key string) bool { return ownDeviceProperties[key] }

func newOwn(s *session) (*own, error) {
	d := &own{session: s}
	if err := checkProperties(s.Controllers, len(s.Drives)); err != nil {
		return nil, err
	}
	for k := range s.Drives {
		props := PropertiesOf(s.Controllers, k)
		for _, p := range props {
			if !ownDeviceProperties[p.Key] {
				return nil, fmt.Errorf("%s is not a property of zimg's own drive in QEMU", p.Key)
			}
		}
		d.devices = append(d.devices, props)
	}
	return d, nil
}

func (d *own) fileSizes() []int64 { return nil }

func (d *own) socket(k int) string { return d.private.path(fmt.Sprintf("drive%d", k)) }

// prepare listens for QEMU, which connects when it makes its devices.
func (d *own) prepare() error {
	for k, dr := range d.Drives {
		l, err := vfiouser.Listen(d.socket(k))
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.listeners = append(d.listeners, l)
		d.mu.Unlock()
		d.clients.Add(1)
		dr.Go(func() { d.serve(l, dr) })
	}
	return nil
}

// serve serves one client after the other: QEMU, or its next device after it was unplugged.
func (d *own) serve(l *net.UnixListener, dr *drive.Drive) {
	defer d.clients.Done()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return // closed
		}
		if err := vfiouser.Serve(conn, dr, vfiouser.Options{Log: d.Log}); err != nil {
			d.Log("%v", err)
		}
	}
}

// args are the devices, and memory that zimg can see where the caller has left that open.
func (d *own) args() ([]string, error) {
	args := sharedMemory(qemuArgs(d.Command))
	for k := range d.Drives {
		m := map[string]any{"driver": "vfio-user-pci", "id": fmt.Sprintf("zimg%d", k), "socket": map[string]string{"type": "unix", "path": d.socket(k)}}
		for _, p := range d.placed(d.devices[k]) {
			m[p.Key] = typedValue(p)
		}
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		args = append(args, "-device", string(b))
	}
	return args, nil
}

func (d *own) attach(context.Context) error { return nil }
func (d *own) save(bool) error              { return nil }
func (d *own) release() error               { return nil }
func (d *own) attached() bool               { return true }

// discard ends the service, when QEMU has ended.
func (d *own) discard() error {
	d.mu.Lock()
	var errs []error
	for _, l := range d.listeners {
		errs = append(errs, l.Close())
	}
	d.listeners = nil
	d.mu.Unlock()
	d.clients.Wait()
	return errors.Join(errs...)
}

// sharedMemory are arguments that make the guest's memory shared, so that zimg reaches it without asking QEMU: none
// where the caller says what memory there is in more than a size.
func sharedMemory(args []string) []string {
	size, plain := "", true
	_ = options(args, func(name, value string) error { // the function returns none
		switch {
		case name == "m":
			size = memorySize(value)
		case name == "mem-path", name == "numa", name == "readconfig",
			name == "object" && strings.Contains(value, "memory-backend"),
			(name == "machine" || name == "M") && strings.Contains(value, "memory-backend"),
			(name == "machine" || name == "M") && strings.Contains(value, "mem-merge"):
			plain = false
		}
		return nil
	})
	if size == "" || !plain {
		return nil
	}
	return []string{"-object", "memory-backend-memfd,id=zimg-ram,share=on,size=" + size, "-machine", "memory-backend=zimg-ram"}
}

// memorySize is the size of QEMU's -m in bytes, "" if it is not a plain one: "512", "2G", "size=1G,slots=2,maxmem=4G".
func memorySize(value string) string {
	size := ""
	for i, item := range splitCommas(value) {
		key, v, ok := strings.Cut(item, "=")
		switch {
		case !ok && i == 0:
			size = item
		case key == "size":
			size = v
		}
	}
	if size == "" {
		return ""
	}
	shift, digits := 20, size // MiB
	if n := strings.IndexByte("bkmgtpe", size[len(size)-1]|0x20); n >= 0 {
		shift, digits = 10*n, size[:len(size)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return ""
	}
	return strconv.FormatUint(n<<shift, 10)
}
