package vfiouser

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zimg/image/drive"
	"zimg/image/imagetest"
)

var ways = map[string]sharing{"shared": shared, "socket": socket, "socket of QEMU 10.1": socketOld, "private": private}

// What QEMU asks at its start, and the configuration space that Linux and firmware look for.
func TestDevice(t *testing.T) {
	t.Parallel()
	c := connect(t, newDrive(t), shared)
	if got := c.ask(cmdGetInfo, nil, u32s(16, 0, 0, 0)); !bytes.Equal(got, u32s(16, 3, 9, 5)) {
		t.Errorf("device info % x", got)
	}
	sizes := []uint64{barLen, 0, 0, 0, 0, 0, 0, configLen, 0}
	for i, want := range sizes {
		got := c.ask(cmdRegionInfo, nil, u32s(32, 0, uint32(i), 0, 0, 0, 0, 0))
		if size := le.Uint64(got[16:]); size != want || len(got) != 32 {
			t.Errorf("region %d has %d bytes, want %d", i, size, want)
		}
	}
	if m := c.request(cmdIRQInfo, nil, u32s(16, 0, 3, 0)); m.flags&flagError == 0 {
		t.Error("the error interrupt is not refused")
	}
	if got := c.ask(cmdIRQInfo, nil, u32s(16, 0, irqMSIX, 0)); !bytes.Equal(got, u32s(16, 1, irqMSIX, defaultIOQueues+1)) {
		t.Errorf("MSI-X info % x", got)
	}
	config := c.readRegion(regionConfig, 0, configLen)
	if !bytes.Equal(config[9:12], []byte{2, 8, 1}) || config[0x34] != 0x40 || config[0x40] != 0x11 || le.Uint16(config[0x42:]) != defaultIOQueues {
		t.Errorf("configuration space % x", config)
	}
	// BARs and the ROM's address are the monitor's own; the command register is passed on.
	for _, w := range []struct {
		off        uint64
		write, got []byte
	}{
		{0x10, []byte{0xF0, 0xFF, 0xFF, 0xFF}, []byte{4, 0, 0, 0}},
		{0x30, []byte{0x00, 0xF8, 0xFF, 0xFF}, []byte{0, 0, 0, 0}},
		{0x04, []byte{0x07, 0x05}, []byte{0x07, 0x05}},
	} {
		c.ask(cmdRegionWrite, nil, access(regionConfig, w.off, len(w.write)), w.write)
		if got := c.readRegion(regionConfig, w.off, len(w.write)); !bytes.Equal(got, w.got) {
			t.Errorf("configuration space at %#x: % x, want % x", w.off, got, w.got)
		}
	}
}

// A guest identifies the drive, writes a zone and reads it back, however its memory is reached: by PRP
// lists, by pages, from the middle of a page on.
func TestReadWrite(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, newDrive(t), how)
			c.enable()
			admin := adminQueue()
			identify := command(6, 0, buffer+0x800, buffer+0x1000)
			le.PutUint32(identify[40:], 1)
			if _, st := c.do(admin, identify); !st.OK() {
				t.Fatalf("identify: %v", st)
			}
			if got := string(c.ram[buffer+0x800+24:][:4]); got != "zimg" {
				t.Errorf("model %q", got)
			}
			q := c.createIO(admin)
			id := c.plainNamespace(admin)
			want := make([]byte, 8*4096)
			rand.NewChaCha8([32]byte{1}).Read(want) //nolint:errcheck // it never fails
			const from = buffer + 0x200             // the first page of the data begins within a page
			copy(c.ram[from:], want)
			for i := range 9 {
				le.PutUint64(c.ram[listPage+0xFF0+8*i:], uint64(buffer+(i+1)*4096))
			}
			// The list has two entries in its page: the second leads to the rest of the list.
			le.PutUint64(c.ram[listPage+0xFF8:], listPage+0x2000)
			for i := range 8 {
				le.PutUint64(c.ram[listPage+0x2000+8*i:], uint64(buffer+(i+2)*4096))
			}
			blocks := len(want) / c.blockSize(admin, id)
			if _, st := c.do(q, ioCommand(1, id, from, listPage+0xFF0, 0, blocks)); !st.OK() {
				t.Fatalf("write: %v", st)
			}
			clear(c.ram[buffer : buffer+len(want)+4096])
			if _, st := c.do(q, ioCommand(2, id, from, listPage+0xFF0, 0, blocks)); !st.OK() {
				t.Fatalf("read: %v", st)
			}
			if !bytes.Equal(c.ram[from:from+len(want)], want) {
				t.Error("what was read is not what was written")
			}
			if how != shared && c.dmas == 0 {
				t.Error("nothing went through the socket")
			}
		})
	}
}

