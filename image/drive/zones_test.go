package drive_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/image/zns"
	"zimg/layout"
)

// memoryStore has a few zones for a machine of its own: the oracle.
type memoryStore struct{ layout.ZoneSlice }

func (m *memoryStore) SetZone(i uint64, z layout.Zone) error {
	m.Table[i] = z
	return nil
}

func (m *memoryStore) SetExtension(i uint64, ext []byte) error {
	m.Ext[i] = ext
	return nil
}

var zoneStates = []layout.ZoneState{
	layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline,
}

// matrixSpec has a zone in each state, five of twelve blocks written but in the Empty one.
func matrixSpec() imagetest.Spec {
	s := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{9}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 7 * 16, ZoneCount: 7, ZoneSize: 16, ZoneCap: 12,
			MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: 1, ZRWAS: 4, ZRWAFG: 2, NumZRWA: 3,
		},
		Zones: map[uint64]imagetest.SpecZone{},
	}}}
	for i, state := range zoneStates[1:] {
		s.Namespaces[0].Zones[uint64(i+1)] = imagetest.SpecZone{State: state, Written: 5, Fill: 'm'}
	}
	return s
}

// Each command on each state ends as the state machine says, and the zones are as it
// leaves them.
func TestZoneMatrix(t *testing.T) {
	t.Parallel()
	commands := []struct {
		name string
		cmd  func(start uint64) *drive.Command
		run  func(m *zns.Machine, i uint64) error
	}{
		{
			"write at the write pointer", func(s uint64) *drive.Command { return drivetest.IO(opWrite, 1, s+5, 2, 0) },
			func(m *zns.Machine, i uint64) error { return m.Write(layout.LBA(i*16+5), 2) },
		},
		{
			"write at the start", func(s uint64) *drive.Command { return drivetest.IO(opWrite, 1, s, 2, 0) },
			func(m *zns.Machine, i uint64) error { return m.Write(layout.LBA(i*16), 2) },
		},
		{
			"zeroes", func(s uint64) *drive.Command { return drivetest.IO(opZeroes, 1, s+5, 7, 0) },
			func(m *zns.Machine, i uint64) error { return m.Write(layout.LBA(i*16+5), 7) },
		},
		{
			"append", func(s uint64) *drive.Command { return drivetest.IO(opAppend, 1, s, 7, 0) },
			func(m *zns.Machine, i uint64) error { _, err := m.Append(layout.LBA(i*16), 7); return err },
		},
		{
			"append over the capacity", func(s uint64) *drive.Command { return drivetest.IO(opAppend, 1, s, 13, 0) },
			func(m *zns.Machine, i uint64) error { _, err := m.Append(layout.LBA(i*16), 13); return err },
		},
		{
			"read", func(s uint64) *drive.Command { return drivetest.IO(opRead, 1, s, 16, 0) },
			func(m *zns.Machine, i uint64) error { return m.Read(layout.LBA(i*16), 16) },
		},
		{"open", send(zns.ActionOpen, 0), (*zns.Machine).Open},
		{"open with a random write area", send(zns.ActionOpen, 1<<9), (*zns.Machine).OpenZRWA},
		{"close", send(zns.ActionClose, 0), (*zns.Machine).Close},
		{"finish", send(zns.ActionFinish, 0), (*zns.Machine).Finish},
		{"reset", send(zns.ActionReset, 0), (*zns.Machine).Reset},
		{"offline", send(zns.ActionOffline, 0), (*zns.Machine).Offline},
		{"extension", send(zns.ActionSetZDE, 0), func(m *zns.Machine, i uint64) error { return m.SetExtension(i, fill(7, 64)) }},
		{"flush of a random write area", send(zns.ActionFlush, 0), func(m *zns.Machine, i uint64) error { return m.FlushZRWA(layout.LBA(i * 16)) }},
		{"close all", send(zns.ActionClose, 1<<8), func(m *zns.Machine, _ uint64) error { return m.All(zns.ActionClose) }},
		{"finish all", send(zns.ActionFinish, 1<<8), func(m *zns.Machine, _ uint64) error { return m.All(zns.ActionFinish) }},
		{"open all", send(zns.ActionOpen, 1<<8), func(m *zns.Machine, _ uint64) error { return m.All(zns.ActionOpen) }},
		{"reset all", send(zns.ActionReset, 1<<8), func(m *zns.Machine, _ uint64) error { return m.All(zns.ActionReset) }},
		{"offline all", send(zns.ActionOffline, 1<<8), func(m *zns.Machine, _ uint64) error { return m.All(zns.ActionOffline) }},
	}
	for _, c := range commands {
		for i, state := range zoneStates {
			t.Run(fmt.Sprintf("%s, %v", c.name, state), func(t *testing.T) {
				t.Parallel()
				spec := matrixSpec()
				r := newRig(t, spec, drive.Options{}, drive.ControllerOptions{})
				oracle := &memoryStore{layout.ZoneSlice{Size: 64, Ext: map[uint64][]byte{}}}
				var counts layout.Counts
				for k := range uint64(7) {
					oracle.Table = append(oracle.Table, spec.Zone(0, k))
					counts[oracle.Table[k].State.Index()]++
				}
				err := c.run(zns.New(&spec.Namespaces[0].Namespace, oracle, counts), uint64(i))
				cpl, _ := r.Do(1, c.cmd(uint64(i)*16), fill(7, 16*512))
				want := drive.Success
				if err != nil {
					var refused *zns.StatusError
					if !errors.As(err, &refused) {
						t.Fatal(err)
					}
					if want = drive.Status(refused.Status); want >= 0xB0 {
						want |= 0x100
					}
					want |= drive.DNR
				}
				if cpl.Status != want {
					t.Errorf("%v, want %v (%v)", cpl.Status, want, err)
				}
				for k := range oracle.Table {
					if got := r.zone(1, uint64(k)); got != oracle.Table[k] {
						t.Errorf("zone %d is %+v, want %+v", k, got, oracle.Table[k])
					}
				}
			})
		}
	}
}

