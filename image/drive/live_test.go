package drive_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// served is a drive over live zones, in a file system in memory.
type served struct {
	*drivetest.Host
	fsys *imagetest.MemFS
	im   *image.Image
	st   *live.Store
	d    *drive.Drive
	host drive.ControllerOptions
}

// serve makes a drive of the image, which may have been left by a process that died.
func serve(t drivetest.T, fsys *imagetest.MemFS, host drive.ControllerOptions) *served {
	t.Helper()
	return serveSince(t, fsys, host, 1)
}

// serveSince is serve after boot number boot of the computer.
func serveSince(t drivetest.T, fsys *imagetest.MemFS, host drive.ControllerOptions, boot byte) *served {
	t.Helper()
	s := &served{fsys: fsys, host: host}
	var err error
	if s.im, err = image.OpenUnclean("disk", image.Options{FS: fsys, Write: true}); err != nil {
		t.Fatal(err)
	}
	if s.st, err = live.Open(s.im, live.Options{BootID: [16]byte{boot}}); err != nil {
		t.Fatal(err)
	}
	if s.d, err = drive.New(s.im, s.st, drive.Options{}); err != nil {
		t.Fatal(err)
	}
	s.Host = drivetest.NewHost(t, s.d, host)
	return s
}

// die is the death of the process; what it answered is to be found again.
func (s *served) die() *served {
	s.T.Helper()
	s.st.Abandon()
	_ = s.im.Close()
	return serve(s.T, s.fsys, s.host)
}

// end is an orderly end.
func (s *served) end() {
	s.T.Helper()
	s.Shutdown()
	s.C.Close()
	for _, err := range []error{s.d.Close(), s.st.Close(), s.im.Close()} {
		if err != nil {
			s.T.Fatal(err)
		}
	}
}

// state is everything that a host can see of the zones of a namespace, and its data.
func (s *served) state(id layout.NSID, blocks, size int, extended bool) string {
	s.T.Helper()
	text := ""
	if extended {
		_, b := s.Want(1, drivetest.Cmd(opReceive, id, 0, 0, 64*1024/4-1, 1), nil, drive.Success)
		text = fmt.Sprintf("%x\n", b)
	}
	for lba := range blocks {
		cpl, b := s.Do(1, drivetest.IO(opRead, id, uint64(lba), 1, 0), nil)
		text += fmt.Sprintf("%v %x %x\n", cpl.Status.Code(), b, s.Meta)
	}
	return text
}

// liveSpec has a zoned namespace with limits, extensions and metadata, one with random write
// areas, and a plain one.
func liveSpec() imagetest.Spec {
	spec := protected(layout.Namespace{MS: 8})
	zoned := &spec.Namespaces[0].Namespace
	zoned.MAR, zoned.MOR, zoned.ZDES = 2, 1, 1
	area := layout.Namespace{
		ID: 3, CSI: layout.ZNS, BlockBits: 9, Blocks: 64, ZoneCount: 4, ZoneSize: 16, ZoneCap: 12,
		MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: 1, ZRWAS: 4, ZRWAFG: 2, NumZRWA: 2,
	}
	spec.Namespaces = append(spec.Namespaces, imagetest.SpecNamespace{Namespace: area})
	return spec
}

