//go:build linux

package main

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"

	"zimg/image/drive/tcp/host"
	"zimg/image/zns"
	"zimg/layout"
)

const (
	tortureZones   = 16
	tortureQueues  = 4
	tortureExtSize = 64
)

// tortureState is what a zone holds: its descriptor, its extension, and all data up to Written.
type tortureState struct {
	zone layout.Zone
	ext  byte // every byte of the extension, 0 for none
	data []byte
}

// tortureStore is the model: the zones as they are if every answered command was done and no other. The machine
// that plans a command on one zone knows no other zone, and so no limits.
type tortureStore struct{ zones [tortureZones]tortureState }

func (s *tortureStore) Zone(i uint64) (layout.Zone, error)      { return s.zones[i].zone, nil }
func (s *tortureStore) SetZone(i uint64, z layout.Zone) error   { s.zones[i].zone = z; return nil }
func (s *tortureStore) SetExtension(i uint64, ext []byte) error { s.zones[i].ext = ext[0]; return nil }

func (s *tortureStore) All(_, _ uint64) iter.Seq2[layout.Zone, error] {
	panic("a command for all zones")
}

// tortureStep is one command on one zone.
type tortureStep struct {
	cmd   host.Command
	out   []byte
	fails bool // as the state machine says
	after tortureState
}

// plan chooses a command for zone i, and works out what comes of it.
func (k *torture) plan(random *rand.Rand, i uint64) *tortureStep {
	before := k.store.zones[i]
	model := &tortureStore{}
	model.zones[i] = before
	m := zns.New(k.n, model, layout.Counts{})
	start, block := uint64(before.zone.Start), int(k.n.BlockSize())
	p := &tortureStep{}
	var err error
	switch op := random.IntN(20); op {
	case 0, 1:
		p.cmd, err = zoneCommand(0x79, start, 0, uint32(zns.ActionReset)), m.Reset(i)
		model.zones[i].data = nil
		if z := model.zones[i].zone; z.Attrs&layout.ZDEV == 0 {
			model.zones[i].ext = 0
		}
	case 2:
		p.cmd, err = zoneCommand(0x79, start, 0, uint32(zns.ActionFinish)), m.Finish(i)
	case 3:
		p.cmd, err = zoneCommand(0x79, start, 0, uint32(zns.ActionOpen)), m.Open(i)
	case 4:
		p.cmd, err = zoneCommand(0x79, start, 0, uint32(zns.ActionClose)), m.Close(i)
	case 5, 6:
		p.out = bytes.Repeat([]byte{byte(1 + random.IntN(255))}, tortureExtSize)
		p.cmd, err = zoneCommand(0x79, start, 0, uint32(zns.ActionSetZDE)), m.SetExtension(i, p.out)
	case 7:
		p.cmd = zoneCommand(0, 0, 0, 0) // a flush
	default:
		n := 1 + random.IntN(16)
		data := bytes.Repeat(fmt.Appendf(nil, "%07d zone %02d\n", random.IntN(10_000_000), i), n*block/16)
		switch {
		case op < 12: // Zone Append
			p.cmd = zoneCommand(0x7D, start, uint32(n-1), 0)
			_, err = m.Append(before.zone.Start, layout.LBA(n))
		case op < 14: // Write Zeroes
			p.cmd = zoneCommand(8, uint64(before.zone.WP), uint32(n-1), 0)
			data = make([]byte, len(data))
			err = m.Write(before.zone.WP, layout.LBA(n))
		default:
			p.cmd = zoneCommand(1, uint64(before.zone.WP), uint32(n-1), 0)
			err = m.Write(before.zone.WP, layout.LBA(n))
		}
		if p.cmd[0] != 8 {
			p.out = data
		}
		model.zones[i].data = append(before.data[:len(before.data):len(before.data)], data...)
	}
	p.fails, p.after = err != nil, model.zones[i]
	if p.fails {
		p.after = before
	}
	return p
}

// differs compares the state with a descriptor and all that the zone reads.
func (s *tortureState) differs(got, data []byte) string {
	want := make([]byte, len(got))
	s.zone.Encode(want)
	if s.zone.Attrs&layout.ZDEV != 0 {
		copy(want[layout.DescriptorSize:], bytes.Repeat([]byte{s.ext}, tortureExtSize))
	}
	if !bytes.Equal(got, want) {
		return fmt.Sprintf("descriptor\n% x, want\n% x", got, want)
	}
	all := append(s.data[:len(s.data):len(s.data)], make([]byte, len(data)-len(s.data))...)
	for at := range data {
		if data[at] != all[at] {
			return fmt.Sprintf("byte %d of %d written is %02x, want %02x", at, len(s.data), data[at], all[at])
		}
	}
	return ""
}
