#!/usr/bin/env python3
"""A second opinion: reads zimg images by docs/FORMAT.md alone.

    zimgread.py FILE...

prints one line of JSON for each FILE: {"file", "verdict", "generation", "zones"}, or
{"file", "verdict": "refuse", "rule", "why"}. It was written from the document, not from zimg's
code, so that a difference between the two is a fault of one of them. It needs
nothing but Python's standard library. The rule is the number in section 15.
"""
import json
import os
import stat
import struct
import sys

BLOCK = 4096
MIB = 1 << 20
HEADER_MAGIC = b"\x89ZIMG\r\n\x1a"
LOCATOR_MAGIC = b"\x89ZIML\r\n\x1a"
NO_LIMIT = 0xFFFFFFFF
NO_WP = (1 << 64) - 1
STATES = {0x1: 0, 0x2: 1, 0x3: 2, 0x4: 3, 0xE: 4, 0xD: 5, 0xF: 6, 0x0: 7}


def make_table():
    table = []
    for n in range(256):
        c = n
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
        table.append(c)
    return table


TABLE = make_table()
ZERO_BLOCK = bytes(BLOCK)


def crc(data, cache={}):
    if data in cache:
        return cache[data]
    c = 0xFFFFFFFF
    for byte in data:
        c = (c >> 8) ^ TABLE[(c ^ byte) & 0xFF]
    c ^= 0xFFFFFFFF
    if len(cache) < 4096:
        cache[data] = c
    return c


class Refuse(Exception):
    def __init__(self, rule, why):
        super().__init__(why)
        self.rule = rule


def need(condition, rule, why):
    if not condition:
        raise Refuse(rule, why)


def u16(b, o):
    return struct.unpack_from("<H", b, o)[0]


def u32(b, o):
    return struct.unpack_from("<I", b, o)[0]


def u64(b, o):
    return struct.unpack_from("<Q", b, o)[0]


def up(n, align):
    return (n + align - 1) // align * align


def text(b, rule, what):
    s = b.split(b"\0", 1)[0]
    need(not any(b[len(s):]), rule, what + ": bytes after the padding begins")
    try:
        return s.decode("utf-8")
    except UnicodeDecodeError:
        raise Refuse(rule, what + ": not UTF-8") from None


class File:
    def __init__(self, path):
        self.path = path
        self.f = open(path, "rb")
        self.size = os.fstat(self.f.fileno()).st_size

    def read(self, off, length, rule):
        need(0 <= off and off + length <= self.size, rule, f"bytes {off}+{length} are beyond the end")
        self.f.seek(off)
        return self.f.read(length)


def locator(f):
    """Section 3. The fields of the locator of f."""
    need(f.size >= BLOCK, 1, "shorter than a locator")
    off = f.size - BLOCK
    b = f.read(off, BLOCK, 1)
    need(b[:8] == LOCATOR_MAGIC, 1, "no locator")
    need(crc(b[:4092]) == u32(b, 4092), 2, "locator CRC")
    need(u32(b, 8) >= 1, 4, "locator version 0")
    need(u32(b, 8) == 1, 3, "locator version")
    layout, meta, slot = u32(b, 12), u64(b, 32), u64(b, 40)
    need(layout in (1, 2), 4, "locator layout")
    need(meta <= 1 << 61 and meta % MIB == 0 and (layout == 1 or meta == 0), 4, "locator metadata offset")
    need(0 < slot <= 1 << 60 and slot % BLOCK == 0, 4, "locator slot length")
    need(meta + 2 * slot + BLOCK == f.size, 5, "locator is not where it says that the file ends")
    need(not any(b[48:4092]), 6, "locator reserved bytes")
    return {"layout": layout, "uuid": b[16:32], "meta": meta, "slot": slot}


