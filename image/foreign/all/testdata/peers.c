/* What gzoned and zloop do when they find a file or a directory, written from their descriptions and
 * not from our code; it prints the zones that they would report.
 *
 *	peers gzoned-taste FILE SECTORSIZE
 *	peers gzoned-create FILE SECTORSIZE ZONESIZE CONVENTIONAL	FILE has its length
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

static int taste(uint64_t sector)
{
	uint8_t m[316], h[24], e[16];
	uint64_t i, k, n, size, table;
	at(length - sector, m, sizeof m);
	n = le(m + 32, 4);
	if (strcmp((char *)m, "GEOM::ZONED") || le(m + 16, 4) > 1 || le(m + 40, 8) != length || le(m + 36, 4) != sector || !n || !le(m + 24, 8))
		return nothing("ignored");
	size = le(m + 24, 8) / sector;
	if (!size || le(m + 48, 4) > 16 || le(m + 308, 4) > 1)
		return nothing("bogus");
	for (k = 0; k < le(m + 48, 4); k++) {
		uint64_t first = le(m + 52 + 16 * k, 8), count = le(m + 60 + 16 * k, 8);
		if (!count || first >= n || count > n - first)
			return nothing("bogus range");
	}
	table = length - sector - (1 + (16 * n + sector - 1) / sector) * sector;
	at(table, h, sizeof h);
	int valid = !memcmp(h, "GEOM::ZONEDTBL", 15) && le(h + 16, 4) == 1 && le(h + 20, 4) == n;
	for (i = 0; i < n; i++) {
		int conv = 0;
		for (k = 0; k < le(m + 48, 4); k++)
			conv |= i >= le(m + 52 + 16 * k, 8) && i - le(m + 52 + 16 * k, 8) < le(m + 60 + 16 * k, 8);
		at(table + sector + 16 * i, e, sizeof e);
		uint64_t wp = le(e + 8, 8);
		if (conv)
			zone(i, 1, 0, 0, size, ~0ull);
		else if (!valid || wp < i * size || wp > (i + 1) * size)
			zone(i, 2, 1, valid ? e[2] & 1 : 0, size, i * size);
		else
			zone(i, 2, e[1], e[2] & 1, size, wp);
	}
	return 0;
}

static int create(uint64_t sector, uint64_t size, uint64_t conv)
{
	uint8_t m[512] = "GEOM::ZONED";
	uint64_t reserve = 2 * sector + (length / size * 16 + sector - 1) / sector * sector;
	put(m + 16, 1, 4);
	put(m + 20, 4711, 4);
	put(m + 24, size, 8);
	put(m + 32, (length - reserve) / size, 4);
	put(m + 36, sector, 4);
	put(m + 40, length, 8);
	put(m + 48, conv > 0, 4);
	put(m + 60, conv, 8);
	return fseek(file, (long)(length - sector), SEEK_SET) || fwrite(m, 1, sizeof m, file) != sizeof m || fclose(file);
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
	return argc == 6 ? create(strtoull(argv[3], 0, 0), strtoull(argv[4], 0, 0), strtoull(argv[5], 0, 0)) : 1;
}
