package tcp_test

import (
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/tcp"
	"zimg/image/drive/tcp/host"
	"zimg/image/live"
	"zimg/layout"
)

// A program serves an image on the loopback interface; a host in the same program connects, and appends a block to the
// first zone.
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
	zones, err := live.Open(im, live.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d, err := drive.New(im, zones, drive.Options{NQN: "nqn.2026-01.org.example:disk"})
	if err != nil {
		log.Fatal(err)
	}

	server, err := tcp.New(tcp.Options{}, tcp.Subsystem{NQN: d.NQN(), New: func(a tcp.Association) (tcp.Controller, error) {
		return d.NewController(drive.ControllerOptions{
			CNTLID: a.CNTLID, Fabrics: true, HostNQN: a.HostNQN, HostID: a.HostID, KeepAlive: a.KATO, IOCapsule: tcp.InCapsule,
		}), nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	c, err := host.Dial(func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, host.Options{InCapsule: tcp.InCapsule},
		host.Params{SubNQN: d.NQN(), HostNQN: "nqn.2026-01.org.example:host", HostID: [16]byte{1}, SQSize: 31}, 1)
	if err != nil {
		log.Fatal(err)
	}
	cpl, err := c.IO[0].Do(host.Command{0: 0x7D, 4: 1}, make([]byte, 4096), nil)
	fmt.Println(cpl.Status, cpl.Result, err)
	c.Close()

	// Hosts first, then the drive, then its zones and the image.
	for _, end := range []func() error{server.Close, d.Close, zones.Close, im.Close} {
		if err := end(); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(<-served)
	// Output:
	// 0 0 <nil>
	// <nil>
}