// Random commands; the process dies again and again, and a host finds all as it was
// answered. After an orderly end the image is clean and opens as any other.
func TestProcessDeath(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(imagetest.Seed(t), 1))
	fsys := imagetest.NewMemFS()
	spec := liveSpec()
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	h := serve(t, fsys, drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.a"})
	lives := 40
	if testing.Short() {
		lives = 8
	}
	for range lives {
		for range rng.IntN(60) {
			h.random(rng)
		}
		var before, after [3]string
		for i := range before {
			before[i] = h.state(layout.NSID(i+1), 64, 512, i != 1)
		}
		h = h.die()
		for i := range after {
			after[i] = h.state(layout.NSID(i+1), 64, 512, i != 1)
			if before[i] != after[i] {
				t.Fatalf("namespace %d has changed\n%s\n%s", i+1, before[i], after[i])
			}
		}
	}
	h.end()
	im, err := image.Open("disk", image.Options{FS: fsys, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range im.Namespaces() {
		if c := n.Counts(); c.Open() > 0 {
			t.Errorf("namespace %d has open zones at rest: %v", n.ID, c)
		}
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
}

// After a loss of power the zones are as of the last Flush, of a write with FUA, or of any
// command while the write cache is off.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	fsys := imagetest.NewMemFS()
	spec := liveSpec()
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	h := serve(t, fsys, drive.ControllerOptions{})
	for boot, c := range []struct {
		name  string
		kept  []*drive.Command
		lost  *drive.Command
		cache uint32
		want  layout.LBA // written in the first zone of namespace 3
		state layout.ZoneState
	}{
		{"Flush", []*drive.Command{drivetest.IO(opAppend, 3, 0, 2, 0), drivetest.Cmd(opFlush, 3)}, drivetest.IO(opAppend, 3, 0, 1, 0), 1, 2, layout.Closed},
		{"FUA", []*drive.Command{drivetest.IO(opAppend, 3, 0, 2, 1<<30)}, drivetest.IO(opAppend, 3, 0, 1, 0), 1, 4, layout.Closed},
		{"no write cache", []*drive.Command{drivetest.IO(opAppend, 3, 0, 1, 0)}, nil, 0, 5, layout.Closed},
		{"a reset that is lost", nil, drivetest.Cmd(opSend, 3, 0, 0, 0, 4), 1, 5, layout.Closed},
		{"a reset that is not", []*drive.Command{drivetest.Cmd(opSend, 3, 0, 0, 0, 4), drivetest.Cmd(opFlush, 0xFFFFFFFF)}, nil, 1, 0, layout.Empty},
		{"a random write area", []*drive.Command{
			drivetest.Cmd(opSend, 3, 0, 0, 0, 3|1<<9), drivetest.IO(opWrite, 3, 1, 1, 0), drivetest.Cmd(opFlush, 3),
		}, drivetest.IO(opWrite, 3, 3, 1, 0), 1, 2, layout.Closed},
	} {
		if c.cache == 0 {
			h.Want(0, drivetest.Cmd(opSet, 0, 6, 0), nil, drive.Success)
		}
		for _, cmd := range c.kept {
			h.Want(1, cmd, fill('k', 2*512), drive.Success)
		}
		if c.lost != nil {
			h.Want(1, c.lost, fill('l', 512), drive.Success)
		}
		h.st.Abandon()
		_ = h.im.Close()
		h = serveSince(t, fsys, h.host, byte(boot+2))
		z, err := h.st.Namespace(3).Zone(0)
		if err != nil || z.Written-z.Start != c.want || z.State != c.state {
			t.Errorf("%s: %+v, %v; want %v, %d blocks", c.name, z, err, c.state, c.want)
		}
		_, got := h.Want(1, drivetest.IO(opRead, 3, 0, 6, 0), nil, drive.Success)
		if i := bytes.IndexByte(got, 'l'); i >= 0 {
			t.Errorf("%s: data of a write that was lost, at %d", c.name, i)
		}
	}
	h.end()
}

// random sends one command. Whether it succeeds is up to the zones.
func (s *served) random(rng *rand.Rand) {
	id := layout.NSID(1 + rng.IntN(3))
	zone := uint64(rng.IntN(4) * 16)
	data := make([]byte, 16*520)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	nlb := 1 + rng.IntN(4)
	switch rng.IntN(9) {
	case 0, 1:
		s.Do(1, drivetest.IO(opAppend, id, zone, nlb, 0), data)
	case 2, 3:
		s.Do(1, drivetest.IO(opWrite, id, zone+uint64(rng.IntN(16)), nlb, uint32(rng.IntN(2))<<30), data)
	case 4:
		s.Do(1, drivetest.IO(opZeroes, id, zone+uint64(rng.IntN(12)), nlb, 0), nil)
	case 5:
		s.Do(1, drivetest.Cmd(opSend, id, uint32(zone), 0, 0, []uint32{1, 2, 3, 4, 5, 0x10, 3 | 1<<9, 4 | 1<<8, 1 | 1<<8}[rng.IntN(9)]), data)
	case 6:
		s.Do(1, drivetest.Cmd(opSend, id, uint32(zone)+uint32(rng.IntN(12)), 0, 0, 0x11), nil)
	case 7:
		source := make([]byte, 32)
		le.PutUint64(source[8:], zone)
		le.PutUint16(source[16:], uint16(nlb-1))
		s.Do(1, drivetest.Cmd(opCopy, id, uint32(rng.IntN(64)), 0, 0), source)
	case 8:
		s.Do(1, drivetest.Cmd(opFlush, id), nil)
	}
}

// A host whose answer died with the process repeats its write to the next one.
func TestRepeatAfterDeath(t *testing.T) {
	t.Parallel()
	fsys := imagetest.NewMemFS()
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	h := serve(t, fsys, drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.a"})
	h.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), fill('1', 8192), drive.Success)
	h.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), nil, drive.ZoneInvalidWrite)
	h = h.die()
	other := drivetest.NewHost(t, h.d, drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.b"})
	other.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), nil, drive.ZoneInvalidWrite)
	h.Want(1, drivetest.IO(opWrite, 2, 32, 1, 0), nil, drive.ZoneInvalidWrite)
	h.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), fill('2', 8192), drive.Success)
	_, got := h.Want(1, drivetest.IO(opRead, 2, 32, 3, 0), nil, drive.Success)
	if !bytes.Equal(got, append(fill('2', 8192), fill(0, 4096)...)) {
		t.Errorf("% x", got[:8])
	}
	// The same with a host that only lost its connection.
	h.Want(1, drivetest.IO(opWrite, 2, 34, 1, 0), fill('3', 4096), drive.Success)
	h.C.Abandon()
	h.Host = drivetest.NewHost(t, h.d, h.host)
	h.Want(1, drivetest.IO(opWrite, 2, 34, 1, 0), fill('4', 4096), drive.Success)
	h.Want(1, drivetest.Cmd(opSend, 2, 32, 0, 0, 4), nil, drive.Success)
	h.Want(1, drivetest.IO(opWrite, 2, 34, 1, 0), nil, drive.ZoneInvalidWrite)
	h.end()
}

