// Package qemu attaches images to QEMU, and drives it for a run.
//
//	args.go      an image as -blockdev and -device arguments   device.go  devices and their properties
//	session.go   one run of QEMU, from start to end            wait.go    what happens while the guest runs
//	launch.go    the command line, starting and ending QEMU    private.go the folder of its sockets
//	callerargs.go  the caller's own arguments                  tracelog.go  QEMU's log
//	guard.go     no QEMU outlives zimg                          process_linux.go  signals, terminals
//	stock.go     the images on QEMU's own drive                mark.go    the mark that an image is in use
//	restore.go   capture.go   zones into that drive, and back out of it
//	nvme.go      queues and commands    pci.go  machine.go  where the controller is
//	qtest.go     qmp.go       the two protocols
package qemu

import (
	"fmt"

	"zimg/layout"
)

// Args are the QEMU arguments that attach an image: a file node for each data
// file, a raw node for each namespace that shows the guest its part of it and nothing
// else, one NVMe controller and its namespaces. id begins the names of all of them. uuid, the
// image's, gives the controller its serial number; more are properties of the controller.
func Args(files []string, namespaces []*layout.Namespace, uuid [16]byte, id string, more []Property) []string {
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
	c := controller(uuid, id, more)
	args = append(args, "-device", plain(c))
	for _, n := range namespaces {
		args = append(args, "-device", plain(namespace(n, get(c, "id"), RawNode(id, n.ID), sharers[n.DataFile] > 1)))
	}
	return args
}

// FileNode is the name of the block node of data file i.
func FileNode(id string, i int) string { return fmt.Sprintf("%s-file%d", id, i) }

// RawNode is the name of the block node of a namespace.
func RawNode(id string, ns layout.NSID) string { return fmt.Sprintf("%s-ns%d", id, ns) }
