// Package qemu attaches images to QEMU, and drives it for zimg run.
//
//	args.go     an image as -blockdev and -device arguments
//	session.go  one run of QEMU, from start to commit    launch.go  starting and ending it
//	mark.go     the mark that an image is in use          callerargs.go  its user's arguments
//	restore.go  capture.go   zones into the drive, and back out of it
//	nvme.go     queues and commands    pci.go  where the controller is
//	qtest.go    qmp.go       the two protocols
package qemu

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"zimg/layout"
)

// Args are the QEMU arguments that attach an image: a file node for each data
// file, a raw node for each namespace that shows the guest its part of it and nothing
// else, one NVMe controller and its namespaces. id begins the names of all of them. uuid, the
// image's, gives the controller its serial number, so that a guest knows the drive again.
func Args(files []string, namespaces []*layout.Namespace, uuid [16]byte, id string) []string {
	var args []string
	sharers := map[uint32]int{}
	for _, n := range namespaces {
		sharers[n.DataFile]++
	}
	for i, name := range files {
		args = append(args, "-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s,discard=unmap", FileNode(id, i), escape(name)))
	}
	for _, n := range namespaces {
		args = append(args, "-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=%s,offset=%d,size=%d,discard=unmap", RawNode(id, n.ID), FileNode(id, int(n.DataFile)), n.DataOff, n.DataLen))
	}
	return append(args, Devices(namespaces, uuid, id, func(n *layout.Namespace) bool { return sharers[n.DataFile] > 1 })...)
}

// FileNode is the name of the block node of data file i.
func FileNode(id string, i int) string { return fmt.Sprintf("%s-file%d", id, i) }

// RawNode is the name of the block node of a namespace.
func RawNode(id string, ns layout.NSID) string { return fmt.Sprintf("%s-ns%d", id, ns) }

// Devices are the arguments for the controller and its namespaces.
func Devices(namespaces []*layout.Namespace, uuid [16]byte, id string, shared func(*layout.Namespace) bool) []string {
	args := []string{"-device", fmt.Sprintf("nvme,id=%s,serial=%s", id, hex.EncodeToString(uuid[:10]))}
	for _, n := range namespaces {
		args = append(args, "-device", device(n, id, shared(n)))
	}
	return args
}

// device is one nvme-ns device with all the properties that n asks for.
func device(n *layout.Namespace, id string, shared bool) string {
	p := []string{
		"nvme-ns", "drive=" + RawNode(id, n.ID), "bus=" + id, fmt.Sprintf("nsid=%d", n.ID),
		fmt.Sprintf("logical_block_size=%d", n.BlockSize()),
		// QEMU refuses a logical block larger than the physical one.
		fmt.Sprintf("physical_block_size=%d", max(n.BlockSize(), 512)),
	}
	add := func(on bool, format string, args ...any) {
		if on {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	add(n.UUID != [16]byte{}, "uuid=%s", formatUUID(n.UUID))
	add(n.NGUID != [16]byte{}, "nguid=%s", hex.EncodeToString(n.NGUID[:]))
	add(n.EUI64 != [8]byte{}, "eui64=%#x", binary.BigEndian.Uint64(n.EUI64[:]))
	// Several nodes over one file: each has to let the others write.
	add(shared, "share-rw=on")
	add(n.MS > 0, "ms=%d", n.MS)
	add(n.ExtLBA, "mset=1")
	add(n.PI > 0, "pi=%d", n.PI)
	add(n.PIFirst, "pil=1")
	add(n.PIFormat > 0, "pif=%d", n.PIFormat)
	if n.Zoned() {
		add(true, "zoned=on")
		add(true, "zoned.zone_size=%d", n.ByteOff(n.ZoneSize))
		add(true, "zoned.zone_capacity=%d", n.ByteOff(n.ZoneCap))
		add(n.MaxOpen() > 0, "zoned.max_open=%d", n.MaxOpen())
		add(n.MaxActive() > 0, "zoned.max_active=%d", n.MaxActive())
		add(n.ZDES > 0, "zoned.descr_ext_size=%d", n.ExtSize())
		add(n.CrossRead, "zoned.cross_read=on")
		add(n.ZRWAS > 0, "zoned.zrwas=%d", n.ByteOff(layout.LBA(n.ZRWAS)))
		add(n.ZRWAS > 0, "zoned.zrwafg=%d", n.ByteOff(layout.LBA(n.ZRWAFG)))
		add(n.NumZRWA > 0, "zoned.numzrwa=%d", n.NumZRWA)
	}
	return strings.Join(p, ",")
}

// escape doubles commas, which QEMU takes for the end of a value.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// formatUUID is the text form of RFC 9562.
func formatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
