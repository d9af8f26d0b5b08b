#!/bin/sh
# Restores and saves zones with each machine that a QEMU has, without a guest's operating system, and prints a line per
# machine: the zones must come out as they went in, and QEMU must not print a warning that it does not print without zimg.
# A QEMU with vfio-user (10.1 and later) is tried with zimg's own drive too.
#
#   scripts/qemu-matrix.sh [QEMU...]     qemu-system-x86_64, -aarch64, -arm and -riscv64 as far as they are installed
#
# QEMU may be a path or a wrapper: the machines are chosen by what "QEMU -machine help" lists.
set -eu
cd "$(dirname "$0")/.."
go build -o bin/zimg ./cmd/zimg
zimg=$PWD/bin/zimg
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
failed=0

# try QEMU DRIVE MACHINE [ARG...]
try() {
	qemu=$1 drive=$2 machine=$3
	shift 3
	rm -f m.zimg* bios
	"$zimg" create -q --zones 64 --zone-size 1M --max-open 4 --max-active 20 --descr-ext-size 64 m.zimg
	"$zimg" zone finish m.zimg 1-5 >/dev/null
	for z in 7 8 9 10 11 12; do head -c 300000 /dev/urandom | "$zimg" write --zone $z m.zimg - >/dev/null; done
	"$zimg" report -o csv m.zimg >before
	# zimg's own drive is in use before QEMU runs; there the firmware's messages show that it does.
	[ "$drive" = qemu ] || set -- "$@" -debugcon file:bios -global isa-debugcon.iobase=0x402
	# Two signals end it once it runs: the firmware has no power button.
	"$zimg" run --drive "$drive" m.zimg -- "$qemu" -machine "$machine" -nodefaults -display none -accel tcg -m 128M "$@" </dev/null >out 2>&1 &
	pid=$!
	until if [ "$drive" = qemu ]; then "$zimg" info -U m.zimg 2>/dev/null | grep -q 'state: in use'; else [ -s bios ]; fi || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
	while kill -0 $pid 2>/dev/null; do
		kill -TERM $pid 2>/dev/null || :
		sleep 0.4
	done
	wait $pid || :
	"$zimg" report -o csv m.zimg >after
	result=ok
	if ! cmp -s before after; then
		result='ZONES DIFFER'
	elif grep -q 'recovered' out; then
		result='RECOVERED, not saved'
	elif ! grep -q 'ask\|saving the zones' out; then
		result="not run: $(grep -v 'using the drive' out | head -n 1)"
	elif grep -v '^zimg: ' out | grep -qi warn; then
		# The same command without a drive: what that prints is not zimg's doing.
		timeout 2 "$qemu" -machine "$machine" -nodefaults -display none -accel tcg -m 128M "$@" </dev/null >plain 2>&1 || :
		grep -i warn out | grep -v '^zimg: ' | grep -vxFf plain >new || :
		[ ! -s new ] || result="WARNING: $(head -n 1 new)"
	fi
	[ "$result" = ok ] || failed=1
	version=$("$qemu" --version | sed -n '1s/QEMU emulator version \([^ ]*\).*/\1/p')
	printf '%-10s %-22s %-6s %-42s %s\n' "$version" "$(basename "$qemu")" "$drive" "$machine $*" "$result"
}

[ $# -gt 0 ] || set -- $(command -v qemu-system-x86_64 qemu-system-aarch64 qemu-system-arm qemu-system-riscv64 || :)
for qemu; do
	list=$("$qemu" -machine help)
	if printf '%s\n' "$list" | grep -q '^q35 '; then
		try "$qemu" qemu pc
		try "$qemu" qemu q35
		try "$qemu" qemu q35 -global nvme.mdts=1
		try "$qemu" qemu q35 -global nvme.zoned.auto_transition=off
		try "$qemu" qemu q35 -device pxb-pcie,id=pxb,bus_nr=64
		try "$qemu" qemu microvm,pcie=on
		if "$qemu" -device vfio-user-pci,help 2>/dev/null | grep -q socket; then
			try "$qemu" zimg pc
			try "$qemu" zimg q35
		fi
	elif printf '%s\n' "$list" | grep -q '^virt '; then
		try "$qemu" qemu virt
	fi
done
exit $failed
