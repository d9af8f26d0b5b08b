package record_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/drive/record"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

var (
	seedFlag  = flag.Uint64("record.seed", 0, "seed of the random loads")
	loadsFlag = flag.Int("record.loads", 300, "number of random loads whose power is cut, three times each")
)

func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-record.seed=%d", s)
	return s
}

// Opcodes and zone actions, as a host knows them.
const (
	opFlush, opWrite, opZeroes, opDSM, opCopy, opSend, opAppend = 0, 1, 8, 9, 0x19, 0x79, 0x7D

	actClose, actFinish, actOpen, actReset, actSetZDE, actFlushZRWA = 1, 2, 3, 4, 0x10, 0x11

	fua = 1 << 30
)

const bs = 4096

// specs are two zoned namespaces, one of them with random write areas, and a plain one. With metadata the last two
// have it in their blocks.
func specs(metadata bool) []image.NamespaceSpec {
	zoned := layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 6 * 16, ZoneCount: 6, ZoneSize: 16, ZoneCap: 12,
		MAR: layout.ZeroBased(4), MOR: layout.ZeroBased(2), ZDES: 1,
	}
	area := layout.Namespace{
		ID: 2, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 16, ZoneCount: 4, ZoneSize: 16, ZoneCap: 16,
		MAR: layout.NoLimit, MOR: layout.NoLimit, ZRWAS: 4, ZRWAFG: 2, NumZRWA: 2,
	}
	plain := layout.Namespace{ID: 3, CSI: layout.NVM, BlockBits: 12, Blocks: 24}
	if metadata {
		area.MS, plain.MS = 8, 8
	}
	return []image.NamespaceSpec{{Namespace: zoned}, {Namespace: area}, {Namespace: plain}}
}

// rig is a drive whose store notes what is done, with one host that sends random commands, and what the drive would
// have kept had the power failed.
type rig struct {
	t    *testing.T
	path string
	im   *image.Image
	live *live.Store
	st   *record.Store
	d    *drive.Drive
	host *drivetest.Host
	rng  *rand.Rand
	fill byte
	meta bool

	durable map[key]state  // of zones, and of blocks of the plain namespace
	pending []plainWrite   // of the plain namespace, in order
	seen    map[key]string // what each block of namespace 2 has held since its zone was durable, in bytes
}

// plainWrite is a write of one value to blocks of the plain namespace.
type plainWrite struct {
	lba, count int
	value      byte
}

type key struct {
	id layout.NSID
	i  uint64
}

// state is a zone or a block.
type state struct {
	zone layout.Zone // at rest
	ext  string
	data string
}

func newRig(t *testing.T, fs disk.FS, path string, s uint64, metadata bool) *rig {
	t.Helper()
	if err := image.Create(path, image.CreateOptions{FS: fs, Layout: layout.Trailing, Namespaces: specs(metadata)}); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(path, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, path: path, im: im, rng: rand.New(rand.NewPCG(s, 1)), durable: map[key]state{}, seen: map[key]string{}, meta: metadata}
	return r
}

