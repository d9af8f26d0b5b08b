/* The structures of the foreign formats, written down from their descriptions
 * with the types that they have there; the compiler says where everything is. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "jensenfomichev.h"

/* raw format with write pointers at its end */
struct PACKED zr_c {
	char magic[4];
	uint32_t zone_size, nr_zones, zone_nr_seq, zone_nr_conv, max_active_zones, max_open_zones, max_append_sectors;
	uint64_t device_size;
	uint8_t zone_model, rsvd[471];
};
struct PACKED zr_b {
	uint64_t size;
	uint8_t zone_model;
	char magic[4];
	uint8_t rsvd[20];
	uint32_t zone_size, nr_zones, zone_nr_seq, max_active_zones, max_open_zones, max_append_sectors;
};

/* zbd dump: device information and a zone of libzbd, with room to 192 and 64 bytes */
struct zbd_info {
	char vendor_id[32];
	unsigned long long nr_sectors, nr_lblocks, nr_pblocks, zone_size;
	unsigned int zone_sectors, lblock_size, pblock_size, nr_zones, max_nr_open_zones, max_nr_active_zones, model;
	unsigned int reserved[9];
};
struct zbd_dump { struct zbd_info dev_info; unsigned int zone_first, zone_end; unsigned int reserved[14]; };
struct zbd_zone {
	unsigned long long start, len, capacity, wp;
	unsigned int flags, type, cond;
	unsigned char reserved[20];
};

/* file_zbc */
struct fz_meta {
	uint32_t magic, model;
	uint64_t capacity;
	uint32_t lba_size, zone_size, nr_zones, nr_conv_zones, nr_open_zones, nr_imp_open, nr_exp_open;
};
struct fz_zone { uint64_t start, len, wp; uint8_t type, cond, non_seq, reset, reserved[36]; };

/* gzoned, the metadata in the order in which it came, table header, entries of the first two and of the later layouts */
struct gz_range { uint64_t first, count; };
struct PACKED gz0 { char magic[16]; uint32_t version; char name[16]; uint32_t id; uint64_t zonesize; uint32_t nzones, sectorsize; uint64_t provsize; };
struct PACKED gz1 {
	char magic[16];
	uint32_t version, id;
	uint64_t zonesize;
	uint32_t nzones, sectorsize;
	uint64_t provsize;
	uint32_t nranges;
	struct gz_range ranges[16];
	uint32_t flags, max_open;
};
struct gz3 {
	char magic[16];
	uint32_t version, id;
	uint64_t zonesize;
	uint32_t nzones, sectorsize;
	uint64_t provsize;
	uint32_t nranges, reserved;
	struct gz_range ranges[16];
	uint32_t flags, max_open;
};
struct gz4 {
	char magic[16];
	uint32_t version, id;
	uint64_t zonesize;
	uint32_t sectorsize, nranges;
	uint64_t provsize;
	struct gz_range ranges[16];
	uint32_t flags, max_open;
};
struct gz_table { char magic[16]; uint32_t version, nzones; };
struct gz_long { uint8_t type, cond, flags, rsvd[5]; uint64_t wp; };
struct gz_short { uint8_t type, cond, flags, rsvd; uint32_t wp; };

/* libzbc's fake backend: header and zone */
struct lz_meta { uint64_t capacity; uint32_t nr_zones, nr_conv_zones, nr_seq_zones, nr_exp_open, nr_imp_open; uint8_t reserved[40]; };
struct lz_zone { uint64_t length, start, wp; uint8_t type, cond, attributes, padding[5]; };

/* the zoned extension of qcow2, v8 and v9 */
struct PACKED qz {
	uint8_t zoned, rsvd[3];
	uint64_t zone_size, zone_capacity;
	uint32_t conventional_zones, nr_zones, max_active_zones, max_open_zones, max_append_bytes;
	uint64_t zonedmeta_size, zonedmeta_offset;
};

#define S(s) printf("%s %zu\n", #s, sizeof(struct s))
#define O(s, f) printf("%s.%s %zu\n", #s, #f, offsetof(struct s, f))

