package all_test

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"

	"zimg/image/foreign/fakezbc"
	"zimg/image/foreign/filezbc"
	"zimg/image/foreign/gzoned"
	"zimg/image/foreign/pstate"
	"zimg/image/foreign/zbddump"
	"zimg/image/foreign/zonedraw"
	"zimg/image/foreign/zonefile"
	"zimg/layout"
)

// structs are sizes and offsets as our code has them.
var structs = map[string]int{
	"zf_header": zonefile.HeaderLen, "zf_zone": zonefile.RecordLen, "zf_list": 16,
	"zf_header.version": zonefile.OffVersion, "zf_header.zone_size": zonefile.OffZoneSize, "zf_header.zone_capacity": zonefile.OffZoneCap,
	"zf_header.nr_offline_zones": zonefile.OffOffline, "zf_header.nr_rdonly_zones": zonefile.OffReadOnly, "zf_header.lba_size": zonefile.OffBlockSize,
	"zf_header.exp_open": zonefile.OffExpOpen, "zf_header.imp_open": zonefile.OffImpOpen, "zf_header.closed": zonefile.OffClosed, "zf_header.full": zonefile.OffFull,
	"zf_header.zd_extension_size": zonefile.OffExtSize, "zf_header.dirty": zonefile.OffDirty,
	"zf_zone.zcap": zonefile.OffRecordZCap, "zf_zone.zslba": zonefile.OffZSLBA, "zf_zone.wp": zonefile.OffWP, "zf_zone.w_ptr": zonefile.OffWPtr,
	"zf_zone.next": zonefile.OffNext, "zf_zone.prev": zonefile.OffPrev,

	"ps_header": pstate.HeaderLen, "ps_header.version": pstate.OffVersion, "ps_header.blk_len": pstate.OffLength, "ps_header.lbads": pstate.OffLBADS,
	"ps_header.iocs": pstate.OffIOCS, "ps_header.zns.zcap": pstate.OffZCap, "ps_header.zns.zsze": pstate.OffZSize, "ps_header.zns.zdes": pstate.OffZDES,
	"ps_footer": pstate.FooterLen, "zns_desc": layout.DescriptorSize, "zns_desc.zcap": 8, "zns_desc.zslba": 16, "zns_desc.wp": 24,

	"zr_c": zonedraw.HeaderLenC, "zr_c.zone_size": zonedraw.OffZoneSizeC, "zr_c.nr_zones": zonedraw.OffZonesC, "zr_c.zone_nr_seq": zonedraw.OffSeqC,
	"zr_c.zone_nr_conv": zonedraw.OffConvC, "zr_c.max_active_zones": zonedraw.OffMaxActiveC, "zr_c.max_open_zones": zonedraw.OffMaxOpenC,
	"zr_c.max_append_sectors": zonedraw.OffAppendC, "zr_c.device_size": zonedraw.OffLengthC, "zr_c.zone_model": zonedraw.OffModelC,
	"zr_b": zonedraw.HeaderLenB, "zr_b.zone_model": zonedraw.OffModelB, "zr_b.magic": zonedraw.OffMagicB, "zr_b.zone_size": zonedraw.OffZoneSizeB,
	"zr_b.nr_zones": zonedraw.OffZonesB, "zr_b.zone_nr_seq": zonedraw.OffSeqB, "zr_b.max_active_zones": zonedraw.OffMaxActiveB,
	"zr_b.max_open_zones": zonedraw.OffMaxOpenB, "zr_b.max_append_sectors": zonedraw.OffAppendB,

	"zbd_dump": zbddump.HeaderLen, "zbd_zone": zbddump.RecordLen, "zbd_dump.dev_info.nr_sectors": zbddump.OffSectors,
	"zbd_dump.dev_info.nr_lblocks": zbddump.OffLBlocks, "zbd_dump.dev_info.nr_pblocks": zbddump.OffPBlocks, "zbd_dump.dev_info.zone_size": zbddump.OffZoneSize,
	"zbd_dump.dev_info.zone_sectors": zbddump.OffZoneSectors, "zbd_dump.dev_info.lblock_size": zbddump.OffLBlockSize, "zbd_dump.dev_info.pblock_size": zbddump.OffPBlockSize,
	"zbd_dump.dev_info.nr_zones": zbddump.OffZones, "zbd_dump.dev_info.max_nr_open_zones": zbddump.OffMaxOpen, "zbd_dump.dev_info.max_nr_active_zones": zbddump.OffMaxActive,
	"zbd_dump.dev_info.model": zbddump.OffModel, "zbd_dump.zone_first": zbddump.OffFirst, "zbd_dump.zone_end": zbddump.OffEnd,
	"zbd_zone.len": zbddump.RecLen, "zbd_zone.capacity": zbddump.RecCap, "zbd_zone.wp": zbddump.RecWP, "zbd_zone.flags": zbddump.RecFlags,
	"zbd_zone.type": zbddump.RecType, "zbd_zone.cond": zbddump.RecCond,

	"fz_meta": filezbc.HeaderLen, "fz_zone": filezbc.RecordLen, "fz_meta.model": filezbc.OffModel, "fz_meta.capacity": filezbc.OffCapacity,
	"fz_meta.lba_size": filezbc.OffLBASize, "fz_meta.zone_size": filezbc.OffZoneSize, "fz_meta.nr_zones": filezbc.OffZones, "fz_meta.nr_conv_zones": filezbc.OffConv,
	"fz_meta.nr_open_zones": filezbc.OffMaxOpen, "fz_meta.nr_imp_open": filezbc.OffImpOpen, "fz_meta.nr_exp_open": filezbc.OffExpOpen,
	"fz_zone.len": filezbc.RecLen, "fz_zone.wp": filezbc.RecWP, "fz_zone.type": filezbc.RecType, "fz_zone.cond": filezbc.RecCond,
	"fz_zone.non_seq": filezbc.RecNonSeq, "fz_zone.reset": filezbc.RecReset,

	"gz_table": 24, "gz_long": 16, "gz_short": 8, "gz_long.wp": 8, "gz_short.wp": 4,

	"lz_meta": fakezbc.HeaderLen, "lz_zone": fakezbc.RecordLen, "lz_meta.nr_zones": fakezbc.OffZones, "lz_meta.nr_conv_zones": fakezbc.OffConv,
	"lz_meta.nr_seq_zones": fakezbc.OffSeq, "lz_meta.nr_exp_open": fakezbc.OffExpOpen, "lz_meta.nr_imp_open": fakezbc.OffImpOpen,
	"lz_zone.start": fakezbc.RecStart, "lz_zone.wp": fakezbc.RecWP, "lz_zone.type": fakezbc.RecType, "lz_zone.cond": fakezbc.RecCond, "lz_zone.attributes": fakezbc.RecAttrs,

	"qz": 56, "qz.zone_size": 4, "qz.zone_capacity": 12, "qz.conventional_zones": 20, "qz.nr_zones": 24, "qz.max_active_zones": 28, "qz.max_open_zones": 32,
	"qz.max_append_bytes": 36, "qz.zonedmeta_size": 40, "qz.zonedmeta_offset": 48,
}

