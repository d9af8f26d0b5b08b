#!/bin/sh
# Restores and saves zones with each machine that a QEMU has, without a guest's operating system, and prints a line per
# machine: the zones must come out as they went in.
#
#   scripts/qemu-matrix.sh [QEMU...]     qemu-system-x86_64, -aarch64, -arm and -riscv64 as far as they are installed
#
# QEMU may be a path, or a wrapper of that name's end: the machines are chosen by what "QEMU -machine help" lists.
set -eu
cd "$(dirname "$0")/.."
go build -o bin/zimg ./cmd/zimg
zimg=$PWD/bin/zimg
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
failed=0

# try QEMU MACHINE [ARG...]
try() {
	qemu=$1 machine=$2
	shift 2
	rm -f m.zimg*
	"$zimg" create -q --zones 64 --zone-size 1M --max-open 4 --max-active 20 --descr-ext-size 64 m.zimg
	"$zimg" zone finish m.zimg 1-5 >/dev/null
	for z in 7 8 9 10 11 12; do head -c 300000 /dev/urandom | "$zimg" write --zone $z m.zimg - >/dev/null; done
	"$zimg" report -o csv m.zimg >before
	# Two signals end it once it runs: the firmware has no power button.
	"$zimg" run m.zimg -- "$qemu" -machine "$machine" -nodefaults -display none -accel tcg -m 128M "$@" </dev/null >out 2>&1 &
	pid=$!
	until "$zimg" info -U m.zimg | grep -q 'state: in use' || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
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
	elif ! grep -q 'saving the zones' out; then
		result="not run: $(head -n 1 out)"
	elif grep -v '^zimg: ' out | grep -qi warn; then
		result="ok, with a warning: $(grep -i warn out | head -n 1)"
	fi
	case $result in ok*) ;; *) failed=1 ;; esac
	printf '%-28s %-10s %-34s %s\n' "$("$qemu" --version | sed -n '1s/QEMU emulator version \([^ ]*\).*/\1/p')" "$(basename "$qemu")" "$machine $*" "$result"
}

[ $# -gt 0 ] || set -- $(command -v qemu-system-x86_64 qemu-system-aarch64 qemu-system-arm qemu-system-riscv64 || :)
for qemu; do
	list=$("$qemu" -machine help)
	if printf '%s\n' "$list" | grep -q '^q35 '; then
		try "$qemu" pc
		try "$qemu" q35
		try "$qemu" q35 -global nvme.mdts=1
		try "$qemu" q35 -global nvme.zoned.auto_transition=off
		try "$qemu" microvm,pcie=on
	elif printf '%s\n' "$list" | grep -q '^virt '; then
		try "$qemu" virt
	fi
done
exit $failed