// send makes commands of Zone Management Send.
func send(a zns.Action, flags uint32) func(uint64) *drive.Command {
	return func(start uint64) *drive.Command {
		return drivetest.Cmd(opSend, 1, uint32(start), 0, 0, uint32(a)|flags)
	}
}

func TestZoneSendRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, matrixSpec(), drive.Options{}, drive.ControllerOptions{})
	for _, c := range []struct {
		lba, dw13 uint32
		want      drive.Status
	}{
		{1, 3, drive.InvalidField},                  // not a zone's start
		{7 * 16, 3, drive.LBAOutOfRange},            // of no zone
		{0, 0, drive.InvalidField},                  // reserved actions
		{0, 0x12, drive.InvalidField},               //
		{0, 0x10 | 1<<8, drive.InvalidField},        // Set Extension of all
		{0, 0x11 | 1<<8, drive.InvalidField},        // flush of all
		{0, 0x03 | 1<<8 | 1<<9, drive.InvalidField}, // random write areas for all
	} {
		r.Want(1, drivetest.Cmd(opSend, 1, c.lba, 0, 0, c.dw13), nil, c.want)
	}
	// Select All does not look at the block.
	r.Want(1, drivetest.Cmd(opSend, 1, 1, 0, 0, 4|1<<8), nil, drive.Success)
}

