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

// An image whose last byte was overwritten is checked, repaired, and the repair is undone.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "disk.zimg")
	err = image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		log.Fatal(err)
	}

	found := func(f fsck.Finding) { fmt.Println(f.Code, f.Repaired) }
	r, err := fsck.Check(path, fsck.Options{Found: found})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("errors:", r.Errors)
	r, err = fsck.Repair(path, fsck.Options{Mode: fsck.Safe, Found: found})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("repaired:", r.Fixed)
	fmt.Println("undone:", fsck.Undo(path, fsck.Options{}, false))
	// Output:
	// locator-damaged false
	// errors: 1
	// locator-damaged true
	// repaired: 1
	// undone: <nil>
}