// Zones changed from outside, over live zones: the write pointer moves both ways, and what
// was not written reads as zeroes.
func TestChangeZones(t *testing.T) {
	t.Parallel()
	fsys := imagetest.NewMemFS()
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	h := serve(t, fsys, drive.ControllerOptions{})
	h.Want(1, drivetest.IO(opWrite, 2, 32, 8, 0), fill('1', 8*4096), drive.Success)
	for _, c := range []struct {
		zone   uint64
		change drive.ZoneChange
		wp     layout.LBA
		want   layout.ZoneState
		length layout.LBA
	}{
		{2, drive.ChangeWP, 34, layout.Closed, 2},
		{2, drive.ChangeWP, 37, layout.Closed, 5},
		{3, drive.ChangeWP, 64, layout.Full, 16},
		{4, drive.ChangeOpen, 0, layout.ExplicitlyOpened, 0},
		{4, drive.ChangeClose, 0, layout.Closed, 0},
		{4, drive.ChangeFinish, 0, layout.Full, 0},
		{4, drive.ChangeReset, 0, layout.Empty, 0},
		{5, drive.ChangeReadOnly, 0, layout.ReadOnly, 0},
		{5, drive.ChangeOffline, 0, layout.Offline, 0},
	} {
		if err := h.d.ChangeZone(2, c.zone, c.change, c.wp); err != nil {
			t.Fatalf("zone %d, change %d: %v", c.zone, c.change, err)
		}
		z, err := h.st.Namespace(2).Zone(c.zone)
		if err != nil || z.State != c.want || z.Written-z.Start != c.length {
			t.Errorf("zone %d, change %d: %+v, %v", c.zone, c.change, z, err)
		}
	}
	_, got := h.Want(1, drivetest.IO(opRead, 2, 32, 8, 0), nil, drive.Success)
	if !bytes.Equal(got, append(fill('1', 8192), fill(0, 6*4096)...)) {
		t.Error("blocks below a write pointer that was moved do not read as zeroes")
	}
	for _, err := range []error{
		h.d.ChangeZone(3, 0, drive.ChangeReset, 0), h.d.ChangeZone(9, 0, drive.ChangeReset, 0), h.d.ChangeZone(2, 100, drive.ChangeReset, 0),
		h.d.ChangeZone(2, 5, drive.ChangeReset, 0), h.d.ChangeZone(2, 6, 99, 0), h.d.ChangeZone(2, 6, drive.ChangeWP, 0),
	} {
		if err == nil {
			t.Error("a change that is impossible has no error")
		}
	}
	h.end()
}
