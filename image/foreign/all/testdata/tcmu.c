/* Runs tcmu-runner's own handler file_zbc on a file, without tcmu-runner: what the
 * handler calls of it is here.
 *
 *	tcmu HANDLER.so CONFIGURATION BYTES [LBA...]
 *
 * starts it, prints the zones that it reports to REPORT ZONES, and writes a block at each LBA. */
#include <dlfcn.h>
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* Opaque to the handler. */
struct tcmu_device { void *private; const char *config; uint64_t size; uint32_t block; };

/* The interface of version 1.5.4. */
struct tcmulib_cmd { uint16_t id; uint8_t *cdb; struct iovec *iov; size_t iov_cnt; uint8_t sense[96]; void *more[16]; };
struct tcmur_cmd { struct tcmulib_cmd *lib_cmd; void *more[16]; };
struct tcmur_handler {
	const char *name, *subtype, *cfg_desc;
	void *opaque;
	bool (*check_config)(const char *, char **);
	int (*reconfig)(struct tcmu_device *, void *);
	int (*open)(struct tcmu_device *, bool);
	void (*close)(struct tcmu_device *);
	int nr_threads;
	int (*handle_cmd)(struct tcmu_device *, struct tcmur_cmd *);
};

static struct tcmur_handler *handler;

int tcmur_register_handler(struct tcmur_handler *h) { handler = h; return 0; }
void *tcmur_dev_get_private(struct tcmu_device *d) { return d->private; }
void tcmur_dev_set_private(struct tcmu_device *d, void *p) { d->private = p; }
const char *tcmu_dev_get_cfgstring(struct tcmu_device *d) { return d->config; }
uint64_t tcmu_cfgfs_dev_get_info_u64(struct tcmu_device *d, const char *name, int *ret) { (void)name; *ret = 0; return d->size; }
void tcmu_dev_set_block_size(struct tcmu_device *d, uint32_t n) { d->block = n; }
void tcmu_dev_set_num_lbas(struct tcmu_device *d, uint64_t n) { (void)d; (void)n; }

/* Of the commands only those with 16 bytes are used, with one buffer. */
uint64_t tcmu_cdb_get_lba(uint8_t *cdb) { uint64_t v; memcpy(&v, cdb + 2, 8); return be64toh(v); }
uint32_t tcmu_cdb_get_xfer_length(uint8_t *cdb) { uint32_t v; memcpy(&v, cdb + 10, 4); return be32toh(v); }
size_t tcmu_iovec_length(struct iovec *v, size_t n) { return n ? v->iov_len : 0; }
void tcmu_iovec_seek(struct iovec *v, size_t n) { v->iov_base = (char *)v->iov_base + n; v->iov_len -= n; }
size_t tcmu_memcpy_into_iovec(struct iovec *v, size_t n, void *src, size_t len)
{
	(void)n;
	if (len > v->iov_len)
		len = v->iov_len;
	memcpy(v->iov_base, src, len);
	tcmu_iovec_seek(v, len);
	return len;
}
int tcmu_sense_set_data(uint8_t *sense, uint8_t key, uint16_t asc) { sense[2] = key; sense[12] = asc >> 8; sense[13] = asc; return 2; }
void tcmu_err_message(void) {}
void tcmu_dbg_message(void) {}

/* Wanted by the linker, not called. */
#define NEVER(f) void f(void) { abort(); }
NEVER(tcmu_cfgfs_dev_get_wwn) NEVER(tcmu_cfgfs_dev_get_attr_int) NEVER(tcmu_memcpy_from_iovec)
NEVER(tcmu_dev_get_max_unmap_len) NEVER(tcmu_dev_get_max_xfer_len) NEVER(tcmu_dev_get_opt_unmap_gran)
NEVER(tcmu_dev_get_solid_state_media) NEVER(tcmu_dev_get_unmap_enabled) NEVER(tcmu_dev_get_unmap_gran_align)
NEVER(tcmu_dev_get_write_cache_enabled)

static int command(struct tcmu_device *d, uint8_t op, uint64_t lba, uint32_t length, void *buf, size_t size)
{
	uint8_t cdb[16] = { op };
	struct iovec v = { buf, size };
	struct tcmulib_cmd c = { .cdb = cdb, .iov = &v, .iov_cnt = 1 };
	struct tcmur_cmd t = { .lib_cmd = &c };
	lba = htobe64(lba);
	length = htobe32(length);
	memcpy(cdb + 2, &lba, 8);
	memcpy(cdb + 10, &length, 4);
	return handler->handle_cmd(d, &t) ? c.sense[12] << 8 | c.sense[13] : 0;
}

static unsigned long long number(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }

int main(int argc, char **argv)
{
	static uint8_t b[1 << 20];
	uint32_t length;
	int i;
	void *so = dlopen(argv[1], RTLD_NOW);
	if (argc < 4 || !so) {
		fprintf(stderr, "%s\n", so ? "usage" : dlerror());
		return 1;
	}
	((int (*)(void))dlsym(so, "handler_init"))();
	struct tcmu_device d = { .config = argv[2], .size = strtoull(argv[3], NULL, 0) };
	if (handler->open(&d, false)) {
		puts("refused");
		return 0;
	}
	if (command(&d, 0x95, 0, sizeof b, b, sizeof b)) /* ZBC IN, REPORT ZONES */
		return 1;
	memcpy(&length, b, 4);
	for (i = 0; i < (int)(be32toh(length) / 64); i++) {
		uint8_t *z = b + 64 + 64 * i;
		printf("zone %d type %d condition %d reset %d length %llu start %llu wp %llu\n", i, z[0], z[1] >> 4, z[1] & 1, number(z + 8), number(z + 16), number(z + 24));
	}
	for (i = 4; i < argc; i++) { /* WRITE (16) */
		memset(b, 'w', d.block);
		printf("write %s: %04x\n", argv[i], command(&d, 0x8a, strtoull(argv[i], NULL, 0), 1, b, d.block));
	}
	handler->close(&d);
	return 0;
}
