package image_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// An image of four zones is made, a block is written to zone 1, and the zone is read back.
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
	im, err := image.Open(path, image.Options{Write: true})
	if err != nil {
		log.Fatal(err)
	}
	n := im.Namespaces()[0]
	if err := n.Write(strings.NewReader(strings.Repeat("x", 4096)), 256, image.WriteOptions{}); err != nil {
		log.Fatal(err)
	}
	z, err := n.Zone(1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(z.State, z.WP)
	if err := im.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: Closed 257
}
