/* What QEMU with the ZNS patches of 2020 did with its state file: at its start, then for a few
 * commands. Written from the descriptions of the formats, so that it can judge what zimg writes
 * and write what zimg is to read.
 *
 *	originals zone-file-v3|zone-file-v5|pstate|pstate-32|footer FILE BYTES BLOCK ZSIZE ZCAP EXT MAXACTIVE OFFLINE READONLY
 *
 * BYTES is the length of the data image; BLOCK, EXT are bytes, ZSIZE and ZCAP blocks. Commands are
 * lines of standard input: write ZONE BLOCKS, open, close, finish, reset ZONE, extend ZONE BYTE. The
 * process then ends as in a crash. The outcome of the start comes first (taken, made, reset CODE, refused
 * WHY, abort), then the zones as the guest would see them, then what they became, then whether the
 * lists are whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jensenfomichev.h"

enum { EMPTY = 1, IMPLICIT, EXPLICIT, CLOSED, READONLY = 0xD, FULL, OFFLINE };
#define NIL 0xffffffffu
#define ZDEV 0x80
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static const char *kind, *path;
static uint64_t bytes, block, zsize, zcap, ext, max_active, offline, readonly;
static uint64_t nzones, active;
static int fd;

static uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

static void die(const char *why)
{
	printf("refused %s\n", why);
	exit(0);
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void gone(void)
{
	printf("abort\n");
	exit(0);
}

static void activate(void)
{
	active++;
	if (max_active && active > max_active)
		gone();
}

/* ---- the zone file ---- */

static struct zf_header *h;
static struct zf_zone *zf;
static uint8_t *zfext;
static int old; /* series v2 and v3 */

static struct zf_list *list_of(unsigned state)
{
	switch (state) {
	case EXPLICIT: return &h->exp_open;
	case IMPLICIT: return &h->imp_open;
	case CLOSED: return &h->closed;
	case FULL: return &h->full;
	}
	return NULL;
}

static void link_zone(struct zf_list *l, uint32_t i)
{
	if (!l)
		return;
	if (zf[i].next || zf[i].prev)
		gone();
	zf[i].next = NIL;
	zf[i].prev = l->tail;
	if (l->size++)
		zf[l->tail].next = i;
	else
		l->head = i;
	l->tail = i;
}

static void unlink_zone(struct zf_list *l, uint32_t i)
{
	if (!l)
		return;
	if ((!zf[i].next && !zf[i].prev) || (zf[i].next != NIL && zf[i].next >= nzones) || (zf[i].prev != NIL && zf[i].prev >= nzones))
		gone();
	if (zf[i].prev == NIL)
		l->head = zf[i].next;
	else
		zf[zf[i].prev].next = zf[i].next;
	if (zf[i].next == NIL)
		l->tail = zf[i].prev;
	else
		zf[zf[i].next].prev = zf[i].prev;
	l->size--;
	zf[i].next = zf[i].prev = 0;
}

static void zf_init(void)
{
	struct zf_list none = { NIL, NIL, 0, 0 };

	h->magic = 0x3AEBAA70;
	h->version = 1;
	h->zone_size = zsize;
	h->zone_capacity = zcap;
	h->lba_size = block;
	h->nr_offline_zones = offline;
	h->nr_rdonly_zones = readonly;
	h->zd_extension_size = ext;
	h->exp_open = h->imp_open = h->closed = h->full = none;
	for (uint64_t i = 0; i < nzones; i++) {
		struct zf_zone z = { .zt = 2, .zs = EMPTY << 4, .zcap = zcap, .zslba = i * zsize, .wp = i * zsize };
		if (!old)
			z.w_ptr = z.wp;
		zf[i] = z;
	}
	h->dirty = 1;
}

