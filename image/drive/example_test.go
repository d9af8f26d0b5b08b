package drive_test

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/live"
	"zimg/layout"
)

// A host appends a block to the first zone of an image. A transport would have taken the
// queue entry and the data from it.
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
	defer func() { _ = im.Close() }()
	zones, err := live.Open(im, live.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d, err := drive.New(im, zones, drive.Options{})
	if err != nil {
		log.Fatal(err)
	}
	c := d.NewController(drive.ControllerOptions{CNTLID: 1})
	c.WriteRegister(0x14, 4, 0x460061) // CC: all command sets, enabled

	var append4K drive.Command
	append4K[0] = 0x7D
	binary.LittleEndian.PutUint32(append4K[4:], 1)
	dir1, data, _, _ := c.Transfer(1, &append4K)
	fmt.Println(dir1 == drive.ToController, data)
	for range 2 {
		cpl, _ := c.Execute(1, &append4K, make([]byte, data), nil, nil)
		fmt.Println(cpl.Status.OK(), cpl.Result)
	}

	c.Close()
	if err := d.Close(); err != nil {
		log.Fatal(err)
	}
	if err := zones.Close(); err != nil {
		log.Fatal(err)
	}
	z, err := im.Namespaces()[0].Zone(0)
	fmt.Println(z.State, z.WP, err)
	// Output:
	// true 4096
	// true 0
	// true 1
	// Closed 2 <nil>
}