// gzonedStructs adds the layouts of gzoned's metadata to structs.
func gzonedStructs() map[string]int {
	all := maps.Clone(structs)
	for name, v := range map[string]gzoned.Variant{"gz0": gzoned.Named, "gz1": gzoned.Review, "gz3": gzoned.Padded, "gz4": gzoned.Merged} {
		all[name] = v.Len
		for field, off := range map[string]int{
			"version": gzoned.OffVersion, "id": v.ID, "zonesize": v.ZoneSize, "nzones": v.Zones, "sectorsize": v.Sector, "provsize": v.Length,
			"nranges": v.Ranges, "ranges": v.Range0, "flags": v.Flags, "max_open": v.MaxOpen,
		} {
			if off != 0 {
				all[name+"."+field] = off
			}
		}
	}
	return all
}

// A C compiler, given the structures as their sources have them, puts every field where our
// code has it.
func TestStructs(t *testing.T) {
	imagetest.NeedsPrograms(t, "a C compiler")
	bin := filepath.Join(t.TempDir(), "structs")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-o", bin, "testdata/structs.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	structs, seen := gzonedStructs(), map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var name string
		var value int
		if _, err := fmt.Sscan(line, &name, &value); err != nil {
			t.Fatal(line, err)
		}
		seen[name] = true
		if want, ok := structs[name]; !ok || want != value {
			t.Errorf("%s: %d in C, %d here", name, value, want)
		}
	}
	for name := range structs {
		if !seen[name] {
			t.Errorf("%s is not in the C program", name)
		}
	}
}