static int zf_validate(void)
{
	uint64_t n[16] = { 0 };

	if (h->magic != 0x3AEBAA70) return 1;
	if (h->version != 1) return 2;
	if (h->zone_size != zsize) return 3;
	if (h->zone_capacity != zcap) return 4;
	if (h->nr_offline_zones != offline) return 5;
	if (h->nr_rdonly_zones != readonly) return 6;
	if (h->lba_size != block) return 7;
	if (h->zd_extension_size != ext) return 8;
	for (uint64_t i = 0; i < nzones; i++) {
		uint64_t start = i * zsize, wp = zf[i].wp;

		if (zf[i].zt != 2) return 9;
		if (zf[i].zcap != zcap) return 10;
		if (zf[i].zslba != start) return 11;
		switch (zf[i].zs >> 4) {
		case EMPTY: case OFFLINE: case READONLY:
			if (wp != start) return 12;
			break;
		case IMPLICIT: case EXPLICIT: case CLOSED:
			if (wp < start || wp >= start + zcap) return 13;
			break;
		case FULL:
			if (wp != start + zcap) return 14;
			break;
		default:
			return 15;
		}
		n[zf[i].zs >> 4]++;
	}
	if (n[old ? IMPLICIT : EXPLICIT] != h->exp_open.size) return 16;
	if (n[old ? EXPLICIT : IMPLICIT] != h->imp_open.size) return 17;
	if (n[CLOSED] != h->closed.size) return 18;
	if (n[FULL] != h->full.size) return 19;
	return 0;
}

/* What was open at the last power-down. */
static void zf_recover(void)
{
	for (uint64_t i = 0; i < nzones; i++) {
		unsigned state = zf[i].zs >> 4, next;

		if (state == CLOSED)
			activate();
		if (state != IMPLICIT && state != EXPLICIT)
			continue;
		if (!old) /* which left it in its list, and then could not put it into another */
			unlink_zone(list_of(state), i);
		if (zf[i].za & ZDEV)
			next = CLOSED;
		else if (zf[i].wp == zf[i].zslba)
			next = EMPTY;
		else
			next = !max_active || active < max_active ? CLOSED : FULL;
		if (next == CLOSED) {
			activate();
			link_zone(&h->closed, i);
		} else if (next == FULL) {
			zf[i].wp = zf[i].zslba + zcap; /* in no list */
		}
		if (!old)
			zf[i].w_ptr = zf[i].wp;
		zf[i].zs = next << 4;
	}
}

static void zf_start(void)
{
	uint64_t length;
	struct stat st;
	int made = 0, code;

	nzones = round_up(bytes / block, zsize) / zsize;
	length = round_up(sizeof *h + nzones * sizeof *zf + nzones * ext, sysconf(_SC_PAGESIZE));
	made = stat(path, &st) && errno == ENOENT;
	fd = open(path, O_RDWR | O_CREAT, 0644);
	must(fd >= 0 && !fstat(fd, &st), path);
	if (old && (uint64_t)st.st_size != length) {
		must(!ftruncate(fd, length), path);
		made = 1;
	} else if (!st.st_size) {
		must(!ftruncate(fd, length), path);
	} else if ((uint64_t)st.st_size < length) {
		die("length");
	}
	h = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(h != MAP_FAILED, "mmap");
	zf = (struct zf_zone *)(h + 1);
	zfext = (uint8_t *)(zf + nzones);
	if (made) {
		printf("made\n");
		zf_init();
	} else if ((code = zf_validate())) {
		printf("reset %d\n", code);
		zf_init();
	} else {
		zf_recover();
		printf("taken\n");
	}
	h->dirty = 0;
}

/* ---- the pstate files ---- */

static struct zns_desc *zd;
static uint8_t *map, *zde; /* zone i's extension begins at byte i of zde: so it was */
static uint64_t map_off, map_len, zd_off, zde_off;

static void put(const void *b, uint64_t n, uint64_t off) { must(pwrite(fd, b, n, off) == (ssize_t)n, path); }
static void get(void *b, uint64_t n, uint64_t off) { must(pread(fd, b, n, off) >= 0, path); }

static void ps_zones(void)
{
	for (uint64_t i = 0; i < nzones; i++) {
		struct zns_desc z = { .zt = 2, .zs = EMPTY << 4, .zcap = zcap, .zslba = i * zsize, .wp = i * zsize };
		zd[i] = z;
	}
	put(zd, nzones * sizeof *zd, zd_off);
}

static void ps_recover(void)
{
	uint64_t left = max_active ? max_active : nzones;

	for (uint64_t i = 0; i < nzones; i++) {
		switch (zd[i].zs >> 4) {
		case EMPTY: case FULL: case READONLY: case OFFLINE:
			break;
		case CLOSED:
			if (zd[i].wp == zd[i].zslba && !(zd[i].za & ZDEV)) {
				zd[i].zs = EMPTY << 4;
				break;
			}
			if (left) {
				left--;
				active++;
				break;
			}
			/* fall through */
		case IMPLICIT: case EXPLICIT:
			zd[i].wp = zd[i].zslba;
			zd[i].zs = FULL << 4;
			break;
		default:
			die("invalid zone state");
		}
	}
	put(zd, nzones * sizeof *zd, zd_off);
}

