/* Structures of the zone file and of the pstate files, written down from their descriptions
 * with the types that they have there. */
#include <stdint.h>

#define PACKED __attribute__((packed))

/* zone file: a list head, the header, a zone */
struct zf_list { uint32_t head, tail, size, rsvd; };
struct zf_header {
	uint32_t magic, version;
	uint64_t zone_size, zone_capacity;
	uint32_t nr_offline_zones, nr_rdonly_zones, lba_size, rsvd36;
	struct zf_list exp_open, imp_open, closed, full;
	uint8_t zd_extension_size, dirty, rsvd106[3990];
};
struct zf_zone {
	uint8_t zt, zs, za, rsvd3[5];
	uint64_t zcap, zslba, wp;
	uint8_t rsvd32[32];
	uint64_t w_ptr;
	uint32_t next, prev;
	uint8_t rsvd80[8];
};

/* pstate v2, and the footer of RFC v5 */
struct PACKED ps_header {
	uint32_t magic, version;
	int64_t blk_len;
	uint8_t lbads, iocs, rsvd18[3054];
	struct PACKED { uint64_t zcap, zsze; uint8_t zdes, rsvd3089[1007]; } zns;
};
struct PACKED ps_footer { uint32_t magic, version; uint8_t rsvd[4088]; };
/* the zone descriptor of the NVMe specification */
struct PACKED zns_desc { uint8_t zt, zs, za, zai, rsvd4[4]; uint64_t zcap, zslba, wp; uint8_t rsvd32[32]; };