// A random write area: blocks in any order and again, gaps read as zeroes.
func TestRandomWriteArea(t *testing.T) {
	t.Parallel()
	r := newRig(t, matrixSpec(), drive.Options{}, drive.ControllerOptions{})
	b := r.identify(5, 1, 2)
	if le.Uint16(b[2:]) != 2 || le.Uint32(b[44:]) != 3 || le.Uint16(b[48:]) != 2 || le.Uint16(b[50:]) != 4 || b[52] != 1 {
		t.Errorf("identify: % x", b[:56])
	}
	r.Want(1, drivetest.Cmd(opSend, 1, 0, 0, 0, 3|1<<9), nil, drive.Success)
	r.Want(1, drivetest.IO(opWrite, 1, 3, 1, 0), fill('c', 512), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 1, 1, 1, 0), fill('x', 512), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 1, 1, 1, 0), fill('a', 512), drive.Success)
	r.wantData(1, 0, 5, slicesOf(512, 0, 'a', 0, 'c', 0))
	r.Want(1, drivetest.IO(opAppend, 1, 0, 1, 0), nil, drive.InvalidZoneOp)
	r.Want(1, drivetest.Cmd(opSend, 1, 1, 0, 0, 0x11), nil, drive.Success)
	if z := r.zone(1, 0); z.WP != 2 || z.Attrs != layout.ZRWAV {
		t.Errorf("after a flush: %+v", z)
	}
	r.Want(1, drivetest.IO(opWrite, 1, 6, 1, 0), fill('f', 512), drive.Success)
	if z := r.zone(1, 0); z.WP != 4 {
		t.Errorf("after an implicit flush: %+v", z)
	}
	r.Want(1, drivetest.IO(opWrite, 1, 3, 1, 0), nil, drive.ZoneInvalidWrite)
	r.Want(1, drivetest.Cmd(opSend, 1, 5*16, 0, 0, 3|1<<9), nil, drive.InvalidTransition)
}

// slicesOf is a block of size bytes for each value.
func slicesOf(size int, values ...byte) []byte {
	var b []byte
	for _, v := range values {
		b = append(b, fill(v, size)...)
	}
	return b
}

// report asks for a zone report of n bytes.
func (r *rig) report(id layout.NSID, lba uint64, n int, dw13 uint32) []byte {
	r.T.Helper()
	_, b := r.Want(1, drivetest.Cmd(opReceive, id, uint32(lba), uint32(lba>>32), uint32(n/4-1), dw13), nil, drive.Success)
	return b
}

func TestZoneReport(t *testing.T) {
	t.Parallel()
	r := standard(t)
	b := r.report(1, 0, 64+16*64, 0)
	if got := le.Uint64(b); got != 16 {
		t.Errorf("%d zones", got)
	}
	for i := range uint64(16) {
		z := r.zone(1, i)
		got, err := layout.DecodeZoneDescriptor(b[64+64*i:])
		if err != nil {
			t.Fatal(err)
		}
		switch z.State { //nolint:exhaustive // others have a true write pointer
		case layout.ReadOnly:
			z.WP = z.Written
		case layout.Offline:
			z.WP = z.Start
		}
		if got != z.ZoneDescriptor {
			t.Errorf("zone %d is reported as %+v, want %+v", i, got, z.ZoneDescriptor)
		}
	}
	// Each state by its filter; what does not fit is counted unless the report is partial.
	for filter, want := range map[uint32]uint64{1: 8, 2: 1, 3: 1, 4: 2, 5: 2, 6: 1, 7: 1} {
		if got := le.Uint64(r.report(1, 0, 4096, filter<<8)); got != want {
			t.Errorf("filter %d: %d zones, want %d", filter, got, want)
		}
		b := r.report(1, 0, 64, filter<<8)
		if got := le.Uint64(b); got != want {
			t.Errorf("filter %d without room: %d zones, want %d", filter, got, want)
		}
		if got := le.Uint64(r.report(1, 0, 64, filter<<8|1<<16)); got != 0 {
			t.Errorf("filter %d, partial without room: %d zones", filter, got)
		}
	}
	if got := le.Uint64(r.report(1, 3*128+5, 64+64+60, 0)); got != 13 {
		t.Errorf("from within zone 3: %d zones", got)
	}
	b = r.report(1, 3*128+5, 64+64+60, 1<<16)
	if got := le.Uint64(b); got != 1 || !bytes.Equal(b[128:], make([]byte, 60)) {
		t.Errorf("partial: %d zones, then % x", got, b[128:])
	}
	// Extended, with the extension of zone 8.
	b = r.report(1, 7*128, 64+3*128, 1|1<<16)
	if got := string(b[64+128+64 : 64+128+64+12]); le.Uint64(b) != 3 || got != "an extension" {
		t.Errorf("extended: %d zones, %q", le.Uint64(b), got)
	}
	for _, c := range []struct {
		cmd  *drive.Command
		want drive.Status
	}{
		{drivetest.Cmd(opReceive, 1, 16*128, 0, 1023, 0), drive.LBAOutOfRange},
		{drivetest.Cmd(opReceive, 1, 0, 0, 14, 0), drive.InvalidField},
		{drivetest.Cmd(opReceive, 1, 0, 0, 1023, 2), drive.InvalidField},
		{drivetest.Cmd(opReceive, 2, 0, 0, 1023, 1), drive.InvalidField},
		{drivetest.Cmd(opReceive, 1, 0, 0, 1023, 8<<8), drive.InvalidField},
		{drivetest.Cmd(opReceive, 1, 0, 0, 0xFFFFFFFF, 0), drive.InvalidField},
		{drivetest.Cmd(opReceive, 3, 0, 0, 1023, 0), drive.InvalidOpcode},
	} {
		r.Want(1, c.cmd, nil, c.want)
	}
}