// plainNamespace is the first namespace that can be written anywhere.
func (c *client) plainNamespace(admin *queue) uint32 {
	c.t.Helper()
	list := command(6, 0, buffer, 0)
	le.PutUint32(list[40:], 7)
	if _, st := c.do(admin, list); !st.OK() {
		c.t.Fatalf("namespaces: %v", st)
	}
	return le.Uint32(c.ram[buffer:])
}

func (c *client) blockSize(admin *queue, id uint32) int {
	c.t.Helper()
	if _, st := c.do(admin, command(6, id, listPage+0x4000, 0)); !st.OK() {
		c.t.Fatalf("identify namespace: %v", st)
	}
	b := c.ram[listPage+0x4000:]
	return 1 << b[128+4*int(b[26]&15)+2]
}

// A completion interrupts the host by the eventfd of the queue's vector.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	c := connect(t, newDrive(t), shared)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	c.ask(cmdSetIRQs, []int{fd}, u32s(24, irqDataEventFD|irqTrigger, irqMSIX, 0, 1))
	c.enable()
	c.plainNamespace(adminQueue())
	var n [8]byte
	c.until("interrupt", func() bool { got, err := unix.Read(fd, n[:]); return err == nil && got == 8 })
	c.ask(cmdSetIRQs, nil, u32s(20, irqDataNone|irqTrigger, irqMSIX, 0, 0))
	if m := c.request(cmdSetIRQs, nil, u32s(20, irqDataEventFD|irqTrigger, irqMSIX, 4000, 1)); m.flags&flagError == 0 {
		t.Error("a vector beyond the last is taken")
	}
}

