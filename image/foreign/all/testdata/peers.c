/* What gzoned and zloop do when they find a file or a directory, written from their descriptions and
 * not from our code; it prints the zones that they would report.
 *
 *	peers gzoned-taste FILE SECTORSIZE
 *	peers gzoned-create FILE SECTORSIZE ZONESIZE CONVENTIONAL LAYOUT LIMIT TABLE	FILE has its length
 *	peers zloop-add DIR BLOCKSIZE CAPACITY_MB ZONE_SIZE_MB ZONE_CAPACITY_MB CONV_ZONES */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static FILE *file;
static uint64_t length;

static void at(uint64_t off, void *b, size_t n)
{
	memset(b, 0, n);
	if (fseek(file, (long)off, SEEK_SET) || fread(b, 1, n, file) != n)
		exit(1);
}

static uint64_t le(const uint8_t *p, int n)
{
	uint64_t v = 0;
	while (n--)
		v = v << 8 | p[n];
	return v;
}

static void put(uint8_t *p, uint64_t v, int n)
{
	for (; n--; v >>= 8)
		*p++ = (uint8_t)v;
}

static void zone(uint64_t i, int type, int cond, int reset, uint64_t len, uint64_t wp)
{
	printf("zone %llu type %d condition %d reset %d length %llu start %llu wp %llu\n", (unsigned long long)i, type, cond, reset,
	       (unsigned long long)len, (unsigned long long)(i * len), (unsigned long long)wp);
}

static int nothing(const char *why) { puts(why); return 0; }

/* The merged class: the number of zones follows from the length of the provider. */
static uint64_t nzones(uint64_t size, uint64_t sector, uint64_t entry)
{
	uint64_t reserve = size ? 2 * sector + (length / size * entry + sector - 1) / sector * sector : 0;
	return size && length > reserve ? (length - reserve) / size : 0;
}

static int taste(uint64_t sector)
{
	uint8_t m[312], h[24], e[8];
	uint64_t i, k, n, size, table;
	at(length - sector, m, sizeof m);
	if (strcmp((char *)m, "GEOM::ZONED") || le(m + 16, 4) > 1 || le(m + 40, 8) != length || le(m + 32, 4) != sector)
		return nothing("ignored");
	size = le(m + 24, 8) / sector;
	n = nzones(le(m + 24, 8), sector, 8);
	if (!n || !size || le(m + 24, 8) % sector || size > 0xfffffffe || le(m + 36, 4) > 16 || le(m + 304, 4) > 1)
		return nothing("bogus");
	for (k = 0; k < le(m + 36, 4); k++) {
		uint64_t first = le(m + 48 + 16 * k, 8), count = le(m + 56 + 16 * k, 8);
		if (!count || first >= n || count > n - first)
			return nothing("bogus range");
	}
	table = length - sector - (1 + (8 * n + sector - 1) / sector) * sector;
	at(table, h, sizeof h);
	int valid = !memcmp(h, "GEOM::ZONEDTBL", 15) && le(h + 16, 4) == 1 && le(h + 20, 4) == n;
	for (i = 0; i < n; i++) {
		int conv = 0;
		for (k = 0; k < le(m + 36, 4); k++)
			conv |= i >= le(m + 48 + 16 * k, 8) && i - le(m + 48 + 16 * k, 8) < le(m + 56 + 16 * k, 8);
		at(table + sector + 8 * i, e, sizeof e);
		uint64_t wp = le(e + 4, 4);
		if (conv)
			zone(i, 1, 0, 0, size, ~0ull);
		else if (!valid || wp > size)
			zone(i, 2, 1, valid ? e[2] & 1 : 0, size, i * size);
		else
			zone(i, 2, e[1], e[2] & 1, size, i * size + wp);
	}
	return 0;
}

/* What was called version 1, in the order in which it came: offsets of id, zone size, number of zones, sector size, length, number of
 * ranges, ranges, flags, limit (0: none), and the size of an entry. */
static const struct { int id, zonesize, nzones, sector, length, nranges, ranges, flags, maxopen, entry; } layouts[] = {
	{ 36, 40, 48, 52, 56, 0, 0, 0, 0, 16 },
	{ 20, 24, 32, 36, 40, 48, 52, 308, 312, 16 },
	{ 20, 24, 32, 36, 40, 48, 52, 308, 312, 8 },
	{ 20, 24, 32, 36, 40, 48, 56, 312, 316, 8 },
	{ 20, 24, 0, 32, 40, 36, 48, 304, 308, 8 },
};