def header(f, off):
    """Section 4.1."""
    b = f.read(off, BLOCK, 7)
    need(b[:8] == HEADER_MAGIC, 7, "no slot header")
    length = u32(b, 80)
    need(BLOCK <= length <= 20480 and length % BLOCK == 0, 8, "header length")
    b = f.read(off, length, 8)
    need(crc(b[:508] + bytes(4) + b[512:]) == u32(b, 508), 8, "header CRC")
    need(u32(b, 8) >= 1, 11, "version 0")
    need(u32(b, 8) == 1, 9, "version")
    need(u32(b, 20) == 0, 10, "incompatible features")
    h = {
        "uuid": b[24:40], "generation": u64(b, 40), "layout": u32(b, 48), "flags": u32(b, 52), "number": u32(b, 56),
        "namespaces": u32(b, 60), "meta": u64(b, 64), "slot": u64(b, 72), "length": length, "files": u32(b, 84),
        "array": u64(b, 88), "sums": u64(b, 96), "array_crc": u32(b, 104), "table": u64(b, 112), "data": u64(b, 120),
    }
    n = h["namespaces"]
    need(1 <= h["generation"] <= 1 << 63, 11, "generation")
    need(h["layout"] in (1, 2), 11, "layout")
    need(h["flags"] in (0, 1, 2), 11, "state flags")
    need(h["number"] in (0, 1), 11, "slot number")
    need(1 <= n <= 256 and up(512 + 64 * n, BLOCK) == length, 11, "namespace count")
    need(h["meta"] <= 1 << 61 and h["meta"] % MIB == 0, 11, "metadata offset")
    need(0 < h["slot"] <= 1 << 60 and h["slot"] % BLOCK == 0, 11, "slot length")
    need(h["files"] == 1 or h["layout"] == 2 and h["files"] == n, 11, "data files")
    need(u32(b, 188) in (0, 1), 11, "session kind")
    need(h["data"] < 1 << 63, 11, "data length")
    text(b[192:224], 12, "tool")
    text(b[224:352], 12, "label")
    for a, z in ((108, 112), (352, 508), (512 + 64 * n, length)):
        need(not any(b[a:z]), 6, f"header reserved bytes {a} to {z}")
    need(h["meta"] + h["number"] * h["slot"] == off, 13, "a slot that is not where it says")
    need(off + h["slot"] <= f.size, 13, "a slot that ends beyond the file")
    h["counts"] = [[u64(b, 512 + 64 * i + 8 * j) for j in range(8)] for i in range(n)]
    return h


def file_name(name):
    need(name not in (".", "..") and "/" not in name and "\\" not in name, 17, "data file name leads elsewhere")
    need(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name), 17, "data file name has control characters")


def entry(b):
    """Section 4.3."""
    e = {
        "id": u32(b, 0), "csi": b[4], "bits": b[5], "ms": u16(b, 6), "pi": b[8], "pif": b[9], "flags": b[10], "zdes": b[11], "file": u32(b, 12),
        "off": u64(b, 16), "len": u64(b, 24), "blocks": u64(b, 32), "zones": u64(b, 40), "size": u64(b, 48), "cap": u64(b, 56),
        "mar": u32(b, 64), "mor": u32(b, 68), "zrwas": u32(b, 72), "fg": u32(b, 76), "nz": u32(b, 80),
        "desc": u64(b, 88), "wp": u64(b, 96), "ext": u64(b, 104),
    }
    e["name"] = text(b[256:512], 17, "data file name")
    if e["name"]:
        file_name(e["name"])
    need(not any(b[84:88]) and not any(b[152:256]) and e["flags"] & ~7 == 0, 6, "namespace reserved bits")
    need(1 <= e["id"] <= 0xFFFFFFFE, 16, "NSID")
    need(e["csi"] in (0, 2), 16, "command set")
    need(9 <= e["bits"] <= 16, 16, "block bits")
    need(e["pi"] <= 3 and e["pif"] in (0, 2), 16, "PI")
    need(not e["pi"] or e["ms"] >= (8 if e["pif"] == 0 else 16), 16, "PI without room")
    need(1 <= e["blocks"] <= (1 << 61) >> e["bits"], 16, "blocks")
    if e["csi"] == 0:
        need(not any(e[k] for k in ("zones", "size", "cap", "zdes", "mar", "mor", "zrwas", "fg", "nz")) and not e["flags"] & 4, 16, "zone fields without zones")
        return e
    need(e["zones"] and e["size"] and e["zones"] <= 1 << 32 and e["zones"] * e["size"] == e["blocks"], 16, "zones")
    need(1 <= e["cap"] <= e["size"], 16, "zone capacity")
    need(e["mar"] == NO_LIMIT or e["mor"] <= e["mar"], 16, "MOR above MAR")
    if e["zrwas"] == 0:
        need(e["fg"] == 0 and e["nz"] == 0, 16, "ZRWA")
    else:
        need(e["fg"] and e["zrwas"] % e["fg"] == 0 and e["zrwas"] <= e["cap"], 16, "ZRWA")
        need(e["mar"] == NO_LIMIT or e["nz"] <= e["mar"] + 1, 16, "NUMZRWA above MAR")
    return e


