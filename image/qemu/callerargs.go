package qemu

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// callerArgs are the QEMU arguments that zimg has to know of.
type callerArgs struct {
	paused bool   // -S: the caller starts the guest
	log    bool   // -d or -trace: QEMU logs for the caller
	file   string // -D: the log goes to this file, which QEMU finds from its own folder
	ownLog bool   // -d tid: there is a log for each thread
	// noReboot: the guest's reboot is to end the run. It must not apply to the resets
	// that zimg does itself.
	noReboot bool
	// stays: a machine that has shut down is the caller's, to be started again or ended.
	stays    bool
	panic    string // the action on a guest's panic, "" if none is given
	watchdog string // on the end of a watchdog's patience
	waits    bool   // a character device waits for its client before QEMU goes on
	machine  string // its type, "" if none is given
	expander bool   // there are more PCI root buses than one
}

// rootBus is the name of the PCI root bus of the machine, where a drive has to name it: a device without a bus would go to
// any root bus, and those that expanders add take only bridges. "" leaves the choice to QEMU.
func (c *callerArgs) rootBus() string {
	switch {
	case !c.expander:
		return ""
	case strings.Contains(c.machine, "q35"), strings.HasPrefix(c.machine, "virt"), c.machine == "microvm":
		return "pcie.0"
	}
	return "pci.0"
}

// withoutValue are QEMU's options that are not followed by a value.
var withoutValue = map[string]bool{
	"h": true, "help": true, "version": true, "S": true, "s": true, "nographic": true, "snapshot": true, "daemonize": true,
	"no-shutdown": true, "no-reboot": true, "no-user-config": true, "nodefaults": true, "enable-kvm": true,
	"full-screen": true, "no-quit": true, "win2k-hack": true, "no-hpet": true, "no-acpi": true, "no-fd-bootchk": true,
	"preconfig": true, "usb": true, "singlestep": true, "one-insn-per-tb": true, "mem-prealloc": true, "portrait": true,
	"curses": true, "sdl": true, "enable-sync-profile": true, "only-migratable": true, "alt-grab": true,
	"ctrl-grab": true, "show-cursor": true, "no-frame": true, "old-param": true, "semihosting": true, "localtime": true,
	"no-kvm": true, "enable-fips": true, "xen-domid-restrict": true, "nodefconfig": true,
}

// isQEMU reports whether a program is QEMU by its name.
func isQEMU(program string) bool {
	name := filepath.Base(program)
	return strings.HasPrefix(name, "qemu-system-") || name == "qemu-kvm" || name == "kvm"
}

// qemuArgs are the arguments of command that are QEMU's: those after the last word that is a QEMU, or after the
// first word if none is, which then is a wrapper that ends in QEMU itself.
func qemuArgs(command []string) []string {
	for i, word := range command {
		if isQEMU(word) {
			return command[i+1:]
		}
	}
	return command[1:]
}

// options calls yield with each option of a QEMU command line, without its dashes, and its value.
func options(args []string, yield func(name, value string) error) error {
	for i := 0; i < len(args); i++ {
		name := strings.TrimPrefix(strings.TrimPrefix(args[i], "-"), "-")
		if name == args[i] || name == "" {
			continue // a disk image, or nothing
		}
		value := ""
		if !withoutValue[name] && i+1 < len(args) {
			i++
			value = args[i]
		}
		if err := yield(name, value); err != nil {
			return err
		}
	}
	return nil
}

// parseCallerArgs looks through the caller's command. What contradicts what zimg does is refused; everything else
// is passed on as it is.
func parseCallerArgs(command []string) (callerArgs, error) {
	var c callerArgs
	err := options(qemuArgs(command), c.option)
	return c, err
}

func (c *callerArgs) option(name, value string) error {
	switch name {
	case "S":
		c.paused = true
	case "D":
		c.file = value
	case "d":
		c.log = true
		c.ownLog = c.ownLog || slices.Contains(splitCommas(value), "tid")
	case "trace":
		c.log = true
		for _, item := range splitCommas(value) {
			if file, ok := strings.CutPrefix(item, "file="); ok {
				c.file = file
			}
		}
	case "daemonize":
		return fmt.Errorf("-daemonize: zimg has to outlive QEMU to save the zones; put zimg itself in the background instead")
	case "snapshot":
		return fmt.Errorf("-snapshot does not apply to the drives of images; an ephemeral run throws away what the guest writes to them")
	case "qtest":
		return fmt.Errorf("-qtest: QEMU has one qtest socket, and zimg needs it")
	case "incoming", "loadvm":
		return fmt.Errorf("-%s: a machine that is resumed has the zones of its own past, not the image's", name)
	case "preconfig":
		return fmt.Errorf("-preconfig is not supported: QEMU creates drives only after its user continues")
	case "device":
		c.expander = c.expander || strings.HasPrefix(value, "pxb") || strings.Contains(value, "\"pxb")
	case "M", "machine":
		for i, item := range splitCommas(value) {
			if name, ok := strings.CutPrefix(item, "type="); ok || i == 0 && !strings.Contains(item, "=") {
				c.machine = name
			}
		}
	case "no-shutdown":
		c.stays = true
	case "no-reboot":
		c.noReboot = true
	case "watchdog-action":
		c.watchdog = value
	case "action":
		c.action(value)
	case "serial", "parallel", "monitor", "qmp", "qmp-pretty", "chardev", "gdb", "debugcon":
		c.waits = c.waits || waitsForClient(value)
	}
	return nil
}

// action reads the value of -action.
func (c *callerArgs) action(value string) {
	for _, item := range splitCommas(value) {
		event, action, _ := strings.Cut(item, "=")
		switch event {
		case "reboot":
			c.noReboot = action == "shutdown"
		case "shutdown":
			c.stays = action == "pause"
		case "panic":
			c.panic = action
		case "watchdog":
			c.watchdog = action
		}
	}
}

// waitsForClient reports whether a character device is a server that waits for its first client, which is what
// QEMU does with one by default. -qmp and the like do so in the same way.
func waitsForClient(value string) bool {
	items := splitCommas(value)
	has := func(words ...string) bool {
		return slices.ContainsFunc(items, func(item string) bool { return slices.Contains(words, item) })
	}
	return has("server", "server=on", "server=yes", "server=true") && !has("nowait", "wait=off", "wait=no", "wait=false")
}
