package qemu

import (
	"fmt"
	"strings"
)

// callerArgs are the QEMU arguments that zimg has to know of.
type callerArgs struct {
	paused bool // -S: the caller starts the guest
	log    bool // -D or -d: QEMU has one log file, and it is the caller's
	// noReboot: the guest's reboot is to end the run. It must not apply to the resets
	// that zimg does itself.
	noReboot bool
}

// parseCallerArgs looks through the caller's QEMU arguments. Those that
// contradict what zimg does are refused; all others are passed on as they are.
func parseCallerArgs(args []string) (callerArgs, error) {
	var c callerArgs
	for i, a := range args {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-") {
		case a: // no option
		case "S":
			c.paused = true
		case "D", "d":
			c.log = true
		case "daemonize":
			return c, fmt.Errorf("-daemonize: zimg has to outlive QEMU to save the zones; put zimg run itself in the background instead")
		case "snapshot":
			return c, fmt.Errorf("-snapshot does not cover the nodes of an image: run a copy instead (zimg convert IMAGE COPY)")
		case "no-shutdown":
			return c, fmt.Errorf("-no-shutdown: zimg ends QEMU when the guest has shut down and the zones are saved")
		case "qtest":
			return c, fmt.Errorf("-qtest: QEMU has one qtest socket, and zimg needs it")
		case "incoming", "loadvm":
			return c, fmt.Errorf("%s: a machine that is resumed has the zones of its own past, not the image's", a)
		case "no-reboot":
			c.noReboot = true
		case "action":
			if strings.Contains(value, "reboot=") {
				c.noReboot = strings.Contains(value, "reboot=shutdown")
			}
			if strings.Contains(value, "shutdown=") {
				return c, fmt.Errorf("-action %s: zimg needs shutdown=pause", value)
			}
		}
	}
	return c, nil
}
