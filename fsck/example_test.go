package fsck_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

// An image is made and checked.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "disk.zimg")
	err = image.Create(path, image.CreateOptions{Layout: layout.Trailing, Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	r, err := fsck.Check(path, fsck.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Errors, r.Warnings)
	// Output: 0 0
}
