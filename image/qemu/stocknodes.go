package qemu

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"zimg/image/disk"
)

// addFiles gives QEMU the data files, and the log of a recording.
func (d *stock) addFiles() error {
	for _, i := range d.images {
		for f, file := range i.Files().Data {
			if under, ok := file.(lowerFile); ok {
				if err := d.addOverlay(FileNode(i.node, f), under.Lower(), int64(i.Plan().DataLen[f])); err != nil {
					return fmt.Errorf("%s: %w", file.Name(), err)
				}
				continue
			}
			dup, err := descriptor(file)
			if err != nil {
				return err
			}
			err = d.addFile(FileNode(i.node, f), dup, true)
			if err := errors.Join(err, dup.Close()); err != nil {
				return fmt.Errorf("%s: %w", file.Name(), err)
			}
		}
	}
	if d.Record == nil {
		return nil
	}
	log, err := os.OpenFile(d.Record.Log, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	node := d.images[0].node
	err = errors.Join(d.addFile(node+"-log", log, false), log.Close())
	if err != nil {
		return err
	}
	// A filter that keeps every write, discard and flush of the data file: of all namespaces, in one order.
	return d.qmp.Do("blockdev-add", map[string]any{
		"driver": "blklogwrites", "node-name": recordNode(node), "file": FileNode(node, 0), "log": node + "-log",
		"log-sector-size": 512, "discard": "unmap",
	}, nil)
}

// descriptor is a duplicate of the descriptor of an open file, which has its locks.
func descriptor(file disk.File) (*os.File, error) {
	open, ok := file.(interface{ Fd() uintptr })
	if !ok {
		return nil, fmt.Errorf("%s cannot be passed to QEMU", file.Name())
	}
	return dupFile(open.Fd(), file.Name())
}

func (d *stock) addFile(node string, file *os.File, locking bool) error {
	if locking {
		return d.addNode(node, file, nil)
	}
	return d.addNode(node, file, map[string]any{"locking": "off"})
}

// addNode adds a node for an open file, with more options.
func (d *stock) addNode(node string, file *os.File, more map[string]any) error {
	name, err := d.qmp.AddFile(file)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	options := map[string]any{"driver": "file", "node-name": node, "filename": name, "discard": "unmap"}
	if info.Mode()&os.ModeDevice != 0 {
		options["driver"] = "host_device"
	}
	maps.Copy(options, more)
	return d.qmp.Do("blockdev-add", options, nil)
}

// reopen puts the images in the place of the placeholders.
func (d *stock) reopen() error {
	var options []any
	for _, i := range d.images {
		for _, n := range i.namespaces {
			file := FileNode(i.node, int(n.DataFile))
			if d.Record != nil {
				file = recordNode(i.node)
			}
			options = append(options, map[string]any{
				"driver": "raw", "node-name": RawNode(i.node, n.ID), "file": file,
				"offset": n.DataOff, "size": n.DataLen, "discard": "unmap",
			})
		}
	}
	return d.qmp.Do("blockdev-reopen", map[string]any{"options": options}, nil)
}