static void ps_start(int footer, uint64_t word)
{
	struct ps_header head;
	struct ps_footer foot;
	struct stat st;
	uint64_t nlbas, length, lbads = 0;

	bytes = round_up(bytes, 512);
	while (1u << lbads < block)
		lbads++;
	nlbas = bytes >> lbads;
	nzones = nlbas / zsize;
	map_off = sizeof head;
	map_len = footer ? 0 : (nlbas + word - 1) / word;
	zd_off = footer ? 0 : map_off + map_len;
	zde_off = zd_off + nzones * sizeof *zd;
	zd = calloc(nzones, sizeof *zd);
	map = calloc(1, MAX(map_len, nlbas / 8 + 8));
	zde = calloc(nzones, ext + 1);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	must(fd >= 0 && !fstat(fd, &st), path);
	length = round_up(st.st_size, 512); /* the block layer counts in sectors */
	if (!length) {
		printf("made\n");
		if (footer) {
			memset(&foot, 0, sizeof foot);
			foot.magic = 0x00534E5A;
			foot.version = 1;
			must(!ftruncate(fd, zde_off + nzones * ext + sizeof foot), path);
			put(&foot, sizeof foot, zde_off + nzones * ext);
		} else {
			memset(&head, 0, sizeof head);
			head.magic = 0x0053504E;
			head.version = 1;
			head.blk_len = bytes;
			head.lbads = lbads;
			head.iocs = 2;
			head.zns.zcap = zcap;
			head.zns.zsze = zsize;
			head.zns.zdes = ext / 64;
			must(!ftruncate(fd, round_up(zde_off + nzones * ext, 512)), path);
			put(&head, sizeof head, 0);
		}
		ps_zones();
		return;
	}
	if (footer) {
		memset(&foot, 0, sizeof foot);
		get(&foot, sizeof foot, length - sizeof foot);
		if (foot.magic != 0x00534E5A) die("footer");
		if (foot.version > 1) die("version");
	} else {
		get(&head, sizeof head, 0);
		if (head.magic != 0x0053504E) die("header");
		if (head.version > 1) die("version");
		if ((uint64_t)head.blk_len != bytes) die("drive size");
		if (head.lbads != lbads) die("lbads");
		if (head.zns.zcap != zcap) die("zcap");
		if (head.zns.zsze != zsize) die("zsze");
		if (head.zns.zdes != ext / 64) die("zdes");
		if (length != round_up(zde_off + nzones * ext, 512)) die("length");
		get(map, map_len, map_off);
	}
	get(zd, nzones * sizeof *zd, zd_off);
	get(zde, nzones * ext, zde_off);
	ps_recover();
	printf("taken\n");
}

/* ---- either ---- */

static int is_zf(void) { return h != NULL; }
static unsigned state_of(uint64_t i) { return (is_zf() ? zf[i].zs : zd[i].zs) >> 4; }

static void set_state(uint64_t i, unsigned s)
{
	unsigned was = state_of(i);
	int a = s == CLOSED || s == IMPLICIT || s == EXPLICIT, b = was == CLOSED || was == IMPLICIT || was == EXPLICIT;

	active += a - b;
	if (is_zf()) {
		unlink_zone(list_of(was), i);
		link_zone(list_of(s), i);
		zf[i].zs = s << 4;
		if (s == EMPTY)
			zf[i].za = 0;
		return;
	}
	zd[i].zs = s << 4;
	if (s == EMPTY)
		zd[i].za = 0;
	put(&zd[i], sizeof *zd, zd_off + i * sizeof *zd); /* only changes of state reach the file */
}

static void set_wp(uint64_t i, uint64_t wp)
{
	if (!is_zf()) {
		zd[i].wp = wp;
		return;
	}
	zf[i].wp = wp;
	if (!old)
		zf[i].w_ptr = wp;
}

static uint64_t wp_of(uint64_t i) { return is_zf() ? zf[i].wp : zd[i].wp; }

