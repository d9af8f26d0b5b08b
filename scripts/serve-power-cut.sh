#!/bin/sh
# The power of the drive and of its guest is cut while btrfs and f2fs are written, over NVMe/TCP: unflushed writes are dropped, torn
# or kept. After each cut the image has nothing to repair, and the next guest mounts both and finds every file that was synced.
#
#   scripts/serve-power-cut.sh [CUTS]     (default 6)
#
# The guest is that of the tests, see image/imagetest/guest. QEMU names another qemu-system-x86_64. A round takes a
# minute or two under processor emulation. SEED repeats the moments of an earlier run.
set -eu
cd "$(dirname "$0")/.."
cuts=${1:-6}
seed=${SEED:-$(date +%s)}
tmp=$(mktemp -d)
target= vm=
trap '[ -z "$target" ] || kill $target 2>/dev/null || :; [ -z "$vm" ] || kill -9 $vm 2>/dev/null || :; rm -rf "$tmp"' EXIT
go build -o "$tmp/zimg" ./cmd/zimg
go build -o "$tmp/guest" ./image/imagetest/guest/cmd/guest
zimg=$tmp/zimg
echo "seed $seed"

image=$tmp/d.zimg
"$zimg" create -q --ns zones=40,zone-size=16M --ns zones=200,zone-size=2M --ns type=nvm,size=128M "$image"
nqn=nqn.2026-01.org.example:cut
id=11111111-2222-3333-4444-555555555555

# script ROUND SYNCED: checks the files of SYNCED rounds, then writes and syncs until it is stopped.
script() {
	cat <<END
set -e
round=$1 synced=$2
modprobe e1000; modprobe nvme-tcp; modprobe btrfs; modprobe f2fs
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
nvme connect -t tcp -a 10.0.2.2 -s $port -n $nqn -I $id -q nqn.2014-08.org.nvmexpress:uuid:$id >/dev/null
until [ -b /dev/drive0n1 ] && [ -b /dev/drive0n2 ] && [ -b /dev/drive0n3 ]; do usleep 10000; namespaces; done
if [ \$round = 1 ]; then
	mkfs.btrfs -q -O zoned -d single -m single /dev/drive0n1
	mkfs.f2fs -q -f -m -c /dev/drive0n2 /dev/drive0n3
fi
mkdir /b /f; mount /dev/drive0n1 /b; mount -t f2fs /dev/drive0n3 /f
for d in /b /f; do
	i=0; while [ \$i -lt \$synced ]; do i=\$((i + 1)); yes "file \$i of \$d" | head -c 100000 | cmp - \$d/\$i; done
done
echo "## all \$synced are there"
while :; do
	synced=\$((synced + 1))
	for d in /b /f; do
		yes "file \$synced of \$d" | head -c 100000 >\$d/\$synced
		yes noise | head -c 200000 >\$d/noise.\$((synced % 10))
	done
	sync
	echo "## synced \$synced"
	for d in /b /f; do yes more | head -c 300000 >\$d/more.\$((synced % 10)); rm -f \$d/noise.\$(((synced + 5) % 10)); done
done
END
}

synced=0 round=0
while [ $round -lt "$cuts" ]; do
	round=$((round + 1))
	case $((round % 3)) in 0) fate=keep ;; 1) fate=drop ;; 2) fate=torn ;; esac
	# The cut comes at a random write after the guest has worked for a while.
	rm -f "$tmp/ready" && mkfifo "$tmp/ready"
	"$zimg" serve -q --listen 127.0.0.1:0 --ready-fd 3 --power-cut request --nqn $nqn "$image" 3>"$tmp/ready" 2>"$tmp/said" &
	target=$!
	read -r address <"$tmp/ready"
	port=${address##*:}
	script $round $synced >"$tmp/script"
	"$tmp/guest" args "$tmp/script" >"$tmp/args"
	set --
	while IFS= read -r arg; do set -- "$@" "$arg"; done <"$tmp/args"
	: >"$tmp/console"
	"${QEMU:-qemu-system-x86_64}" "$@" -m 768M -netdev user,id=net -device e1000,netdev=net </dev/null >"$tmp/console" 2>"$tmp/stderr" &
	vm=$!
	wanted=$((synced + 3))
	until grep -q "^## synced $wanted\$" "$tmp/console"; do
		kill -0 $vm 2>/dev/null || { cat "$tmp/console" "$tmp/stderr" "$tmp/said"; echo "round $round: the guest has ended" >&2; exit 1; }
		sleep 0.2
	done
	points=$(((seed * 7919 + round * 104729) % 60 + 1))
	random=
	[ "$fate" != torn ] || random="--seed $((seed + round))"
	"$zimg" power-cut --at write:$points --unflushed "$fate" $random "$image" >/dev/null
	wait $target && status=0 || status=$?
	target=
	kill -9 $vm
	wait $vm 2>/dev/null || :
	vm=
	synced=$(sed -n 's/^## synced \([0-9]*\)$/\1/p' "$tmp/console" | tail -n 1)
	"$zimg" check --data "$image" >"$tmp/check" 2>&1 && code=0 || code=$?
	case $code in 0 | 3) ;; *) cat "$tmp/check"; echo "round $round: check ends with $code" >&2; exit 1 ;; esac
	sed "s|$tmp/||g; s/^/   check $code: /" "$tmp/check" | head -n 5
	echo "cut $round, $fate, after $points more writes, exit $status: $synced rounds of files synced"
done
echo "all files that were synced were there after $((round - 1)) cuts"