static int write_at(uint64_t off, const void *b, size_t n) { return fseek(file, (long)off, SEEK_SET) || fwrite(b, 1, n, file) != n; }

/* arg: sector size, zone size, conventional zones, layout, limit, whether to write a table too; all zones are Empty without one. */
static int create(char **arg)
{
	uint64_t v[6], i;
	for (i = 0; i < 6; i++)
		v[i] = strtoull(arg[i], 0, 0);
	uint64_t sector = v[0], size = v[1], conv = v[2], limit = v[4], blocks = size / sector;
	const int l = (int)v[3], entry = layouts[l].entry;
	uint64_t n = nzones(size, sector, (uint64_t)entry), table = length - sector - (1 + (n * (uint64_t)entry + sector - 1) / sector) * sector;
	uint8_t m[512] = "GEOM::ZONED", h[24] = "GEOM::ZONEDTBL";
	put(m + 16, 1, 4);
	put(m + layouts[l].id, 4711, 4);
	put(m + layouts[l].zonesize, size, 8);
	if (layouts[l].nzones)
		put(m + layouts[l].nzones, n, 4);
	put(m + layouts[l].sector, sector, 4);
	put(m + layouts[l].length, length, 8);
	if (!layouts[l].nranges) {
		strcpy((char *)m + 20, "disk");
		conv = 0;
	} else {
		put(m + layouts[l].nranges, conv > 0, 4);
		put(m + layouts[l].ranges + 8, conv, 8);
		put(m + layouts[l].flags, limit > 1, 4);
		put(m + layouts[l].maxopen, limit, 4);
	}
	put(h + 16, 1, 4);
	put(h + 20, n, 4);
	if (write_at(length - sector, m, sizeof m) || (v[5] && write_at(table, h, sizeof h)))
		return 1;
	for (i = 0; i < n; i++) {
		static const uint8_t conds[] = { 4, 1, 14, 2, 13, 15, 3 };
		uint8_t e[16] = { 2, conds[i % 7], i % 4 == 1 };
		uint64_t wp = e[1] == 1 || e[1] == 15 ? 0 : e[1] == 14 ? blocks : 1 + i % (blocks - 1);
		if (i < conv) {
			e[0] = 1; e[1] = 0; e[2] = 0;
		} else if (!v[5]) {
			e[1] = 1; e[2] = 0; wp = 0;
		}
		if (entry == 16)
			put(e + 8, i < conv ? ~0ull : i * blocks + wp, 8);
		else
			put(e + 4, i < conv ? 0xffffffff : wp, 4);
		if (v[5] && write_at(table + sector + (uint64_t)entry * i, e, (size_t)entry))
			return 1;
		zone(i, e[0], e[1], e[2], blocks, i < conv ? ~0ull : i * blocks + wp);
	}
	return fclose(file);
}

static int add(const char *dir, char **arg)
{
	char path[4096];
	struct stat st;
	uint64_t i, block = strtoull(arg[0], 0, 0), size = strtoull(arg[2], 0, 0) << 20, capacity = strtoull(arg[3], 0, 0) << 20;
	uint64_t n = (strtoull(arg[1], 0, 0) << 20) / size, conv = strtoull(arg[4], 0, 0);
	if (size & (size - 1) || capacity > size || capacity % block || conv >= n)
		return nothing("refused");
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s-%06llu", dir, i < conv ? "cnv" : "seq", (unsigned long long)i);
		if (stat(path, &st))
			return nothing("refused: no file");
		uint64_t len = (uint64_t)st.st_size, start = i * size / block;
		if (i < conv)
			zone(i, 1, 0, 0, size / block, ~0ull);
		else if (len / 512 > capacity / 512 || len % block)
			return nothing("refused: length");
		else
			zone(i, 2, !len ? 1 : len == capacity ? 14 : 4, 0, size / block, start + len / block);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "zloop-add"))
		return add(argv[2], argv + 3);
	if (argc < 4 || !(file = fopen(argv[2], "r+")) || fseek(file, 0, SEEK_END))
		return 1;
	length = (uint64_t)ftell(file);
	if (!strcmp(argv[1], "gzoned-taste"))
		return taste(strtoull(argv[3], 0, 0));
	return argc == 9 ? create(argv + 3) : 1;
}
