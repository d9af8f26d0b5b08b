package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/journal"
	"zimg/layout"
)

const path = "/d/disk.zimg"

var (
	session = [16]byte{1, 2, 3}
	boot    = [16]byte{4}
	first   = &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 16}
	second  = &layout.Namespace{ID: 2, CSI: layout.ZNS, BlockBits: 12, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 16}
	both    = []*layout.Namespace{first, second}
)

func drives() []*journal.Drive {
	return []*journal.Drive{{Namespace: first, Backend: "0xa"}, {Namespace: second, Backend: "0xb"}}
}

// load reads a journal with the given trace.
func load(t *testing.T, trace string) *journal.Journal {
	t.Helper()
	fs := imagetest.NewMemFS()
	st := &journal.Start{Session: session, Boot: boot, Ends: map[layout.NSID]map[uint64]layout.LBA{1: {4: 66}}}
	if err := journal.Write(fs, path, st, drives(), 0, true); err != nil {
		t.Fatal(err)
	}
	fs.WriteFile(path+journal.TraceSuffix, []byte(trace))
	j, err := journal.Load(fs, path, session, boot, both)
	if err != nil || j == nil {
		t.Fatalf("%v, %v", j, err)
	}
	return j
}

// zone is zone i of namespace ns without places in the trace.
func zone(j *journal.Journal, ns layout.NSID, i uint64, active bool) journal.Zone {
	z := j.Zone(ns, i, active)
	z.ResetAt, z.Since = 0, 0
	return z
}

// cmd, write, reset and done are lines as QEMU 7.2 writes them.
func cmd(cid, ns, queue, opcode int) string {
	return fmt.Sprintf("pci_nvme_io_cmd cid %d nsid %#x sqid %d opc %#x opname 'X'\n", cid, ns, queue, opcode)
}

func request(back string, slba, blocks, flags int) string {
	return fmt.Sprintf("blk_co_pwritev blk %s bs 0x55e9 offset %d bytes %d flags %#x\n", back, slba*4096, blocks*4096, flags)
}

func write(cid int, back string, slba, blocks int) string {
	return cmd(cid, 1, 1, 1) + request(back, slba, blocks, 0)
}

func reset(cid int, back string, slba int) string {
	return cmd(cid, 1, 1, 0x79) + fmt.Sprintf("pci_nvme_zns_zone_reset zslba %#x\n", slba) + request(back, slba, 16, 6)
}

func done(cid, queue, status int) string {
	return fmt.Sprintf("pci_nvme_enqueue_req_completion cid %d cqid %d dw0 0x0 dw1 0x0 status %#x\n", cid, queue, status)
}

func finish(cid, ns, idx, all int) string {
	return cmd(cid, ns, 1, 0x79) + fmt.Sprintf("1234@1700000000.000001:pci_nvme_finish_zone finish zone, slba=%d, idx=%d, all=%d\n", idx*16, idx, all)
}