// Commands about queues are judged as the specification says.
func TestQueueCommands(t *testing.T) {
	t.Parallel()
	c := connect(t, newDrive(t), shared)
	c.enable()
	admin := adminQueue()
	queueCmd := func(op uint8, base uint64, dw10, dw11 uint32) *drive.Command {
		cmd := command(op, 0, base, 0)
		le.PutUint32(cmd[40:], dw10)
		le.PutUint32(cmd[44:], dw11)
		return cmd
	}
	for _, tt := range []struct {
		name string
		cmd  *drive.Command
		want drive.Status
	}{
		{"CQ 0", queueCmd(opCreateCQ, ioCQ, 15<<16, 1), invalidQueueID},
		{"CQ beyond the last", queueCmd(opCreateCQ, ioCQ, 15<<16|63, 1), invalidQueueID},
		{"CQ of one entry", queueCmd(opCreateCQ, ioCQ, 1, 1), invalidSize},
		{"CQ too long", queueCmd(opCreateCQ, ioCQ, 0xFFFF<<16|1, 1), invalidSize},
		{"CQ in pieces", queueCmd(opCreateCQ, ioCQ, 15<<16|1, 0), drive.InvalidField},
		{"CQ within a page", queueCmd(opCreateCQ, ioCQ+8, 15<<16|1, 1), invalidPRP},
		{"CQ with a vector that is not", queueCmd(opCreateCQ, ioCQ, 15<<16|1, 100<<16|3), invalidVector},
		{"CQ", queueCmd(opCreateCQ, ioCQ, 15<<16|1, 1<<16|3), drive.Success},
		{"CQ again", queueCmd(opCreateCQ, ioCQ, 15<<16|1, 1<<16|3), invalidQueueID},
		{"SQ without its CQ", queueCmd(opCreateSQ, ioSQ, 15<<16|1, 2<<16|1), invalidCQ},
		{"SQ on the admin CQ", queueCmd(opCreateSQ, ioSQ, 15<<16|1, 1), invalidCQ},
		{"SQ", queueCmd(opCreateSQ, ioSQ, 15<<16|1, 1<<16|1), drive.Success},
		{"delete a CQ in use", queueCmd(opDeleteCQ, 0, 1, 0), invalidDeletion},
		{"delete SQ", queueCmd(opDeleteSQ, 0, 1, 0), drive.Success},
		{"delete SQ again", queueCmd(opDeleteSQ, 0, 1, 0), invalidQueueID},
		{"delete the admin SQ", queueCmd(opDeleteSQ, 0, 0, 0), invalidQueueID},
		{"delete CQ", queueCmd(opDeleteCQ, 0, 1, 0), drive.Success},
		{"doorbell buffers", queueCmd(0x7C, 0x5000, 0, 0), drive.InvalidOpcode},
	} {
		if _, st := c.do(admin, tt.cmd); st != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, st, tt.want)
		}
	}
}

// Bad pointers end the command, and nothing else.
func TestBadPointers(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, newDrive(t), how)
			c.enable()
			admin := adminQueue()
			q := c.createIO(admin)
			id := c.plainNamespace(admin)
			blocks := 8 * 4096 / c.blockSize(admin, id)
			for i := range 512 {
				le.PutUint64(c.ram[listPage+8*i:], 1<<40) // nowhere
			}
			le.PutUint64(c.ram[listPage+0x1FF8:], listPage+0x1FF8) // a list that leads to itself
			for _, tt := range []struct {
				name string
				cmd  *drive.Command
				want drive.Status
			}{
				{"no memory", ioCommand(2, id, 1<<40, 1<<41, 0, blocks), drive.DataTransferError},
				{"beyond the end", ioCommand(1, id, guestRAM-4096, guestRAM, 0, blocks), drive.DataTransferError},
				{"a list of addresses that are not", ioCommand(1, id, buffer, listPage, 0, blocks), drive.DataTransferError},
				{"a list that leads to itself", ioCommand(1, id, buffer, listPage+0x1FF8, 0, blocks), invalidPRP},
				{"an odd address", ioCommand(1, id, buffer+1, buffer, 0, blocks), invalidPRP},
				{"an odd list", ioCommand(1, id, buffer, listPage+4, 0, blocks), invalidPRP},
			} {
				if _, st := c.do(q, tt.cmd); st != tt.want {
					t.Errorf("%s: %v, want %v", tt.name, st, tt.want)
				}
			}
			sgl := ioCommand(2, id, buffer, 0, 0, 1)
			sgl[1] = 0x40
			if _, st := c.do(q, sgl); st != drive.InvalidField {
				t.Errorf("SGL: %v", st)
			}
		})
	}
}

// A file that has become shorter than its mapping faults; the command ends, and the process lives.
func TestMemoryTakenAway(t *testing.T) {
	t.Parallel()
	c := connect(t, newDrive(t), shared)
	fd, err := unix.MemfdCreate("more", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 1<<20); err != nil {
		t.Fatal(err)
	}
	b := u32s(32, 3)
	for _, v := range []uint64{0, guestRAM, 1 << 20} {
		b = le.AppendUint64(b, v)
	}
	c.ask(cmdDMAMap, []int{fd}, b)
	if m := c.request(cmdDMAMap, []int{fd}, b); m.flags&flagError == 0 {
		t.Error("a range is mapped twice")
	}
	c.enable()
	admin := adminQueue()
	q := c.createIO(admin)
	id := c.plainNamespace(admin)
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	for _, op := range []uint8{1, 2} {
		if _, st := c.do(q, ioCommand(op, id, guestRAM, 0, 0, 1)); st != drive.DataTransferError {
			t.Errorf("opcode %d: %v", op, st)
		}
	}
	if _, st := c.do(q, ioCommand(1, id, buffer, 0, 0, 1)); !st.OK() {
		t.Errorf("a write after it: %v", st)
	}
}

