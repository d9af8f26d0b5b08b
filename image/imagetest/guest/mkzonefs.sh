#!/bin/sh
# mkzonefs DEVICE: what mkzonefs of zonefs-tools does, which Debian 12 has no
# package of. The super block is always the same one; its zone is not for files.
set -e
blkzone reset "$1"
dd if=/usr/lib/zonefs.super of="$1" bs=4096 count=1 oflag=direct conv=notrunc,fsync 2>/dev/null
blkzone finish --count 1 "$1"