int main(void)
{
	S(zf_header); S(zf_zone); S(zf_list);
	O(zf_header, version); O(zf_header, zone_size); O(zf_header, zone_capacity); O(zf_header, nr_offline_zones); O(zf_header, nr_rdonly_zones);
	O(zf_header, lba_size); O(zf_header, exp_open); O(zf_header, imp_open); O(zf_header, closed); O(zf_header, full);
	O(zf_header, zd_extension_size); O(zf_header, dirty);
	O(zf_zone, zcap); O(zf_zone, zslba); O(zf_zone, wp); O(zf_zone, w_ptr); O(zf_zone, next); O(zf_zone, prev);
	S(ps_header); O(ps_header, version); O(ps_header, blk_len); O(ps_header, lbads); O(ps_header, iocs);
	O(ps_header, zns.zcap); O(ps_header, zns.zsze); O(ps_header, zns.zdes); S(ps_footer); S(zns_desc);
	O(zns_desc, zcap); O(zns_desc, zslba); O(zns_desc, wp);
	S(zr_c); O(zr_c, zone_size); O(zr_c, nr_zones); O(zr_c, zone_nr_seq); O(zr_c, zone_nr_conv); O(zr_c, max_active_zones);
	O(zr_c, max_open_zones); O(zr_c, max_append_sectors); O(zr_c, device_size); O(zr_c, zone_model);
	S(zr_b); O(zr_b, zone_model); O(zr_b, magic); O(zr_b, zone_size); O(zr_b, nr_zones); O(zr_b, zone_nr_seq);
	O(zr_b, max_active_zones); O(zr_b, max_open_zones); O(zr_b, max_append_sectors);
	S(zbd_dump); S(zbd_zone); O(zbd_dump, dev_info.nr_sectors); O(zbd_dump, dev_info.nr_lblocks); O(zbd_dump, dev_info.nr_pblocks);
	O(zbd_dump, dev_info.zone_size); O(zbd_dump, dev_info.zone_sectors); O(zbd_dump, dev_info.lblock_size); O(zbd_dump, dev_info.pblock_size);
	O(zbd_dump, dev_info.nr_zones); O(zbd_dump, dev_info.max_nr_open_zones); O(zbd_dump, dev_info.max_nr_active_zones); O(zbd_dump, dev_info.model);
	O(zbd_dump, zone_first); O(zbd_dump, zone_end);
	O(zbd_zone, len); O(zbd_zone, capacity); O(zbd_zone, wp); O(zbd_zone, flags); O(zbd_zone, type); O(zbd_zone, cond);
	S(fz_meta); S(fz_zone); O(fz_meta, model); O(fz_meta, capacity); O(fz_meta, lba_size); O(fz_meta, zone_size); O(fz_meta, nr_zones);
	O(fz_meta, nr_conv_zones); O(fz_meta, nr_open_zones); O(fz_meta, nr_imp_open); O(fz_meta, nr_exp_open);
	O(fz_zone, len); O(fz_zone, wp); O(fz_zone, type); O(fz_zone, cond); O(fz_zone, non_seq); O(fz_zone, reset);
	S(gz_table); S(gz_long); S(gz_short); O(gz_long, wp); O(gz_short, wp);
	S(gz0); O(gz0, version); O(gz0, id); O(gz0, zonesize); O(gz0, sectorsize); O(gz0, provsize); O(gz0, nzones);
	S(gz1); O(gz1, version); O(gz1, id); O(gz1, zonesize); O(gz1, sectorsize); O(gz1, provsize); O(gz1, nzones);
	O(gz1, nranges); O(gz1, ranges); O(gz1, flags); O(gz1, max_open);
	S(gz3); O(gz3, version); O(gz3, id); O(gz3, zonesize); O(gz3, sectorsize); O(gz3, provsize); O(gz3, nzones);
	O(gz3, nranges); O(gz3, ranges); O(gz3, flags); O(gz3, max_open);
	S(gz4); O(gz4, version); O(gz4, id); O(gz4, zonesize); O(gz4, sectorsize); O(gz4, provsize); O(gz4, nranges); O(gz4, ranges); O(gz4, flags); O(gz4, max_open);
	S(lz_meta); S(lz_zone); O(lz_meta, nr_zones); O(lz_meta, nr_conv_zones); O(lz_meta, nr_seq_zones); O(lz_meta, nr_exp_open); O(lz_meta, nr_imp_open);
	O(lz_zone, start); O(lz_zone, wp); O(lz_zone, type); O(lz_zone, cond); O(lz_zone, attributes);
	S(qz); O(qz, zone_size); O(qz, zone_capacity); O(qz, conventional_zones); O(qz, nr_zones); O(qz, max_active_zones); O(qz, max_open_zones);
	O(qz, max_append_bytes); O(qz, zonedmeta_size); O(qz, zonedmeta_offset);
	return 0;
}
