#!/bin/sh
# namespaces: makes /dev/driveDnN a link to namespace N of drive D. D counts the controllers from 0 in the order of their
# PCI addresses, which is that of QEMU's command line, and then those of fabrics. The kernel's own numbers, nvme0n1, are
# given in the order in which it finds things, which since Linux 6.12 differs from boot to boot. Also makes the links of
# udev in /dev/disk/by-id. Prints nothing; run it again after nvme connect.
mkdir -p /dev/disk/by-id
rm -f /dev/drive* /dev/disk/by-id/nvme-*
d=0
for c in $(for c in /sys/class/nvme/nvme*; do [ -e "$c" ] && echo "$(cat "$c/address") $c"; done | sort | sed 's/.* //'); do
	id=$(echo $(cat "$c/model") $(cat "$c/serial") | tr ' ' _)
	for n in "$c"/nvme*n*; do
		[ -e "$n" ] || continue
		name=$(basename "$n" | sed 's/c[0-9]*n/n/') # a path of a multipath namespace is nvme0c1n1
		nsid=$(cat "$n/nsid")
		ln -s "$name" "/dev/drive${d}n$nsid"
		ln -s "../../$name" "/dev/disk/by-id/nvme-${id}_$nsid"
	done
	d=$((d + 1))
done