/* mark has the bitmap of pstate say that blocks are written, or not. */
static void mark(uint64_t from, uint64_t to, int set)
{
	if (!map_len)
		return;
	for (uint64_t n = from; n < to; n++)
		map[n / 8] = set ? map[n / 8] | 1 << n % 8 : map[n / 8] & ~(1 << n % 8);
	put(map, map_len, map_off);
}

static void command(const char *what, uint64_t i, uint64_t arg)
{
	unsigned s;
	uint64_t start = i * zsize, end = start + zcap;
	int room;

	if (i >= nzones)
		return;
	s = state_of(i);
	room = s != EMPTY || !max_active || active < max_active;
	if (!strcmp(what, "write") && (s == EMPTY || s == CLOSED || s == IMPLICIT || s == EXPLICIT) && room && wp_of(i) + arg <= end) {
		uint64_t wp = wp_of(i);

		if (s == EMPTY || s == CLOSED)
			set_state(i, IMPLICIT);
		mark(wp, wp + arg, 1);
		set_wp(i, wp + arg);
		if (wp + arg == end)
			set_state(i, FULL);
	} else if (!strcmp(what, "open") && (s == EMPTY || s == CLOSED || s == IMPLICIT) && room) {
		set_state(i, EXPLICIT);
	} else if (!strcmp(what, "close") && (s == IMPLICIT || s == EXPLICIT)) {
		set_state(i, CLOSED);
	} else if (!strcmp(what, "finish") && (s == EMPTY || s == CLOSED || s == IMPLICIT || s == EXPLICIT)) {
		if (is_zf())
			set_wp(i, end);
		set_state(i, FULL);
	} else if (!strcmp(what, "reset") && (s == CLOSED || s == IMPLICIT || s == EXPLICIT || s == FULL)) {
		mark(start, start + zsize, 0);
		set_wp(i, start);
		set_state(i, EMPTY);
	} else if (!strcmp(what, "extend") && ext && s == EMPTY && room) {
		uint8_t *b = is_zf() ? zfext + i * ext : zde + i;

		memset(b, (int)arg, ext);
		if (is_zf())
			zf[i].za |= ZDEV;
		else {
			put(b, ext, zde_off + i * ext);
			zd[i].za |= ZDEV;
		}
		set_state(i, CLOSED);
	}
}

static void print_zones(void)
{
	for (uint64_t i = 0; i < nzones; i++) {
		int za = is_zf() ? zf[i].za : zd[i].za;
		const uint8_t *b = is_zf() ? zfext + i * ext : zde + i;

		printf("zone %ju %u %ju %u", (uintmax_t)i, state_of(i), (uintmax_t)wp_of(i), za);
		if (za & ZDEV && ext)
			printf(" %u %u", b[0], b[ext - 1]);
		printf("\n");
	}
}

/* whole tells whether the lists have every zone that is of their state, once, forwards and backwards. */
static int whole(void)
{
	static const unsigned states[] = { EXPLICIT, IMPLICIT, CLOSED, FULL };

	for (int k = 0; is_zf() && k < 4; k++) {
		struct zf_list *l = list_of(states[k]);
		uint32_t prev = NIL, i = l->head, n = 0;

		for (; i != NIL; prev = i, i = zf[i].next, n++)
			if (i >= nzones || n >= nzones || state_of(i) != states[k] || zf[i].prev != prev)
				return 0;
		if (n != l->size || prev != l->tail)
			return 0;
		for (uint64_t j = 0; j < nzones; j++)
			n -= state_of(j) == states[k];
		if (n)
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t *number[] = { &bytes, &block, &zsize, &zcap, &ext, &max_active, &offline, &readonly };
	char what[16];
	uintmax_t zone, arg;

	if (argc != 11)
		return 2;
	kind = argv[1];
	path = argv[2];
	for (int i = 0; i < 8; i++)
		*number[i] = strtoull(argv[i + 3], NULL, 10);
	old = !strcmp(kind, "zone-file-v3");
	if (old || !strcmp(kind, "zone-file-v5"))
		zf_start();
	else
		ps_start(!strcmp(kind, "footer"), !strcmp(kind, "pstate-32") ? 4 : 8);
	print_zones();
	printf("then\n");
	while (scanf("%15s %ju %ju", what, &zone, &arg) == 3)
		command(what, zone, arg);
	print_zones();
	printf(whole() ? "whole\n" : "broken lists\n");
	return 0;
}
