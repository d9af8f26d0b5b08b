package image_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// check ends the program after an error, which keeps the examples short.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// fourZones makes an image of four zones in a folder of its own.
func fourZones() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	path = filepath.Join(dir, "disk.zimg")
	check(image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}}))
	return path, func() { check(os.RemoveAll(dir)) }
}

// An image of four zones is made, a block is written to zone 1, and the block and the zone are read back.
func Example() {
	path, remove := fourZones()
	defer remove()
	im, err := image.Open(path, image.Options{Write: true})
	check(err)
	n, err := im.Namespace(1)
	check(err)
	check(n.Write(strings.NewReader(strings.Repeat("x", 4096)), 256, image.WriteOptions{}))
	z, err := n.Zone(1)
	check(err)
	fmt.Println(z.State, z.WP)
	b := make([]byte, 4)
	_, err = n.ReadAt(b, int64(n.ByteOff(256)))
	check(err)
	fmt.Printf("%s\n", b)
	check(im.Close())
	// Output:
	// Closed 257
	// xxxx
}

// The zones of an image that others may read at the same time.
func ExampleOpen() {
	path, remove := fourZones()
	defer remove()
	im, err := image.Open(path, image.Options{})
	check(err)
	for _, n := range im.Namespaces() {
		for z, err := range n.All(0, n.ZoneCount) {
			check(err)
			fmt.Println(z.Start, z.State)
		}
	}
	check(im.Close())
	// Output:
	// 0 Empty
	// 256 Empty
	// 512 Empty
	// 768 Empty
}

// Zone 0 is finished. What a drive would refuse is an error with the status of the drive, and changes nothing.
func ExampleNamespace_ChangeZones() {
	path, remove := fourZones()
	defer remove()
	im, err := image.Open(path, image.Options{Write: true})
	check(err)
	n := im.Namespaces()[0]
	changed, err := n.ChangeZones(image.ZoneChange{Action: image.FinishZones, Zones: []image.ZoneRange{{First: 0, Last: 0}}})
	fmt.Println(changed, err)
	_, err = n.ChangeZones(image.ZoneChange{Action: image.CloseZones, Zones: []image.ZoneRange{{First: 0, Last: 0}}})
	fmt.Println(errors.Is(err, zns.InvalidTransition))
	check(im.Close())
	// Output:
	// 1 <nil>
	// true
}

// An image is copied into the other layout. A copy is not made over a file unless Force is set.
func ExampleConvert() {
	path, remove := fourZones()
	defer remove()
	to := filepath.Join(filepath.Dir(path), "disk.raw")
	check(image.Convert(path, to, image.ConvertOptions{Layout: layout.Sidecar}))
	err := image.Convert(path, to, image.ConvertOptions{Layout: layout.Sidecar})
	fmt.Println(errors.Is(err, image.ErrExists))
	_, err = os.Stat(to + image.SidecarSuffix)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}
