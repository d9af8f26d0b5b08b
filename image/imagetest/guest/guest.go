// Package guest boots a small Linux under QEMU, for tests that must see an
// image through the eyes of a real kernel.
//
// The guest is the distribution's own kernel with its modules, busybox and the
// programs for zoned devices (recipe.go lists them). It runs one shell script,
// which QEMU hands it, prints what the script prints on its serial console, and
// powers off in order. build.go puts it together, once; kernel.go, initrd.go
// and cpio.go are the parts of that; vm.go runs it; console.go reads it.
//
// It runs under tcg, QEMU's own processor emulation, everywhere: a /dev/kvm
// that is there need not work.
package guest

import (
	"context"
	"time"
)

// Timeout ends a guest whose context has no deadline.
const Timeout = 10 * time.Minute

// Guest is a guest that has been built.
type Guest struct {
	Kernel, Initrd string // paths

	// Command starts QEMU; the arguments are appended to it. Nil is
	// qemu-system-x86_64 itself. A wrapper's command line ends in QEMU's:
	// {"zimg", "run", "a.zimg", "--", "qemu-system-x86_64"}.
	Command []string
}

// Args are the arguments that every boot shares; a test adds its devices. The
// script is read once, when QEMU starts. The console is QEMU's stdin and stdout.
//
// Besides the script a test can hand over files of its own: what it gives as
// -fw_cfg name=opt/NAME,file=FILE is in the guest at
// /sys/firmware/qemu_fw_cfg/by_name/opt/NAME/raw.
func (g Guest) Args(script string) []string {
	return []string{
		"-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-accel", "tcg", "-m", "512M",
		"-kernel", g.Kernel, "-initrd", g.Initrd, "-append", kernelArgs,
		"-fw_cfg", "name=opt/zimg/script,file=" + script,
	}
}

// kernelArgs: a kernel that panics ends QEMU (with -no-reboot); the rest saves
// time on a processor that is emulated and a machine that nobody attacks. no_timer_check: at its start the kernel looks
// whether the timer ticks, and panics if it does not soon enough, as it does not on a host with other work.
const kernelArgs = "console=ttyS0 quiet panic=-1 nokaslr no_timer_check mitigations=off cryptomgr.notests=1 random.trust_cpu=on"

// Run boots the guest with Args and qemuArgs, has it run script and waits
// until all is over. The error says that QEMU, its wrapper or the guest did not
// come to a good end; how the script ended is Result.Status. The result is
// valid also with an error.
func (g Guest) Run(ctx context.Context, qemuArgs []string, script string) (Result, error) {
	vm, err := g.Start(ctx, qemuArgs, script)
	if err != nil {
		return Result{Status: -1}, err
	}
	return vm.Wait()
}