func TestTrace(t *testing.T) {
	for name, c := range map[string]struct {
		trace string
		zone  uint64
		want  journal.Zone
	}{
		"nothing":                     {"something else entirely\n", 0, journal.Zone{}},
		"written":                     {write(5, "0xa", 16, 4) + done(5, 1, 0), 1, journal.Zone{Written: 20, Sent: 20}},
		"under way":                   {write(5, "0xa", 16, 4), 1, journal.Zone{Sent: 20}},
		"failed":                      {write(5, "0xa", 16, 4) + done(5, 1, 0x281), 1, journal.Zone{Sent: 20}},
		"another backend":             {write(5, "0xc", 16, 4) + done(5, 1, 0), 1, journal.Zone{}},
		"metadata of blocks":          {write(5, "0xa", 160, 1) + done(5, 1, 0), 0, journal.Zone{}},
		"completed on another queue":  {write(5, "0xa", 16, 4) + done(5, 2, 0), 1, journal.Zone{Sent: 20}},
		"two of one identifier":       {write(5, "0xa", 16, 4) + cmd(5, 1, 1, 2) + done(5, 1, 0), 1, journal.Zone{Sent: 20}},
		"two, completed":              {write(5, "0xa", 16, 4) + cmd(5, 1, 1, 2) + done(5, 1, 0) + done(5, 1, 0), 1, journal.Zone{Written: 20, Sent: 20}},
		"reset":                       {write(5, "0xa", 16, 4) + done(5, 1, 0) + reset(6, "0xa", 16) + done(6, 1, 0), 1, journal.Zone{Reset: true}},
		"written after a reset":       {write(5, "0xa", 16, 4) + done(5, 1, 0) + reset(6, "0xa", 16) + done(6, 1, 0) + write(7, "0xa", 16, 1) + done(7, 1, 0), 1, journal.Zone{Reset: true, Written: 17, Sent: 17}},
		"completed after a reset":     {write(5, "0xa", 16, 4) + reset(6, "0xa", 16) + done(6, 1, 0) + done(5, 1, 0), 1, journal.Zone{Reset: true}},
		"zeroes over a zone":          {cmd(5, 1, 1, 8) + request("0xa", 16, 16, 6) + done(5, 1, 0), 1, journal.Zone{Written: 32, Sent: 32}},
		"finished":                    {finish(5, 1, 1, 0) + done(5, 1, 0), 1, journal.Zone{Finished: true}},
		"finish refused":              {finish(5, 1, 1, 0) + done(5, 1, 0x1ba), 1, journal.Zone{}},
		"finish cut short":            {cmd(5, 1, 1, 0x79) + "pci_nvme_finish_zone finish zone, slb", 1, journal.Zone{}},
		"finished in another":         {finish(5, 2, 1, 0) + done(5, 1, 0), 1, journal.Zone{}},
		"all finished, not active":    {finish(5, 1, 0, 1) + done(5, 1, 0), 1, journal.Zone{}},
		"all finished, written":       {write(5, "0xa", 16, 4) + done(5, 1, 0) + finish(6, 1, 0, 1), 1, journal.Zone{Finished: true, Written: 20, Sent: 20}},
		"all finished, written after": {finish(6, 1, 0, 1) + write(5, "0xa", 16, 4) + done(5, 1, 0), 1, journal.Zone{Written: 20, Sent: 20}},
		"all finished, then reset":    {write(5, "0xa", 16, 4) + done(5, 1, 0) + finish(6, 1, 0, 1) + reset(7, "0xa", 16), 1, journal.Zone{Reset: true}},
		"extension":                   {cmd(1, 1, 1, 0x79) + "pci_nvme_set_descriptor_extension set zone descriptor extension, slba=80, idx=5\n", 5, journal.Zone{ExtensionSet: true}},
		"no such zone":                {finish(5, 1, 62499, 0) + done(5, 1, 0), 1, journal.Zone{}},
	} {
		if got := zone(load(t, c.trace), 1, c.zone, false); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	j := load(t, finish(6, 1, 0, 1))
	if !j.Zone(1, 7, true).Finished {
		t.Error("a zone that was active from the start was not finished with all")
	}
	if end, ok := j.DataEnd(1, 4); !ok || end != 66 {
		t.Errorf("data of zone 4 ends at %d, %v", end, ok)
	}
}

// Two images with a namespace of one id: a finish does not say which one it is for.
func TestSharedID(t *testing.T) {
	other := *first
	for name, c := range map[string]struct {
		trace      string
		a, b, both bool
	}{
		"one active":  {write(5, "0xa", 16, 4) + done(5, 1, 0) + finish(6, 1, 1, 0), true, false, false},
		"both active": {write(5, "0xa", 16, 4) + done(5, 1, 0) + write(5, "0xb", 16, 4) + done(5, 1, 0) + finish(6, 1, 1, 0), false, false, true},
	} {
		empty := func(uint64) bool { return false }
		pair := []*journal.Drive{
			{Namespace: first, Backend: "0xa", Sharers: 1, Active: empty}, {Namespace: &other, Backend: "0xb", Sharers: 1, Active: empty},
		}
		f := journal.NewFold(pair)
		for line := range strings.Lines(c.trace) {
			f.Line(strings.TrimSuffix(line, "\n"), 0)
		}
		fs := imagetest.NewMemFS()
		var got []journal.Zone
		for i, d := range pair {
			image := fmt.Sprintf("/d/%d", i)
			if err := journal.Write(fs, image, &journal.Start{Session: session}, []*journal.Drive{d}, 0, true); err != nil {
				t.Fatal(err)
			}
			fs.WriteFile(image+journal.TraceSuffix, nil)
			j, err := journal.Load(fs, image, session, [16]byte{}, []*layout.Namespace{d.Namespace})
			if err != nil || j == nil {
				t.Fatal(j, err)
			}
			got = append(got, j.Zone(1, 1, false))
		}
		if got[0].Finished != c.a || got[1].Finished != c.b || got[0].Unclear != c.both || got[1].Unclear != c.both {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// No journal, another run's, one of another boot, and one without a trace.
func TestLoad(t *testing.T) {
	fs := imagetest.NewMemFS()
	if j, err := journal.Load(fs, path, session, boot, both); j != nil || err != nil {
		t.Errorf("nothing: %v, %v", j, err)
	}
	if err := journal.Write(fs, path, &journal.Start{Session: session, Boot: boot}, drives(), 0, true); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Load(fs, path, [16]byte{9}, boot, both); j != nil || err != nil {
		t.Errorf("another run's: %v, %v", j, err)
	}
	if j, err := journal.Load(fs, path, session, boot, both); j == nil || err != nil || !j.Torn {
		t.Errorf("without a trace: %v, %v", j, err)
	}
	fs.WriteFile(path+journal.TraceSuffix, []byte(write(5, "0xa", 16, 4)+done(5, 1, 0)+finish(6, 1, 2, 0)))
	j, err := journal.Load(fs, path, session, [16]byte{5}, both)
	if err != nil || j == nil || !j.Torn || j.Zone(1, 1, false).Written != 0 || !j.Zone(1, 2, false).Finished {
		t.Errorf("of another boot: %+v, %v", j, err)
	}
	fs.WriteFile(path+journal.StartSuffix, []byte(`{"version":2,"sess`))
	if j, err := journal.Load(fs, path, session, boot, both); j != nil || err != nil {
		t.Errorf("torn: %v, %v", j, err)
	}
	if err := journal.Remove(fs, path); err != nil || len(fs.Names()) != 0 {
		t.Errorf("%v, left: %v", err, fs.Names())
	}
}

// A trace that is longer than any journal makes it torn, and is no error: the image can still be repaired.
func TestTooLong(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.zimg")
	if err := journal.Write(disk.OS, name, &journal.Start{Session: session, Boot: boot}, drives(), 0, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+journal.TraceSuffix, []byte(finish(6, 1, 2, 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name+journal.TraceSuffix, 2<<30); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Load(disk.OS, name, session, boot, both)
	if err != nil || j == nil || !j.Torn {
		t.Errorf("%+v, %v", j, err)
	}
}

// A trace of many lines takes little space while it is followed, and the journal with what is left of it says the same as
// all of it.
func TestFollow(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "disk.zimg")
	trace, err := disk.OS.Open(name+journal.TraceSuffix, disk.CreateNew, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = trace.Close() }()
	st := &journal.Start{Session: session, Boot: boot}
	list := drives()
	saves := 0
	var forwarded strings.Builder
	f := journal.NewFollower(trace, 0, journal.NewFold(list))
	f.Forward, f.Wants = &forwarded, func(event string) bool { return event == "guest" }
	f.Save = func(mark int64) error {
		saves++
		return journal.Write(disk.OS, name, st, list, mark, false)
	}
	stop, ended := make(chan struct{}), make(chan error)
	go func() { ended <- f.Run(stop) }()
	at := int64(0)
	say := func(s string) {
		n, err := trace.WriteAt([]byte(s), at)
		if err != nil {
			t.Fatal(err)
		}
		at += int64(n)
	}
	round := reset(1, "0xa", 16) + done(1, 1, 0) + write(2, "0xa", 16, 3) + done(2, 1, 0) + finish(3, 1, 1, 0) + done(3, 1, 0)
	chunk := strings.Repeat(round, 2000)
	for range 40 {
		say(chunk)
	}
	say("guest line\n" + reset(1, "0xa", 16) + done(1, 1, 0) + write(2, "0xa", 16, 5) + done(2, 1, 0) + write(9, "0xb", 32, 5))
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	say(done(9, 1, 0) + "half a li") // that zimg did not live to see
	used, err := trace.AllocatedBytes()
	if err != nil || used > 20<<20 || saves < 2 {
		t.Errorf("%d bytes of %d are allocated, %d saves, %v", used, at, saves, err)
	}
	j, err := journal.Load(disk.OS, name, session, boot, both)
	if err != nil || j == nil || j.Torn {
		t.Fatalf("%+v, %v", j, err)
	}
	if got, want := zone(j, 1, 1, false), (journal.Zone{Reset: true, Written: 21, Sent: 21}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := zone(j, 2, 2, false), (journal.Zone{Written: 37, Sent: 37}); got != want {
		t.Errorf("under way at the end: %+v, want %+v", got, want)
	}
	if forwarded.String() != "guest line\n" {
		t.Errorf("passed on: %q", forwarded.String())
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(finish(1, 1, 1, 0) + reset(2, "0xa", 16) + write(3, "0xa", 16, 1) + done(3, 1, 0)))
	f.Add([]byte("blk_co_pwritev blk 0xa bs 0x1 offset 18446744073709551615 bytes 4 flags 0x6\n"))
	f.Fuzz(func(t *testing.T, trace []byte) { load(t, string(trace)) })
}

// Any text as the start of a run, beside any trace: it is torn or means nothing, or it speaks of zones that there are.
func FuzzStart(f *testing.F) {
	fs := imagetest.NewMemFS()
	if err := journal.Write(fs, path, &journal.Start{Session: session, Boot: boot}, drives(), 7, true); err != nil {
		f.Fatal(err)
	}
	start, err := fs.ReadFile(path + journal.StartSuffix)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(start, []byte(finish(1, 1, 1, 0)+reset(2, "0xa", 16)))
	f.Fuzz(func(t *testing.T, start, trace []byte) {
		fs := imagetest.NewMemFS()
		fs.WriteFile(path+journal.StartSuffix, start)
		fs.WriteFile(path+journal.TraceSuffix, trace)
		j, err := journal.Load(fs, path, session, boot, both)
		if err != nil {
			t.Fatal(err)
		}
		if j == nil {
			return
		}
		for _, n := range both {
			for i := range n.ZoneCount {
				z := j.Zone(n.ID, i, true)
				if end := layout.LBA(i+1) * n.ZoneSize; z.Written > end {
					t.Errorf("namespace %d zone %d is written to %d, and ends at %d", n.ID, i, z.Written, end)
				}
			}
		}
	})
}
