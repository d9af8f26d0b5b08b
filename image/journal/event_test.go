package journal_test

import (
	"testing"

	"zimg/image/journal"
)

// The lines are those of QEMU 7.2 to 11.1, some with the process number and time that "-msg timestamp=on" puts before them.
func TestParseEvent(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]journal.Event{
		"pci_nvme_io_cmd cid 589 nsid 0x1 sqid 2 opc 0x7d opname 'NVME_ZONED_CMD_ZONE_APPEND'": {
			Kind: journal.Command, CID: 589, NSID: 1, Queue: 2, Opcode: 0x7d,
		},
		"pci_nvme_enqueue_req_completion cid 589 cqid 1 dw0 0x0 dw1 0x0 status 0x41b8": {
			Kind: journal.Completion, CID: 589, Queue: 1, Status: 0x41b8,
		},
		"1234@1700000000.000001:blk_co_pwritev blk 0x55e9c16205b0 bs 0x55e9c0a491e0 offset 4096 bytes 8192 flags 0x6": {
			Kind: journal.Request, Backend: "0x55e9c16205b0", Offset: 4096, Bytes: 8192, Flags: 6,
		},
		"pci_nvme_zns_zone_reset zslba 0x4000":                                {Kind: journal.ResetOf, SLBA: 0x4000},
		"pci_nvme_finish_zone finish zone, slba=16384, idx=1, all=0":          {Kind: journal.Finish, Zone: 1},
		"7@1.5:pci_nvme_finish_zone finish zone, slba=0, idx=0, all=1":        {Kind: journal.Finish, All: true},
		"pci_nvme_flush_ns nsid 0x3":                                          {Kind: journal.FlushOf, NSID: 3},
		"pci_nvme_mmio_start_success setting controller enable bit succeeded": {Kind: journal.Started},
		"pci_nvme_set_descriptor_extension set zone descriptor extension, slba=80, idx=5": {
			Kind: journal.SetExtension, Zone: 5,
		},
		// Of another event, cut short, or not numbers.
		"pci_nvme_reset_zone reset zone, slba=0, idx=0, all=0": {},
		"": {},
		"blk_co_pwritev blk 0x51 bs 0x71 offset 4096 byt":                      {},
		"pci_nvme_finish_zone finish zone, slba=16384, id":                     {},
		"pci_nvme_io_cmd cid x nsid 0x1 sqid 2 opc 0x7d opname 'X'":            {},
		"pci_nvme_zns_zone_reset zslba 0x10000000000000000":                    {},
		"pci_nvme_enqueue_req_completion cid 589 cqid 1 dw0 0x0 dw1 0x0 statu": {},
	} {
		got, ok := journal.ParseEvent(line)
		if ok != (want.Kind != "") || ok && got != want {
			t.Errorf("%q: %+v, %t; want %+v", line, got, ok, want)
		}
	}
}
