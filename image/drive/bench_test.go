package drive_test

import (
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// benchHost is the host of a drive over live zones in a file of 1 GiB, 64 zones.
func benchHost(b *testing.B) *drivetest.Host {
	b.Helper()
	spec := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{8}, Namespaces: []imagetest.SpecNamespace{
		{Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 64 * 4096, ZoneCount: 64, ZoneSize: 4096, ZoneCap: 4096, MAR: 15, MOR: 15,
		}},
		{Namespace: layout.Namespace{ID: 2, CSI: layout.NVM, BlockBits: 12, Blocks: 4096}},
	}}
	path := filepath.Join(b.TempDir(), "disk")
	if err := spec.Create(disk.OS, path); err != nil {
		b.Fatal(err)
	}
	im, err := image.Open(path, image.Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = im.Close() })
	st, err := live.Open(im, live.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(st.Abandon)
	d, err := drive.New(im, st, drive.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return drivetest.NewHost(b, d, drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.bench"})
}

// run executes one command per iteration, as a transport does.
func run(b *testing.B, r *drivetest.Host, next func(i int) *drive.Command, size int) {
	b.Helper()
	buf := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cmd := next(i)
		if _, _, _, st := r.C.Transfer(1, cmd); !st.OK() {
			b.Fatal(st)
		}
		if cpl, _ := r.C.Execute(1, cmd, buf, nil, nil); !cpl.Status.OK() {
			b.Fatal(cpl.Status)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	for _, c := range []struct {
		name   string
		op     uint8
		id     layout.NSID
		blocks int
	}{
		{"zoned write 4K", opWrite, 1, 1},
		{"zoned append 4K", opAppend, 1, 1},
		{"zoned read 4K", opRead, 1, 1},
		{"plain write 4K", opWrite, 2, 1},
		{"plain read 4K", opRead, 2, 1},
		{"zoned write 128K", opWrite, 1, 32},
		{"zoned read 128K", opRead, 1, 32},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := benchHost(b)
			if c.op == opRead && c.id == 1 {
				for lba := uint64(0); lba < 4096; lba += 64 {
					r.Want(1, drivetest.IO(opWrite, 1, lba, 64, 0), fill('r', 64*4096), drive.Success)
				}
			}
			cmd := drivetest.IO(c.op, c.id, 0, c.blocks, 0)
			per := 4096 / c.blocks // commands of a zone
			run(b, r, func(i int) *drive.Command {
				zone, lba := uint64(i/per%64), uint64(i%per*c.blocks)
				switch {
				case c.id == 2 || c.op == opRead:
					zone = 0
				case i >= 64*per && i%per == 0:
					r.Want(1, drivetest.Cmd(opSend, 1, uint32(zone*4096), 0, 0, 4), nil, drive.Success)
				}
				if c.op == opAppend {
					lba = 0
				}
				le.PutUint64(cmd[40:], zone*4096+lba)
				return cmd
			}, c.blocks*4096)
		})
	}
}