def place(layout, entries):
    """Sections 1 and 4: where everything must be."""
    data, zones, ids = [], 0, set()
    off = up(512 * len(entries), BLOCK)
    tables = []
    for e in entries:
        need(e["id"] not in ids, 16, "an NSID twice")
        ids.add(e["id"])
        zones += e["zones"]
        need(zones <= 1 << 32, 16, "too many zones")
        need(e["file"] < len(data) or e["file"] == len(data), 18, "data files out of order")
        need(e["file"] == len(data) or e["file"] == 0, 18, "data files out of order")
        if e["file"] == len(data):
            data.append(0)
        start = up(data[e["file"]], MIB)
        length = up(e["blocks"] * ((1 << e["bits"]) + e["ms"]), 512)
        need(start + length <= 1 << 61, 16, "data area too large")
        need(e["off"] == start and e["len"] == length, 18, "place of the data")
        data[e["file"]] = start + length
        t = {"desc": 0, "wp": 0, "ext": 0}
        if e["zones"]:
            for key, each in (("desc", 64), ("wp", 8), ("ext", 64 * e["zdes"])):
                if each:
                    t[key] = off
                    off += up(e["zones"] * each, BLOCK)
        tables.append(t)
    need(len(data) == 1 or len(data) == len(entries), 18, "data files")
    names = {}
    for e in entries:
        need(layout == 2 or not e["name"], 17, "a data file name in layout 1")
        need(names.setdefault(e["file"], e["name"]) == e["name"], 17, "one data file with two names")
    if len(data) > 1:
        need(all(names.values()) and len(set(names.values())) == len(data), 17, "data files without a name of their own")
    sums = off // BLOCK
    head = up(512 + 64 * len(entries), BLOCK)
    table = head + up(4 * sums, BLOCK)
    for e, t in zip(entries, tables):
        for key in t:
            want = t[key] + table if t[key] else 0
            need(e[key] == want, 18, "place of a table")
    return {
        "data": data, "array": head, "sums": sums, "table": table, "slot": table + off,
        "meta": up(data[0], MIB) if layout == 1 else 0, "names": [names[i] for i in range(len(data))],
    }


