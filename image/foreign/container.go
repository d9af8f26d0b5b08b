package foreign

import (
	"encoding/binary"
	"strings"

	"zimg/image"
	"zimg/image/disk"
)

// Container is a format that holds a disk or a file in another form than byte by byte: a virtual disk of another
// program, or a compressed file. An image in it can be used once it is unpacked.
type Container struct {
	// Name of the format: for a virtual disk, what qemu-img calls it.
	Name string
	// Title is for people, with its article.
	Title string
	// Disk: a virtual disk, which qemu-img can read.
	Disk bool
	// Encrypted: it takes a key to read it.
	Encrypted bool
}

// ContainerError is the error of a file that is a container where its contents are wanted.
type ContainerError struct {
	Path      string
	Container Container
}

func (e *ContainerError) Error() string { return e.Path + ": it is " + e.Container.Title }

// Unwrap makes the error one of a file that is not of the format.
func (e *ContainerError) Unwrap() error { return ErrNotFormat }

// containers are recognised by what a file begins with, at offset off.
var containers = []struct {
	off   int
	magic string
	is    Container
}{
	{0, "QFI\xfb\x00\x00\x00\x01", Container{Name: "qcow", Title: "a qcow file", Disk: true}},
	{0, "QFI\xfb", Container{Name: "qcow2", Title: "a qcow2 file without zones", Disk: true}},
	{0, "QED\x00", Container{Name: "qed", Title: "a QED file", Disk: true}},
	{0, "KDMV", Container{Name: "vmdk", Title: "a VMDK file", Disk: true}},
	{0, "COWD", Container{Name: "vmdk", Title: "a VMDK file", Disk: true}},
	{0, "# Disk DescriptorFile", Container{Name: "vmdk", Title: "a VMDK descriptor", Disk: true}},
	{0, "conectix", Container{Name: "vpc", Title: "a VHD file", Disk: true}},
	{0, "vhdxfile", Container{Name: "vhdx", Title: "a VHDX file", Disk: true}},
	{64, "\x7f\x10\xda\xbe", Container{Name: "vdi", Title: "a VDI file", Disk: true}},
	{0, "WithoutFreeSpace", Container{Name: "parallels", Title: "a Parallels disk", Disk: true}},
	{0, "WithouFreSpacExt", Container{Name: "parallels", Title: "a Parallels disk", Disk: true}},
	{0, "LUKS\xba\xbe", Container{Name: "luks", Title: "a LUKS volume", Disk: true, Encrypted: true}},
	{0, "\x1f\x8b", Container{Name: "gzip", Title: "compressed with gzip"}},
	{0, "\xfd7zXZ\x00", Container{Name: "xz", Title: "compressed with xz"}},
	{0, "\x28\xb5\x2f\xfd", Container{Name: "zstd", Title: "compressed with zstd"}},
	{0, "BZh", Container{Name: "bzip2", Title: "compressed with bzip2"}},
	{0, "\x04\x22\x4d\x18", Container{Name: "lz4", Title: "compressed with lz4"}},
	{0, "LZIP", Container{Name: "lzip", Title: "compressed with lzip"}},
	{0, "PK\x03\x04", Container{Name: "zip", Title: "a zip archive"}},
	{0, "7z\xbc\xaf\x27\x1c", Container{Name: "7z", Title: "a 7-Zip archive"}},
	{257, "ustar", Container{Name: "tar", Title: "a tar archive"}},
}

// Container is the container that h is, nil if it is none that is known.
func (h *Head) Container() *Container {
	first := string(h.First)
	for _, k := range containers {
		if len(first) < k.off || !strings.HasPrefix(first[k.off:], k.magic) {
			continue
		}
		is := k.is
		if is.Name == "qcow2" && len(h.First) >= 36 {
			if method := binary.BigEndian.Uint32(h.First[32:]); method == 1 || method == 2 { // AES, LUKS
				is.Title, is.Encrypted = "an encrypted qcow2 file", true
			}
		}
		return &is
	}
	if image.EndsAsVHD(h.Last) {
		return &Container{Name: "vpc", Title: "a VHD file", Disk: true}
	}
	return nil
}

// FindContainer is the container that the file at path is, nil if it is none that is known, or no regular file.
func FindContainer(fsys disk.FS, path string) (*Container, error) {
	info, err := fsys.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	h, err := NewHead(fsys, path)
	if err != nil {
		return nil, err
	}
	c := h.Container()
	return c, h.Close()
}

// RefuseContainer returns a ContainerError if the input is a container.
func (in *Input) RefuseContainer() error {
	c, err := FindContainer(in.FS, in.Path)
	if err == nil && c != nil {
		err = &ContainerError{Path: in.Path, Container: *c}
	}
	return err
}
