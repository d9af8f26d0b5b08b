package guest

import "encoding/hex"

// bootSector is the guest of BootDisk.
//
//	        xor   ax, ax            31 c0
//	        mov   ds, ax            8e d8
//	        mov   dx, 0x602         ba 02 06      PM1 enable: the power button
//	        mov   ax, 0x100         b8 00 01
//	        out   dx, ax            ef
//	        mov   dx, 0x3fb         ba fb 03      line control: 8 bits
//	        mov   al, 3             b0 03
//	        out   dx, al            ee
//	        mov   si, 0x7c83        be 83 7c      "READY\n"
//	        mov   dx, 0x3f8         ba f8 03
//	print:  lodsb                   ac
//	        test  al, al            84 c0
//	        jz    loop              74 03
//	        out   dx, al            ee
//	        jmp   print             eb f8
//	loop:   sti                     fb
//	        hlt                     f4            until the next tick of the timer
//	        mov   dx, 0x3fd         ba fd 03      line status
//	        in    al, dx            ec
//	        test  al, 1             a8 01
//	        jz    button            74 2a
//	        mov   dx, 0x3f8         ba f8 03
//	        in    al, dx            ec
//	        mov   bl, al            88 c3
//	        mov   al, '<'           b0 3c
//	        out   dx, al            ee
//	        mov   al, bl            88 d8
//	        or    al, 0x40          0c 40
//	        out   dx, al            ee
//	        mov   al, '>'           b0 3e
//	        out   dx, al            ee
//	        cmp   bl, 'p'           80 fb 70
//	        je    panic             74 26
//	        cmp   bl, 'd'           80 fb 64
//	        je    debug             74 29
//	        cmp   bl, 'r'           80 fb 72
//	        je    reboot            74 2c
//	        cmp   bl, 'o'           80 fb 6f
//	        je    off               74 0e
//	        cmp   bl, 'i'           80 fb 69
//	        je    ignore            74 28
//	button: mov   dx, 0x600         ba 00 06      PM1 status
//	        in    ax, dx            ed
//	        test  ah, 1             f6 c4 01
//	        jz    loop              74 c3
//	off:    mov   dx, 0x604         ba 04 06      PM1 control: S5, sleep enable
//	        mov   ax, 0x2000        b8 00 20
//	        out   dx, ax            ef
//	        jmp   loop              eb ba
//	panic:  mov   dx, 0x505         ba 05 05
//	        mov   al, 1             b0 01
//	        out   dx, al            ee
//	        jmp   loop              eb b2
//	debug:  mov   dx, 0xf4          ba f4 00
//	        mov   al, 1             b0 01
//	        out   dx, al            ee
//	        jmp   loop              eb aa
//	reboot: mov   al, 0xfe          b0 fe         keyboard controller: reset
//	        out   0x64, al          e6 64
//	        jmp   loop              eb a4
//	ignore: mov   dx, 0x602         ba 02 06
//	        xor   ax, ax            31 c0
//	        out   dx, ax            ef
//	        jmp   loop              eb 9c
const bootSector = "31c08ed8ba0206b80001efbafb03b003eebe837cbaf803ac84c07403eeebf8fbf4bafd03eca801742abaf803ec88c3b03cee" +
	"88d80c40eeb03eee80fb70742680fb64742980fb72742c80fb6f740e80fb697428ba0006edf6c40174c3ba0406b80020efeb" +
	"baba0505b001eeebb2baf400b001eeebaab0fee664eba4ba020631c0efeb9c52454144590a00"

// BootDisk is a disk image with nothing but a small guest in its boot sector, for tests of what surrounds a guest: it
// is up in a second, on the machines pc and q35. It prints READY on the first serial line, and <x> for each x that it
// reads there, control characters as letters: <C> for Ctrl-C. The power button powers it off. Some letters do more: o
// powers off, r reboots, i has it ignore the power button, p is a panic (with -device pvpanic), d exits (with -device
// isa-debug-exit,iobase=0xf4).
func BootDisk() []byte {
	disk := make([]byte, 64<<10)
	code, err := hex.DecodeString(bootSector)
	if err != nil {
		panic(err) // a constant
	}
	copy(disk, code)
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}
