package vm

import (
	"os"

	"zimg/image/qemu"
)

// guardName is what this program is called when it is started to guard a QEMU.
const guardName = "zimg-guard"

// guard starts this program under that name: the path, and then the arguments beginning with the name.
var guard = []string{"/proc/self/exe", guardName}

// Guard takes the program over if it was started to guard a QEMU, and never returns then. main calls it first.
func Guard() {
	if len(os.Args) == 1 && os.Args[0] == guardName {
		os.Exit(qemu.Guard())
	}
}
