package all_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"
	"zimg/image/transfer"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// tool runs a program that must succeed.
func tool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	imagetest.NeedsPrograms(t, "qemu-img and qemu-io")
	c := exec.Command(name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// graftZone is the zone size of grafted images, in bytes.
const graftZone = 1 << 20

// graft makes a zoned image of one that qemu-img made: an extension as v9 has it, first of all
// extensions, and at the end write pointers of zones that are all written.
func graft(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	for len(b)%(1<<be.Uint32(b[20:])) != 0 {
		b = append(b, 0)
	}
	at := uint32(72)
	if be.Uint32(b[4:]) == 3 {
		at = be.Uint32(b[100:])
		b[79] |= 0x20
	}
	zones := (be.Uint64(b[24:])-1)/graftZone + 1
	ext := []byte{0, 'z', 'b', 'd', 0, 0, 0, 56, 1, 0, 0, 0}
	ext = be.AppendUint64(be.AppendUint64(ext, graftZone), graftZone)
	ext = be.AppendUint32(be.AppendUint32(ext, 0), uint32(zones))
	ext = be.AppendUint64(be.AppendUint32(ext, 0), 4096) // no limits; appends of 4096 bytes
	ext = be.AppendUint64(be.AppendUint64(ext, 8*zones), uint64(len(b)))
	copy(b[at:], append(ext, make([]byte, 8)...))
	for i := range zones {
		b = binary.LittleEndian.AppendUint64(b, (i+1)*graftZone)
	}
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// guestData is all that the decoder finds in path.
func guestData(path string) ([]byte, *foreign.Decoded, error) {
	in := &foreign.Input{FS: disk.OS, Path: path, Format: formatOf("qcow2")}
	d, err := in.Format.Decode(in)
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	c := d.Contents[0]
	var all []byte
	err = c.Pieces(0, int64(c.NS.Size()), 300000, func(_ int64, b []byte) error {
		all = append(all, b...)
		return nil
	})
	if err == nil {
		err = d.Walk(func(foreign.Problem) error { return nil })
	}
	return all, d, errors.Join(err, in.Close())
}

// Whatever container qemu-img makes, its data is read as qemu-img reads it, or it is refused.
func TestQcow2Containers(t *testing.T) {
	secret := []string{"--object", "secret,id=s,data=abc", "-o", "encrypt.format=luks,encrypt.key-secret=s"}
	for name, c := range map[string]struct {
		create      []string
		io          []string // further commands of qemu-io
		img         []string // a command of qemu-img on it
		convert     []string // into another image, options
		unsupported bool
		lost        string
	}{
		"plain":            {},
		"512":              {create: []string{"-o", "cluster_size=512"}},
		"4k":               {create: []string{"-o", "cluster_size=4096"}},
		"2M":               {create: []string{"-o", "cluster_size=2M"}},
		"0.10":             {create: []string{"-o", "compat=0.10"}},
		"lazy":             {create: []string{"-o", "lazy_refcounts=on"}},
		"1 bit":            {create: []string{"-o", "refcount_bits=1"}},
		"4 bits":           {create: []string{"-o", "refcount_bits=4"}},
		"64 bits":          {create: []string{"-o", "refcount_bits=64"}},
		"metadata":         {create: []string{"-o", "preallocation=metadata"}},
		"full":             {create: []string{"-o", "preallocation=full"}},
		"zeroes":           {io: []string{"write -z 1M 1M", "write -z 100k 64k", "discard 2M 192k"}},
		"zeroes unmapped":  {io: []string{"write -z -u 1M 1M", "write -z -u 128k 64k"}},
		"compressed":       {convert: []string{"-c"}},
		"compressed 512":   {convert: []string{"-c", "-o", "cluster_size=512"}},
		"compressed 2M":    {convert: []string{"-c", "-o", "cluster_size=2M"}},
		"over compressed":  {convert: []string{"-c"}, io: []string{"write -P 9 1M 100k"}},
		"zstd":             {convert: []string{"-c", "-o", "compression_type=zstd"}, unsupported: true},
		"zstd, plain":      {create: []string{"-o", "compression_type=zstd"}},
		"snapshot":         {img: []string{"snapshot", "-c", "one", "q"}, lost: "1 internal snapshot"},
		"extended L2":      {create: []string{"-o", "extended_l2=on"}, unsupported: true},
		"encrypted":        {create: secret, unsupported: true},
		"data file":        {create: []string{"-o", "data_file=data.raw"}, unsupported: true},
		"raw data file":    {create: []string{"-o", "data_file=data.raw,data_file_raw=on"}, unsupported: true},
		"backing file":     {create: []string{"-b", "base", "-F", "raw"}, unsupported: true},
		"bitmap":           {img: []string{"bitmap", "--add", "q", "bits"}},
		"several L2":       {create: []string{"-o", "cluster_size=512,refcount_bits=8"}, io: []string{"write -P 7 4000k 96k"}},
		"grown":            {img: []string{"resize", "q", "+4M"}},
		"no data":          {io: []string{"discard 0 4M"}},
		"partial last one": {img: []string{"resize", "q", "+512k"}, lost: "zone 4, which is shorter"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "base"), make([]byte, 4<<20), 0o666); err != nil {
				t.Fatal(err)
			}
			tool(t, dir, "qemu-img", append(append([]string{"create", "-q", "-f", "qcow2"}, c.create...), "q", "4M")...)
			if c.create == nil || c.create[0] != "--object" { // written without its key, it would only be refused
				tool(t, dir, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", "-c", "write -P 2 1500k 700k", "-c", "write -P 3 3M 300k", "q")
			}
			if c.convert != nil {
				tool(t, dir, "qemu-img", append(append([]string{"convert", "-O", "qcow2"}, c.convert...), "q", "r")...)
				tool(t, dir, "mv", "r", "q")
			}
			for _, command := range c.io {
				tool(t, dir, "qemu-io", "-f", "qcow2", "-c", command, "q")
			}
			if c.img != nil {
				tool(t, dir, "qemu-img", c.img...)
			}
			graft(t, filepath.Join(dir, "q"), filepath.Join(dir, "zoned"))
			got, d, err := guestData(filepath.Join(dir, "zoned"))
			if c.unsupported {
				if !errors.Is(err, foreign.ErrUnsupported) {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if lost := strings.Join(d.Lost, "; "); (lost != "") != (c.lost != "") || !strings.Contains(lost, c.lost) {
				t.Errorf("lost %q", lost)
			}
			tool(t, dir, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "q", "raw")
			want, err := os.ReadFile(filepath.Join(dir, "raw"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want[:len(want)/graftZone*graftZone]) {
				t.Error("other data than qemu-img reads")
			}
			refs := 0
			for _, p := range d.Problems {
				if strings.Contains(p.Text, "no refcount") {
					refs++
				}
			}
			if refs != 1 { // that of the grafted write pointers; what QEMU counted is found below
				t.Errorf("problems %+v", d.Problems)
			}
		})
	}
}

// stockCopy makes a copy of the image at path that stock QEMU opens: without the feature bit.
func stockCopy(t *testing.T, path, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[79] &^= 0x20
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// A stock QEMU that gets hold of an export with the bit cleared may do with it what it likes: it finds one reference too many
// to the write pointers, and nothing wrong once it has removed that, and leaves them alone as long as it does not
// resize the disk.
func TestQcow2InStockQEMU(t *testing.T) {
	dir := t.TempDir()
	n := small(t, disk.OS, filepath.Join(dir, "a"))
	if err := transfer.Copy(filepath.Join(dir, "a"), filepath.Join(dir, "a.qcow2"), transfer.Options{To: formatOf("qcow2")}); err != nil {
		t.Fatal(err)
	}
	for name, commands := range map[string][][]string{
		"nothing":   nil,
		"write":     {{"qemu-io", "-c", "write -P 7 0 100k", "-c", "write -z 128k 64k", "q"}},
		"write all": {{"qemu-io", "-c", "write -P 7 0 3M", "q"}},
		"discard":   {{"qemu-io", "-c", "discard 0 3M", "q"}},
		"snapshot":  {{"qemu-img", "snapshot", "-c", "one", "q"}, {"qemu-io", "-c", "write -P 7 0 3M", "q"}},
		"snapshot back": {
			{"qemu-img", "snapshot", "-c", "one", "q"},
			{"qemu-io", "-c", "write -P 7 0 3M", "q"},
			{"qemu-img", "snapshot", "-a", "one", "q"},
			{"qemu-img", "snapshot", "-d", "one", "q"},
		},
		"bitmap":    {{"qemu-img", "bitmap", "--add", "q", "bits"}},
		"lazy":      {{"qemu-img", "amend", "-o", "lazy_refcounts=on", "q"}, {"qemu-io", "-c", "write -P 7 0 3M", "q"}},
		"0.10":      {{"qemu-img", "amend", "-o", "compat=0.10", "q"}},
		"1 bit":     {{"qemu-img", "check", "-r", "leaks", "q"}, {"qemu-img", "amend", "-o", "refcount_bits=1", "q"}},
		"2 bits":    {{"qemu-img", "amend", "-o", "refcount_bits=2", "q"}},
		"4 bits":    {{"qemu-img", "amend", "-o", "refcount_bits=4", "q"}},
		"8 bits":    {{"qemu-img", "amend", "-o", "refcount_bits=8", "q"}},
		"32 bits":   {{"qemu-img", "amend", "-o", "refcount_bits=32", "q"}},
		"64 bits":   {{"qemu-img", "amend", "-o", "refcount_bits=64", "q"}},
		"repair":    {{"qemu-img", "check", "-r", "all", "q"}},
		"new order": {{"qemu-img", "check", "-r", "all", "q"}, {"qemu-img", "amend", "-o", "refcount_bits=1", "q"}, {"qemu-io", "-c", "write -P 7 0 3M", "q"}},
	} {
		t.Run(name, func(t *testing.T) {
			sub := filepath.Join(dir, name)
			if err := os.Mkdir(sub, 0o777); err != nil {
				t.Fatal(err)
			}
			q := filepath.Join(sub, "q")
			stockCopy(t, filepath.Join(dir, "a.qcow2"), q)
			for _, c := range commands {
				tool(t, sub, c[0], c[1:]...)
			}
			c := exec.Command("qemu-img", "check", "--output=json", "q")
			c.Dir = sub
			if out, _ := c.CombinedOutput(); bytes.Contains(out, []byte("corruptions")) {
				t.Errorf("%s", out)
			}
			tool(t, sub, "qemu-img", "check", "-r", "leaks", "q")
			if out := tool(t, sub, "qemu-img", "check", "q"); !strings.Contains(out, "No errors") {
				t.Error(out)
			}
			in := &foreign.Input{FS: disk.OS, Path: q, Geometry: n, Format: formatOf("qcow2")}
			d, err := in.Format.Decode(in)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []layout.Zone{imagetest.Sequential(n, 0, layout.Full, 256), imagetest.Sequential(n, 1, layout.Closed, 256+2), n.EmptyZone(2)} {
				if z, err := d.Contents[0].Zones.Zone(uint64(i)); err != nil || z != want {
					t.Errorf("zone %d: %+v, %v", i, z, err)
				}
			}
			for _, p := range d.Problems {
				if !strings.Contains(p.Text, "feature bit 5 is not set") {
					t.Errorf("%+v", p)
				}
			}
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A QEMU that counts the clusters of the write pointers, as Li's does since v11, finds each cluster of an export
// referenced as often as its refcount says, and "copied" where that is 1.
func TestQcow2CountedByLi(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.qcow2")
	small(t, disk.OS, filepath.Join(dir, "a"))
	if err := transfer.Copy(filepath.Join(dir, "a"), path, transfer.Options{To: formatOf("qcow2")}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	const cluster = 64 << 10
	refs := make([]uint16, len(b)/cluster)
	count := func(off, n uint64) {
		for c := off / cluster; c <= (off+n-1)/cluster; c++ {
			refs[c]++
		}
	}
	const mask, copied = uint64(0x00FFFFFFFFFFFE00), uint64(1) << 63
	count(0, cluster)
	l1, l1Size := be.Uint64(b[40:]), uint64(be.Uint32(b[36:]))
	count(l1, 8*l1Size)
	type entry struct {
		at    uint64
		value uint64
	}
	var entries []entry
	for k := range l1Size {
		e := be.Uint64(b[l1+8*k:])
		if e == 0 {
			continue
		}
		table := e & mask
		entries = append(entries, entry{l1 + 8*k, e})
		count(table, cluster)
		for i := uint64(0); i < cluster; i += 8 {
			if e := be.Uint64(b[table+i:]); e != 0 {
				entries = append(entries, entry{table + i, e})
				count(e&mask, cluster)
			}
		}
	}
	refTable := be.Uint64(b[48:])
	count(refTable, uint64(be.Uint32(b[56:]))*cluster)
	var stored []uint16
	for at := refTable; be.Uint64(b[at:]) != 0; at += 8 {
		block := be.Uint64(b[at:])
		count(block, cluster)
		for i := uint64(0); i < cluster; i += 2 {
			stored = append(stored, be.Uint16(b[block+i:]))
		}
	}
	ext := b[104+8:]
	count(be.Uint64(ext[48:]), be.Uint64(ext[40:])) // the write pointers
	for c, n := range refs {
		if stored[c] != n {
			t.Errorf("cluster %d: refcount %d, referenced %d times", c, stored[c], n)
		}
	}
	for _, e := range entries {
		if n := refs[e.value&mask/cluster]; (n == 1) != (e.value&copied != 0) {
			t.Errorf("entry at byte %d: %#x, referenced %d times", e.at, e.value, n)
		}
	}
}

// What QEMU would refuse to read for its size is not written.
func TestQcow2TooLarge(t *testing.T) {
	for size, ok := range map[layout.LBA]bool{1 << (50 - 9): true, 2 << (50 - 9): false} { // zones of 512 TiB, of 1 PiB
		n := &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, ZoneSize: size / 2, ZoneCap: size / 2, ZoneCount: 2, Blocks: size, MAR: layout.NoLimit, MOR: layout.NoLimit}
		c := &foreign.Content{NS: n, Zones: &layout.ZoneSlice{Table: []layout.Zone{n.EmptyZone(0), n.EmptyZone(1)}}}
		if _, err := formatOf("qcow2").Holds.Fit(c, false); (err == nil) != ok || err != nil && !errors.Is(err, layout.ErrGeometry) {
			t.Errorf("%d blocks: %v", size, err)
		}
	}
}
