package live_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

const path = "/d/disk.zimg"

var (
	boot  = [16]byte{1}
	boot2 = [16]byte{2}
)

// spec is an image with a zoned namespace, one with a random write area and metadata, and a plain one.
func spec(kind layout.Kind) imagetest.Spec {
	return imagetest.Spec{Layout: kind, UUID: [16]byte{9}, Namespaces: []imagetest.SpecNamespace{
		{
			Namespace: layout.Namespace{
				ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 8 * 16, ZoneCount: 8, ZoneSize: 16, ZoneCap: 12,
				MAR: 4, MOR: 2, ZDES: 1,
			},
			Zones: map[uint64]imagetest.SpecZone{
				1: {State: layout.Closed, Written: 5, Fill: 'a', Attrs: layout.ZDEV, Ext: "old"},
				2: {State: layout.Full, Written: 12, Fill: 'b'},
				3: {State: layout.ReadOnly, Written: 3, Fill: 'c'},
				4: {State: layout.Full, Written: 4, Fill: 'd'},
			},
		},
		{Namespace: layout.Namespace{
			ID: 2, CSI: layout.ZNS, BlockBits: 9, MS: 8, Blocks: 4 * 16, ZoneCount: 4, ZoneSize: 16, ZoneCap: 16,
			MAR: layout.NoLimit, MOR: layout.NoLimit, ZRWAS: 4, ZRWAFG: 2, NumZRWA: 2,
		}},
		{Namespace: layout.Namespace{ID: 3, CSI: layout.NVM, BlockBits: 9, Blocks: 16}},
	}}
}

// namespace is a namespace of a rig: the real one and its shadow.
type namespace struct {
	real *live.Namespace
	m    *zns.Machine // on real
	sh   *shadow
	sm   *zns.Machine
	// allowed are the states that each zone may have after a power failure: from the last flush on.
	allowed [][]zoneState
}

// rig runs random commands on a Store and on shadows.
type rig struct {
	im    *image.Image
	st    *live.Store
	ns    []*namespace
	plain [2][]byte // of the plain namespace: blocks as of the last flush, and now
	since []map[byte]bool
	rng   *rand.Rand
	epoch byte
	// inPart: a write that failed may have been done in part, to a byte.
	inPart bool
}

func openStore(fs disk.FS, o live.Options) (*image.Image, *live.Store, error) {
	im, err := image.OpenUnclean(path, image.Options{FS: fs, Write: true})
	if err != nil {
		return nil, nil, err
	}
	st, err := live.Open(im, o)
	if err != nil {
		return nil, nil, errors.Join(err, im.Close())
	}
	return im, st, nil
}

func newRig(fs disk.FS, seed uint64) (*rig, error) {
	im, st, err := openStore(fs, live.Options{BootID: boot})
	if err != nil {
		return nil, err
	}
	r := &rig{im: im, st: st, rng: rand.New(rand.NewPCG(seed, 1))}
	if err := r.begin(); err != nil {
		st.Abandon()
		return nil, errors.Join(err, im.Close())
	}
	return r, nil
}

// begin takes the zones into the shadows.
func (r *rig) begin() error {
	im, st := r.im, r.st
	for _, n := range im.Namespaces() {
		served := st.Namespace(n.ID)
		if !n.Zoned() {
			r.plain = [2][]byte{make([]byte, n.Blocks), make([]byte, n.Blocks)}
			for range n.Blocks {
				r.since = append(r.since, map[byte]bool{0: true})
			}
			continue
		}
		sh := &shadow{n: n.Namespace}
		k := &namespace{real: served, m: zns.New(n.Namespace, served, served.Counts()), sh: sh}
		for i := range n.ZoneCount {
			s, err := stateOf(served, i)
			if err != nil {
				return err
			}
			sh.zones = append(sh.zones, s)
			k.allowed = append(k.allowed, []zoneState{s})
		}
		k.sm = zns.New(n.Namespace, sh, served.Counts())
		r.ns = append(r.ns, k)
	}
	return nil
}

// stateOf reads zone i, and that there is nothing beyond what is written.
func stateOf(n *live.Namespace, i uint64) (s zoneState, err error) {
	if s.zone, err = n.Zone(i); err != nil {
		return s, err
	}
	if s.zone.Attrs&layout.ZDEV != 0 {
		ext, err := n.Extension(i)
		if err != nil {
			return s, err
		}
		s.ext = string(ext)
	}
	var all []byte
	for b := range n.ZoneSize {
		p := make([]byte, 1<<n.BlockBits)
		if err := n.ReadData(p, s.zone.Start+b); err != nil {
			return s, err
		}
		all = append(all, p...)
		if n.MS > 0 {
			p = make([]byte, n.MS)
			if err := n.ReadMeta(p, s.zone.Start+b); err != nil {
				return s, err
			}
			all = append(all, p...)
		}
	}
	size := int(s.zone.Written-s.zone.Start) * blockBytes(n.Namespace)
	s.data = string(all[:size])
	if k := slices.IndexFunc(all[size:], func(c byte) bool { return c != 0 }); k >= 0 {
		return s, fmt.Errorf("namespace %d zone %d: data beyond what is written", n.ID, i)
	}
	return s, nil
}

