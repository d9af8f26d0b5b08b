#!/bin/sh
# The whole of the guest's user space: mount what programs expect, load the
# NVMe driver, run the script that QEMU was given, tell its exit status, power
# off. guest.go knows the two marker lines.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
stty -F /dev/ttyS0 -opost # else every \n of the script would come out as \r\n
dmesg -n 1                # kernel messages would end up amid the script's; dmesg shows them

# Loading nvme returns when the namespaces have been scanned.
modprobe qemu_fw_cfg
modprobe nvme
namespaces

printf '\n@@zimg-guest begin@@\n'
if cat /sys/firmware/qemu_fw_cfg/by_name/opt/zimg/script/raw >/tmp/script; then
	cd /tmp
	sh /tmp/script
	status=$?
else
	echo "no script: start QEMU with -fw_cfg name=opt/zimg/script,file=SCRIPT"
	status=127
fi
sync
printf '\n@@zimg-guest end %d@@\n' "$status"

# -f: there is no init to ask. The kernel still shuts the devices down, and with
# them the NVMe controllers, before the power goes.
poweroff -f
