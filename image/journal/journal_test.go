package journal_test

import (
	"testing"

	"zimg/image/imagetest"
	"zimg/image/journal"
	"zimg/layout"
)

const path = "/d/disk.zimg"

var session = [16]byte{1, 2, 3}

var namespaces = []*layout.Namespace{
	{ID: 1, CSI: layout.ZNS, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 16},
	{ID: 2, CSI: layout.ZNS, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 16},
}

// load reads a journal with the given trace.
func load(t *testing.T, trace string, ns []*layout.Namespace) *journal.Journal {
	t.Helper()
	fs := imagetest.NewMemFS()
	if err := journal.Write(fs, path, session, map[layout.NSID]map[uint64]layout.LBA{1: {4: 66}}); err != nil {
		t.Fatal(err)
	}
	fs.WriteFile(path+journal.TraceSuffix, []byte(trace))
	j, err := journal.Load(fs, path, session, ns)
	if err != nil || j == nil {
		t.Fatalf("%v, %v", j, err)
	}
	return j
}

// The lines of QEMU 7.2, with and without what -msg timestamp puts before them.
func TestTrace(t *testing.T) {
	j := load(t, `pci_nvme_finish_zone finish zone, slba=16, idx=1, all=0
1234@1700000000.000001:pci_nvme_reset_zone reset zone, slba=32, idx=2, all=0
pci_nvme_finish_zone finish zone, slba=48, idx=3, all=0
pci_nvme_reset_zone reset zone, slba=48, idx=3, all=0
pci_nvme_zd_extension_set set zone descriptor extension, slba=80, idx=5
pci_nvme_write_zeroes cid 1 nsid 1 slba 96 nlb 4
pci_nvme_reset_zone reset zone, slba=999999, idx=62499, all=0
something else entirely
pci_nvme_finish_zone finish zone, slb`, namespaces[:1])
	for i, want := range map[uint64]journal.Zone{
		0: {}, 1: {Finished: true}, 2: {Reset: true}, 3: {Reset: true}, 5: {ExtensionSet: true}, 6: {Written: true, Zeroes: 100},
	} {
		if got := j.Zone(1, i); got != want {
			t.Errorf("zone %d: %+v, want %+v", i, got, want)
		}
	}
	if end, ok := j.DataEnd(1, 4); !ok || end != 66 {
		t.Errorf("data of zone 4 ends at %d, %v", end, ok)
	}
}

// With several namespaces the I/O command before a line says which is meant.
func TestTraceOfSeveral(t *testing.T) {
	j := load(t, `pci_nvme_finish_zone finish zone, slba=16, idx=1, all=0
pci_nvme_io_cmd cid 7 nsid 0x2 sqid 1 opc 0x79 opname 'NVME_ZONED_CMD_MGMT_SEND'
pci_nvme_finish_zone finish zone, slba=32, idx=2, all=0
pci_nvme_io_cmd cid 8 nsid 0x1 sqid 1 opc 0x79 opname 'NVME_ZONED_CMD_MGMT_SEND'
pci_nvme_reset_zone reset zone, slba=0, idx=0, all=1
pci_nvme_io_cmd cid 9 nsid 0x9 sqid 1 opc 0x79
pci_nvme_finish_zone finish zone, slba=48, idx=3, all=0
`, namespaces)
	if j.Zone(1, 1).Finished || j.Zone(2, 1).Finished {
		t.Error("a line without a namespace counts")
	}
	if !j.Zone(2, 2).Finished || j.Zone(1, 2).Finished {
		t.Error("zone 2 was finished in namespace 2")
	}
	for i := range uint64(10) {
		if !j.Zone(1, i).Reset || j.Zone(2, i).Reset || j.Zone(1, i).Finished {
			t.Errorf("zone %d: %+v, %+v", i, j.Zone(1, i), j.Zone(2, i))
		}
	}
}

// No journal, another run's, and one without a trace.
func TestLoad(t *testing.T) {
	fs := imagetest.NewMemFS()
	if j, err := journal.Load(fs, path, session, namespaces); j != nil || err != nil {
		t.Errorf("nothing: %v, %v", j, err)
	}
	if err := journal.Write(fs, path, session, nil); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Load(fs, path, [16]byte{9}, namespaces); j != nil || err != nil {
		t.Errorf("another run's: %v, %v", j, err)
	}
	if j, err := journal.Load(fs, path, session, namespaces); j == nil || err != nil || !j.Torn {
		t.Errorf("without a trace: %v, %v", j, err)
	}
	fs.WriteFile(path+journal.StartSuffix, []byte(`{"version":1,"sess`))
	if j, err := journal.Load(fs, path, session, namespaces); j != nil || err != nil {
		t.Errorf("torn: %v, %v", j, err)
	}
	if err := journal.Remove(fs, path); err != nil || len(fs.Names()) != 0 {
		t.Errorf("%v, left: %v", err, fs.Names())
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte("pci_nvme_finish_zone finish zone, slba=16, idx=1, all=0\n"))
	f.Add([]byte("pci_nvme_write_zeroes cid 1 nsid 1 slba 18446744073709551615 nlb 4\n"))
	f.Fuzz(func(t *testing.T, trace []byte) { load(t, string(trace), namespaces) })
}