def slot(f, off):
    """Section 4: a sound slot, or a refusal."""
    h = header(f, off)
    # Compare what a slot of this length can have before anything of that length is read.
    need(h["array"] == h["length"], 14, "checksum array offset")
    need(h["sums"] <= h["slot"] // BLOCK and h["table"] == h["array"] + up(4 * h["sums"], BLOCK), 14, "namespace table offset")
    need(h["table"] + h["sums"] * BLOCK == h["slot"], 14, "checksum count")
    array = f.read(off + h["array"], up(4 * h["sums"], BLOCK), 14)
    need(crc(array) == h["array_crc"], 14, "checksum array CRC")
    need(not any(array[4 * h["sums"]:]), 6, "checksum array padding")
    n = up(512 * h["namespaces"], BLOCK)
    need(n <= h["sums"] * BLOCK, 14, "checksum count")
    b = f.read(off + h["table"], n, 15)
    for k in range(n // BLOCK):
        need(crc(b[k * BLOCK:(k + 1) * BLOCK]) == u32(array, 4 * k), 15, "namespace table checksum")
    need(not any(b[512 * h["namespaces"]:]), 6, "namespace table padding")
    entries = [entry(b[512 * i:512 * i + 512]) for i in range(h["namespaces"])]
    p = place(h["layout"], entries)
    need((h["array"], h["sums"], h["table"], h["slot"], h["meta"]) == (p["array"], p["sums"], p["table"], p["slot"], p["meta"]), 18, "placement")
    need(h["files"] == len(p["data"]) and h["data"] == (p["data"][0] if len(p["data"]) == 1 else 0), 18, "data files or data length")
    for e, c in zip(entries, h["counts"]):
        need(sum(c) == e["zones"], 19, "counts do not add up")
    return {"h": h, "entries": entries, "plan": p, "array": array, "off": off}


def newest(f, loc):
    """Section 7: of the two slots the sound one with the higher generation."""
    good, why = [], None
    for i in range(2):
        try:
            good.append(slot(f, loc["meta"] + i * loc["slot"]))
        except Refuse as r:
            why = why or r
            if r.rule in (9, 10):
                why = r
    if not good:
        raise why
    if len(good) == 2 and good[0]["h"]["uuid"] != good[1]["h"]["uuid"]:
        good = [s for s in good if s["h"]["uuid"] == loc["uuid"]] or good[:1]
    s = good[1] if len(good) == 2 and good[1]["h"]["generation"] > good[0]["h"]["generation"] else good[0]
    need(s["h"]["uuid"] == loc["uuid"] and s["h"]["meta"] == loc["meta"] and s["h"]["slot"] == loc["slot"], 20, "locator and slots disagree")
    need(s["h"]["layout"] == loc["layout"], 20, "locator and slots disagree on the layout")
    return s


def zones(f, s):
    """Sections 5 and 6: every zone, with blocks checked against the array."""
    out = []

    def table(off, length):
        b = f.read(s["off"] + off, up(length, BLOCK), 21)
        first = (off - s["h"]["table"]) // BLOCK
        for k in range(len(b) // BLOCK):
            need(crc(b[k * BLOCK:(k + 1) * BLOCK]) == u32(s["array"], 4 * (first + k)), 21, "block checksum")
        return b

    for e in s["entries"]:
        if not e["zones"]:
            continue
        d, w = table(e["desc"], 64 * e["zones"]), table(e["wp"], 8 * e["zones"])
        for i in range(e["zones"]):
            z = d[64 * i:64 * i + 64]
            out.append([e["id"], i, z[0], z[1] >> 4, z[2], z[3], u64(z, 8), u64(z, 16), u64(z, 24), u64(w, 8 * i)])
    return out


def own_file(directory, name, sidecar):
    path = os.path.join(directory, name)
    need(name != os.path.basename(sidecar), 22, "a sidecar that is its own data file")
    try:
        mode = os.lstat(path).st_mode
    except OSError as err:
        raise Refuse(22, f"data file: {err}") from None
    need(stat.S_ISREG(mode), 22, "a data file that is not a regular file")
    return File(path)


def covers(f, size):
    """Rule 2 of section 2: f has a sound slot of a sidecar whose one data file has that size."""
    places = {0}
    for find in (locator, lambda f: header(f, 0)):
        try:
            places.add(find(f)["slot"])
        except Refuse:
            pass
    for off in places:
        try:
            s = slot(f, off)
        except Refuse:
            continue
        if s["h"]["layout"] == 2 and s["h"]["files"] == 1 and s["plan"]["data"][0] == size:
            return True
    return False


def read(path):
    """Section 2: which files, then the rest."""
    f = File(path)
    loc = why = None
    try:
        loc = locator(f)
    except Refuse as r:
        why = r
    beside = path + ".zmeta"
    trailing = loc is not None and loc["layout"] == 1
    is_file = os.path.isfile(beside) and not os.path.islink(beside)
    if trailing and not (is_file and covers(File(beside), f.size)):
        s, data = newest(f, loc), [f]
    elif os.path.islink(beside):
        raise Refuse(22, "the sidecar is a symbolic link")
    elif is_file:
        meta = File(beside)
        s = newest(meta, locator(meta))
        data, f = [f], meta
    else:
        if not loc:
            raise why
        s = newest(f, loc)
        directory = os.path.dirname(path)
        names = s["plan"]["names"]
        if len(names) == 1 and path.endswith(".zmeta") and (os.path.lexists(path[:-6]) or not names[0]):
            names = [os.path.basename(path)[:-6]]
        data = [own_file(directory, n, path) for n in names]
    for d, want in zip(data, s["plan"]["data"]):
        need(d.size >= want, 23, "a data file shorter than its data area")
    return {"verdict": "accept", "generation": s["h"]["generation"], "zones": zones(f, s)}


def main():
    for path in sys.argv[1:]:
        try:
            answer = read(path)
        except Refuse as r:
            answer = {"verdict": "refuse", "rule": r.rule, "why": str(r)}
        print(json.dumps({"file": path, **answer}))


if __name__ == "__main__":
    main()