// step runs one random command; what it does to the shadow happens first, so that after a cut its effect is
// among those allowed.
func (r *rig) step() error {
	switch r.rng.IntN(12) {
	case 0, 1:
		return r.flush()
	case 2:
		return r.writePlain()
	}
	k := r.ns[r.rng.IntN(len(r.ns))]
	i := uint64(r.rng.IntN(len(k.sh.zones)))
	if r.rng.IntN(3) == 0 { // stay with a few zones
		i %= 2
	}
	k.real.Lock(i)
	defer k.real.Unlock(i)
	switch r.rng.IntN(10) {
	case 0:
		return r.manage(k, func(m *zns.Machine) error { return m.Reset(i) })
	case 1:
		return r.manage(k, func(m *zns.Machine) error { return m.Finish(i) })
	case 2:
		return r.manage(k, func(m *zns.Machine) error { return m.Open(i) })
	case 3:
		return r.manage(k, func(m *zns.Machine) error { return m.Close(i) })
	case 4:
		ext := []byte(fmt.Sprintf("extension %d", r.rng.IntN(100)))
		return r.manage(k, func(m *zns.Machine) error { return m.SetExtension(i, append(ext, make([]byte, 64-len(ext))...)) })
	case 5:
		return r.manage(k, func(m *zns.Machine) error { return m.OpenZRWA(i) })
	case 6:
		lba := k.sh.zones[i].zone.Start + layout.LBA(r.rng.IntN(8))
		return r.manage(k, func(m *zns.Machine) error { return m.SetWP(i, lba) })
	default:
		return r.write(k, i)
	}
}

// manage runs a command without data on both; what it does to the shadow is allowed from now on.
func (r *rig) manage(k *namespace, command func(m *zns.Machine) error) error {
	want := command(k.sm)
	k.note()
	got := command(k.m)
	if refused(got) != refused(want) {
		return fmt.Errorf("the store says %w, the shadow %w", got, want)
	}
	if refused(got) {
		return nil
	}
	return got
}

func refused(err error) bool {
	var s *zns.StatusError
	return errors.As(err, &s)
}

// note adds what zones are now to what they may be after a power failure.
func (k *namespace) note() {
	for i, s := range k.sh.zones {
		if a := k.allowed[i]; a[len(a)-1] != s {
			k.allowed[i] = append(a, s)
		}
	}
}

func (r *rig) write(k *namespace, i uint64) error {
	n := layout.LBA(1 + r.rng.IntN(5))
	z := k.sh.zones[i].zone
	lba := z.WP
	if z.Attrs&layout.ZRWAV != 0 {
		lba += layout.LBA(r.rng.IntN(4))
	}
	if z.WP == layout.NoWP {
		lba = z.Start
	}
	want, err := k.sm.PlanWrite(lba, n)
	if err == nil {
		r.epoch++
		if r.epoch == 0 {
			r.epoch = 1
		}
	}
	got, gerr := k.m.PlanWrite(lba, n)
	if refused(err) != refused(gerr) || err == nil && got != want {
		return fmt.Errorf("the store plans %+v, %w; the shadow %+v, %w", got, gerr, want, err)
	}
	if err != nil {
		return nil
	}
	data, meta, both := r.pattern(k, n)
	if err := k.sm.Make(want); err != nil {
		return err
	}
	k.sh.put(i, lba, both)
	k.note()
	if err := k.real.WriteData(data, lba); err != nil {
		return err
	}
	if len(meta) > 0 {
		if err := k.real.WriteMeta(meta, lba); err != nil {
			return err
		}
	}
	if err := k.m.Make(got); err != nil {
		return err
	}
	if r.rng.IntN(8) == 0 { // FUA
		return r.flush()
	}
	return nil
}

func (r *rig) pattern(k *namespace, n layout.LBA) (data, meta, both []byte) {
	for range n {
		b := make([]byte, blockBytes(k.sh.n))
		for j := range b {
			b[j] = r.epoch
		}
		size := 1 << k.sh.n.BlockBits
		data, meta, both = append(data, b[:size]...), append(meta, b[size:]...), append(both, b...)
	}
	return data, meta, both
}

func (r *rig) writePlain() error {
	lba := r.rng.IntN(len(r.since))
	r.epoch++
	r.since[lba][r.epoch] = true
	r.plain[1][lba] = r.epoch
	b := make([]byte, 512)
	for i := range b {
		b[i] = r.epoch
	}
	return r.st.Namespace(3).WriteData(b, layout.LBA(lba))
}

func (r *rig) flush() error {
	if err := r.st.Flush(); err != nil {
		return err
	}
	for _, k := range r.ns {
		for i, s := range k.sh.zones {
			k.allowed[i] = []zoneState{s}
		}
	}
	for i, b := range r.plain[1] {
		r.since[i] = map[byte]bool{b: true}
	}
	return nil
}

// same compares the store with the shadow.
func (r *rig) same(st *live.Store) error {
	for _, k := range r.ns {
		for i, want := range k.sh.zones {
			got, err := stateOf(st.Namespace(k.sh.n.ID), uint64(i))
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("namespace %d zone %d: %s, want %s", k.sh.n.ID, i, got, want)
			}
		}
	}
	return nil
}

func (s zoneState) String() string {
	var kinds []byte
	for i := 0; i < len(s.data); i += 512 {
		kinds = append(kinds, s.data[i])
	}
	return fmt.Sprintf("%+v ext %.12q data % x", s.zone, s.ext, kinds)
}

func create(t *testing.T, kind layout.Kind) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	s := spec(kind)
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs
}
