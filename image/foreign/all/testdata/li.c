/* Opens what zimg writes in the way in which the two programs of Li open it, written down from their
 * descriptions, and prints the zones as they see them. What they would refuse ends the program.
 *
 *   li raw FILE    li qcow2 FILE
 */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKED __attribute__((packed))
#define CONVENTIONAL (UINT64_C(1) << 59)

static FILE *file;

static void refuse(const char *why)
{
	printf("refused: %s\n", why);
	exit(1);
}

static void read_at(uint64_t off, void *to, size_t len)
{
	if (fseeko(file, (off_t)off, SEEK_SET) || fread(to, 1, len, file) != len)
		refuse("short file");
}

/* The raw format: what opening reads, in the order of the host. */
static void raw(void)
{
	struct PACKED {
		char magic[4];
		uint32_t zone_size, nr_zones, zone_nr_seq, zone_nr_conv, max_active_zones, max_open_zones, max_append_sectors;
		uint64_t device_size;
		uint8_t zone_model, rsvd[471];
	} h;
	uint64_t i, e, meta, sectors;

	read_at(0, &h, sizeof h);
	if (memcmp(h.magic, "zone", 4))
		refuse("not in zoned format");
	meta = 8 * (uint64_t)h.nr_zones;
	sectors = (uint32_t)(h.nr_zones * h.zone_size) >> 9; /* as it is computed there: in 32 bits */
	printf("limits %u %u\nmodel %u\nsequential %u\nsectors %" PRIu64 "\n", h.max_open_zones, h.max_active_zones, h.zone_model, h.zone_nr_seq, sectors);
	if (h.zone_nr_seq + h.zone_nr_conv != h.nr_zones || sizeof h + sectors * 512 > h.device_size - meta)
		refuse("write pointers on top of data");
	for (i = 0; i < h.nr_zones; i++) {
		read_at(h.device_size - meta + 8 * i, &e, 8);
		if (e & CONVENTIONAL)
			printf("zone 0 %" PRIu64 "\n", e & ~CONVENTIONAL);
		else
			printf("zone %u %d\n", (unsigned)(e >> 60), (int)((e << 5) >> 5));
	}
	for (i = 0; i < sectors; i++) { /* guest data, as a sum over its sectors */
		uint8_t b[512];
		unsigned k, sum = 0;
		read_at(sizeof h + 512 * i, b, sizeof b);
		for (k = 0; k < sizeof b; k++)
			sum = sum * 31 + b[k];
		if (sum)
			printf("sector %" PRIu64 " %u\n", i, sum);
	}
}

/* The extension of v9, which is checked when the image is opened. */
static void qcow2(void)
{
	struct PACKED { uint32_t magic, version; uint64_t backing; uint32_t backing_len, bits; uint64_t size; } h;
	struct PACKED {
		uint8_t zoned, rsvd[3];
		uint64_t zone_size, zone_capacity;
		uint32_t conventional_zones, nr_zones, max_active_zones, max_open_zones, max_append_bytes;
		uint64_t zonedmeta_size, zonedmeta_offset;
	} z;
	uint32_t ext[2], len, nr, conv, active, open;
	uint64_t incompat, at, size, zsize, cap, i;

	read_at(0, &h, sizeof h);
	read_at(72, &incompat, 8);
	read_at(100, &len, 4);
	if (be32toh(h.magic) != 0x514649fb || be32toh(h.version) != 3)
		refuse("not qcow2 of version 3");
	if (be64toh(incompat) & ~(UINT64_C(1) << 5))
		refuse("unknown features");
	for (at = be32toh(len);; at += 8 + ((be32toh(ext[1]) + 7) & ~7u)) {
		read_at(at, ext, 8);
		if (!ext[0])
			refuse("no zoned extension");
		if (be32toh(ext[0]) == 0x007a6264)
			break;
	}
	if (be32toh(ext[1]) < sizeof z)
		refuse("zoned extension too small");
	read_at(at + 8, &z, sizeof z);
	size = be64toh(h.size), zsize = be64toh(z.zone_size), cap = be64toh(z.zone_capacity);
	nr = be32toh(z.nr_zones), conv = be32toh(z.conventional_zones), active = be32toh(z.max_active_zones), open = be32toh(z.max_open_zones);
	if (!zsize || nr != (size + zsize - 1) / zsize)
		refuse("nr_zones is wrong");
	if (cap > zsize)
		refuse("zone capacity exceeds zone size");
	if ((uint64_t)be32toh(z.max_append_bytes) + 512 >= cap)
		refuse("max append bytes exceeds zone capacity");
	if (conv >= nr)
		refuse("conventional zones exceed nr_zones");
	/* These three are cut to what is allowed, with an error set that the opening then fails by. */
	if (active > nr || open > nr - conv || open > active)
		refuse("limits");
	if (be64toh(z.zonedmeta_size) != 8 * (uint64_t)nr || be64toh(z.zonedmeta_offset) % (1u << be32toh(h.bits)))
		refuse("write pointers misplaced");
	printf("limits %u %u\nmodel %u\nsequential %u\nsectors %" PRIu64 "\n", open, active, z.zoned, nr - conv, size / 512);
	for (i = 0; i < nr; i++) {
		uint64_t wp, start = i * zsize;
		read_at(be64toh(z.zonedmeta_offset) + 8 * i, &wp, 8);
		if (wp & CONVENTIONAL)
			printf("zone 0 %" PRIu64 "\n", wp & ~CONVENTIONAL);
		else
			printf("zone %d %" PRIu64 "\n", wp == start ? 1 : wp >= start + cap ? 14 : wp > start ? 4 : 0, wp);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3 || !(file = fopen(argv[2], "rb")))
		return 2;
	if (!strcmp(argv[1], "raw"))
		raw();
	else
		qcow2();
	return 0;
}
