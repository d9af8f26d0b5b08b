package guest

import (
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

//go:embed init.sh
var initScript []byte

//go:embed mkzonefs.sh
var mkzonefsScript []byte

//go:embed namespaces.sh
var namespacesScript []byte

// recipeVersion goes up when the guest is put together in another way without
// anything below it in this file changing.
const recipeVersion = 2

// kernelPackages are the packages that depend on the newest kernel, on Debian
// and on Ubuntu. The first that the machine's package lists know is taken.
var kernelPackages = []string{"linux-image-amd64", "linux-image-generic"}

// modules are taken from the kernel package together with what they need. Only
// nvme and qemu_fw_cfg are loaded at the start: under tcg each takes its time.
var modules = []string{
	"nvme", "qemu_fw_cfg",
	"btrfs", "f2fs", "zonefs", "ext4", "dm-zoned",
	"null_blk", "loop", "virtio_blk", "virtio_pci", "nvme-tcp", "e1000",
	// Asked for by name when a file system is mounted, so no module depends on them.
	"crc32c_generic", "crc32c-intel", "crc32_generic", "xxhash_generic", "sha256_generic", "blake2b_generic",
}

// programs are taken from the machine that builds, together with their
// libraries. What busybox has under the same name is found after them.
var programs = []string{
	"blkzone", "nvme", "zbd",
	"btrfs", "mkfs.btrfs", "mkfs.f2fs", "fsck.f2fs",
}

// zonefsSuper is the super block that mkzonefs.sh writes: linux/fs/zonefs,
// struct zonefs_super. Its checksum is the kernel's crc32 from ~0 over the 4096
// bytes with the checksum as zero.
func zonefsSuper() []byte {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint32(b[0:], 0x5a4f4653) // magic
	binary.LittleEndian.PutUint32(b[4:], 0x96b85255) // checksum of exactly this block
	copy(b[8:72], "zimg-guest")                      // label
	copy(b[72:88], "zimg-guest-zonef")               // uuid
	return b
}

// recipeID names a guest by everything in this package that decides what is in it.
func recipeID() string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d\n%q\n%q\n%q\n%s\n%s\n%s\n%s", recipeVersion, kernelPackages, modules, programs,
		initScript, mkzonefsScript, namespacesScript, zonefsSuper())
	return hex.EncodeToString(h.Sum(nil))[:12]
}