// Many zones are reported in pieces, and agree with a report in one piece.
func TestLongReport(t *testing.T) {
	t.Parallel()
	const zones = 1000
	r := newRig(t, imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{2}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: zones * 8, ZoneCount: zones, ZoneSize: 8, ZoneCap: 8,
			MAR: layout.NoLimit, MOR: layout.NoLimit,
		},
		Zones: map[uint64]imagetest.SpecZone{300: {State: layout.Full, Written: 8}, 999: {State: layout.Full, Written: 8}},
	}}}, drive.Options{}, drive.ControllerOptions{})
	whole := r.report(1, 0, 64+zones*64, 0)
	var pieces []byte
	for i := 0; i < zones; {
		b := r.report(1, uint64(i)*8, 64+7*64, 1<<16)
		n := int(le.Uint64(b))
		pieces = append(pieces, b[64:64+64*n]...)
		i += n
	}
	if !bytes.Equal(whole[64:], pieces) {
		t.Error("the pieces are not the whole")
	}
	if b := r.report(1, 0, 64+64, 5<<8); le.Uint64(b) != 2 || le.Uint64(b[64+16:]) != 2400 {
		t.Errorf("%d Full zones", le.Uint64(b))
	}
	if b := r.report(1, 8, 64+64, 0); le.Uint64(b) != zones-1 {
		t.Errorf("%d zones from the second on", le.Uint64(b))
	}
	r.Want(1, send(zns.ActionReset, 1<<8)(0), nil, drive.Success)
	if b := r.report(1, 0, 64, 1<<8); le.Uint64(b) != zones {
		t.Errorf("%d zones are Empty after a reset of all", le.Uint64(b))
	}
}

// With the NVM command set alone a zoned namespace takes no zone commands.
func TestPlainCommandSet(t *testing.T) {
	t.Parallel()
	r := standard(t)
	r.Reset()
	r.Enable(0x460001)
	r.Want(1, drivetest.IO(opAppend, 1, 0, 1, 0), nil, drive.InvalidOpcode)
	r.Want(1, drivetest.Cmd(opReceive, 1, 0, 0, 1023, 0), nil, drive.InvalidOpcode)
	r.Want(1, drivetest.IO(opWrite, 1, 0, 1, 0), nil, drive.Success)
	r.Want(1, drivetest.IO(opWrite, 1, 0, 1, 0), nil, drive.ZoneInvalidWrite)
}