// Resets under load, of the controller and of the function, are answered at once, and the
// drive works after each. Nothing is written to guest memory by a command of before.
func TestResetUnderLoad(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(imagetest.Seed(t), 0))
	for name, how := range ways {
		r := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, newDrive(t), how)
			for round := range 20 {
				c.enable()
				admin := adminQueue()
				q := c.createIO(admin)
				id := c.plainNamespace(admin)
				for range r.IntN(ioEntries - 1) {
					c.submit(q, ioCommand(uint8(1+r.IntN(2)), id, buffer, buffer+4096, 0, 8192/512))
				}
				if round%2 == 0 {
					c.ask(cmdReset, nil)
				} else {
					c.setRegister(regCC, 0x460060)
				}
				c.until("CSTS.RDY to fall", func() bool { return c.register(0x1C)&1 == 0 })
				// What QEMU does then: it takes memory away and brings it back.
				b := u32s(24, 0)
				b = le.AppendUint64(le.AppendUint64(b, 0), guestRAM)
				c.ask(cmdDMAUnmap, nil, b)
				c.mapRAM()
			}
		})
	}
}

// A monitor that is killed in the middle of everything ends the session.
func TestHangUp(t *testing.T) {
	t.Parallel()
	for range 10 {
		c := connect(t, newDrive(t), socket)
		c.enable()
		admin := adminQueue()
		q := c.createIO(admin)
		id := c.plainNamespace(admin)
		for range 8 {
			c.submit(q, ioCommand(1, id, buffer, buffer+4096, 0, 8192/512))
		}
		_ = c.w.conn.Close()
	}
}

// Whatever a client sends, Serve ends when it hangs up, without a panic.
func FuzzMessages(f *testing.F) {
	add := func(command uint16, payload ...[]byte) []byte {
		b := make([]byte, headerLen)
		le.PutUint16(b[2:], command)
		for _, p := range payload {
			b = append(b, p...)
		}
		le.PutUint32(b[4:], uint32(len(b)))
		return b
	}
	version := add(cmdVersion, u32s(0), []byte("{}\x00"))
	enable := append(add(cmdRegionWrite, access(regionBAR0, regAQA, 4), u32s(7<<16|7)), add(cmdRegionWrite, access(regionBAR0, regCC, 4), u32s(0x460061))...)
	f.Add(append(version, enable...))
	f.Add(append(enable, add(cmdRegionWrite, access(regionBAR0, barDoorbells, 4), u32s(3))...))
	f.Add(add(cmdDMAMap, u32s(32, 3, 0, 0, 0, 0, 0, 0, 1<<20, 0)))
	f.Add(add(cmdSetIRQs, u32s(20, 0x24, 2, 0, 9)))
	f.Add(add(cmdRegionRead, access(regionConfig, 0xFF, 0xFFFFFFF)))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := pair(t)
		ended := make(chan struct{})
		d := newDrive(t)
		go func() {
			defer close(ended)
			_ = Serve(theirs, d, Options{}) // any error is right, and so is none
		}()
		go func() {
			var sink [4096]byte
			for {
				if _, err := ours.Read(sink[:]); err != nil {
					return
				}
			}
		}()
		_, _ = ours.Write(b)
		_ = ours.Close()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("Serve does not end")
		}
	})
}