// serve begins to serve the image; begin is called before any command.
func (r *rig) serve(begin func(*record.Store)) {
	r.t.Helper()
	st, err := live.Open(r.im, live.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.live = st
	r.st = record.New(r.im, drive.Live(st))
	begin(r.st)
	if r.d, err = drive.NewWith(r.im, r.st, drive.Options{}); err != nil {
		r.t.Fatal(err)
	}
	r.host = drivetest.NewHost(quiet{r.t}, r.d, drive.ControllerOptions{CNTLID: 1})
	for k := range r.now() {
		r.keep(k)
	}
}

// quiet lets commands fail: random ones do.
type quiet struct{ *testing.T }

// close ends the service in order.
func (r *rig) close() {
	r.t.Helper()
	if err := errors.Join(r.live.Close(), r.im.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// now is everything as it would be after a power-down in order.
func (r *rig) now() map[key]state {
	all := map[key]state{}
	for _, n := range r.im.Namespaces() {
		count := n.ZoneCount
		if !n.Zoned() {
			count = uint64(n.Blocks)
		}
		for i := range count {
			all[key{n.ID, i}] = r.state(key{n.ID, i})
		}
	}
	return all
}

// state is a zone, or a block of the plain namespace, as it is.
func (r *rig) state(k key) (s state) {
	r.t.Helper()
	n := r.live.Namespace(k.id)
	if !n.Zoned() {
		return state{data: r.read(n, layout.LBA(k.i), layout.LBA(k.i)+1)}
	}
	z, err := n.Zone(k.i)
	if err != nil {
		r.t.Fatal(err)
	}
	if z.Attrs&layout.ZDEV != 0 {
		ext, err := n.Extension(k.i)
		if err != nil {
			r.t.Fatal(err)
		}
		s.ext = string(ext)
	}
	s.zone = zns.AtRest(n.Namespace, z)
	s.data = r.read(n, z.Start, s.zone.Written)
	return s
}

// reader is what both an image and a live store have.
type reader interface {
	ReadData(p []byte, lba layout.LBA) error
	ReadMeta(p []byte, lba layout.LBA) error
}

// read is the first byte of each block, and of its metadata; all bytes of a block are the same.
func (r *rig) read(n *live.Namespace, lba, end layout.LBA) string {
	return text(r.t, n.Namespace, n, lba, end)
}

func text(t *testing.T, n *layout.Namespace, from reader, lba, end layout.LBA) string {
	t.Helper()
	var b strings.Builder
	for ; lba < end; lba++ {
		p := make([]byte, n.BlockSize())
		if err := from.ReadData(p, lba); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(p, func(c byte) bool { return c != p[0] }) {
			t.Fatalf("namespace %d block %d is two halves", n.ID, lba)
		}
		b.WriteByte(p[0])
		if n.MS > 0 {
			m := make([]byte, n.MS)
			if err := from.ReadMeta(m, lba); err != nil {
				t.Fatal(err)
			}
			if m[0] != p[0] {
				t.Fatalf("namespace %d block %d: data %d with metadata %d", n.ID, lba, p[0], m[0])
			}
		}
	}
	return b.String()
}

// keep makes a zone or block durable as it is.
func (r *rig) keep(k key) {
	s := r.state(k)
	r.durable[k] = s
	if k.id == 2 {
		for i := range uint64(16) {
			r.seen[key{2, k.i*16 + i}] = "\x00"
		}
		for i := range len(s.data) {
			r.seen[key{2, k.i*16 + uint64(i)}] += s.data[i : i+1]
		}
	}
}

// ok runs a command and reports whether it succeeded.
func (r *rig) ok(cmd *drive.Command, blocks int) bool {
	r.fill++
	data := make([]byte, blocks*bs)
	for i := range data {
		data[i] = r.fill
	}
	r.host.Meta = make([]byte, blocks*8)
	for i := range r.host.Meta {
		r.host.Meta[i] = r.fill
	}
	cpl, _ := r.host.Do(1, cmd, data)
	return cpl.Status.OK()
}

// diff says how what an image holds differs from want, "" if it does not.
func diff(t *testing.T, fs disk.FS, path string, want map[key]state) string {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	for k, s := range want {
		if got := imageState(t, im, k); got != s {
			return fmt.Sprintf("namespace %d, %d: %v, want %v", k.id, k.i, got, s)
		}
	}
	return ""
}

func (s state) String() string {
	return fmt.Sprintf("%v wp %d written %d attrs %#x ext %.8q data %v", s.zone.State, int64(s.zone.WP), s.zone.Written, uint8(s.zone.Attrs), s.ext, []byte(s.data))
}

// imageState is a zone or block in an image.
func imageState(t *testing.T, im *image.Image, k key) (s state) {
	t.Helper()
	var n *image.Namespace
	for _, one := range im.Namespaces() {
		if one.ID == k.id {
			n = one
		}
	}
	from := imageReader{n}
	if !n.Zoned() {
		return state{data: text(t, n.Namespace, from, layout.LBA(k.i), layout.LBA(k.i)+1)}
	}
	var err error
	if s.zone, err = n.Zone(k.i); err != nil {
		t.Fatal(err)
	}
	if s.zone.Attrs&layout.ZDEV != 0 {
		ext, err := n.Extension(k.i)
		if err != nil {
			t.Fatal(err)
		}
		s.ext = string(ext)
	}
	s.data = text(t, n.Namespace, from, s.zone.Start, s.zone.Written)
	if beyond := text(t, n.Namespace, from, s.zone.Written, s.zone.Start+n.ZoneSize); strings.Trim(beyond, "\x00") != "" {
		t.Fatalf("namespace %d zone %d: data beyond what is written", k.id, k.i)
	}
	return s
}

type imageReader struct{ *image.Namespace }

func (r imageReader) ReadData(p []byte, lba layout.LBA) error {
	_, err := r.ReadAt(p, int64(r.ByteOff(lba)))
	return err
}

func (r imageReader) ReadMeta(p []byte, lba layout.LBA) error {
	_, err := r.File().ReadAt(p, int64(r.DataOff+r.MetadataOff())+int64(lba)*int64(r.MS))
	return err
}

// recorder begins a recording of im in a new folder.
func recorder(t *testing.T, im *image.Image) (dir string, r *crash.Recorder) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "rec")
	if err := crash.Prepare(t.Context(), dir, im); err != nil {
		t.Fatal(err)
	}
	r, err := crash.NewRecorder(dir, im.Namespaces())
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}
