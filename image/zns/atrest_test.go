package zns_test

import (
	"testing"

	"zimg/image/zns"
	"zimg/layout"
)

// What a power cycle makes of a zone of 12 blocks at block 16 (ZNS 1.1, section
// 2.1.1.3, the initial state of a zone). Write pointers are counted from its start.
func TestAtRest(t *testing.T) {
	t.Parallel()
	const no = layout.LBA(1 << 32)
	type zone struct {
		state       layout.ZoneState
		wp, written layout.LBA
		attrs       layout.ZoneAttrs
		info        uint8
	}
	for _, c := range []struct {
		name       string
		zone, want zone
	}{
		{"Empty", zone{empty, 0, 0, 0, 0}, zone{empty, 0, 0, 0, 0}},
		{"opened, nothing written", zone{expl, 0, 0, 0, 0}, zone{empty, 0, 0, 0, 0}},
		{"opened, nothing written, reset recommended", zone{impl, 0, 0, layout.RZR, 4}, zone{empty, 0, 0, 0, 0}},
		{"Closed, nothing written", zone{closed, 0, 0, 0, 0}, zone{empty, 0, 0, 0, 0}},
		{"Closed, nothing written, finish recommended", zone{closed, 0, 0, layout.FZR, 1}, zone{empty, 0, 0, 0, 0}},
		{"Closed with an extension", zone{closed, 0, 0, layout.ZDEV, 0}, zone{closed, 0, 0, layout.ZDEV, 0}},
		{"opened with an extension", zone{expl, 0, 0, layout.ZDEV | layout.RZR, 4}, zone{closed, 0, 0, layout.ZDEV | layout.RZR, 4}},
		{"opened, written", zone{impl, 5, 5, layout.FZR, 1}, zone{closed, 5, 5, layout.FZR, 1}},
		{"Closed, written", zone{closed, 5, 5, 0, 0}, zone{closed, 5, 5, 0, 0}},
		{"opened, written to the capacity", zone{expl, 12, 12, layout.ZDEV, 0}, zone{full, no, 12, layout.ZDEV, 0}},
		{"Closed, written to the capacity", zone{closed, 12, 12, 0, 0}, zone{full, no, 12, 0, 0}},
		{"opened with an area, nothing written", zone{expl, 0, 0, layout.ZRWAV, 0}, zone{empty, 0, 0, 0, 0}},
		{"opened with an area, written in it", zone{expl, 0, 3, layout.ZRWAV, 0}, zone{closed, 4, 4, 0, 0}},
		{"Closed with an area, written in it", zone{closed, 4, 5, layout.ZRWAV, 0}, zone{closed, 6, 6, 0, 0}},
		{"opened with an area, written to the capacity", zone{impl, 8, 12, layout.ZRWAV, 0}, zone{full, no, 12, 0, 0}},
		{"Full", zone{full, no, 7, layout.ZFC | layout.RZR | layout.ZDEV, 0}, zone{full, no, 7, layout.ZFC | layout.RZR | layout.ZDEV, 0}},
		{"Full with the mark of an area", zone{full, no, 7, layout.ZRWAV, 0}, zone{full, no, 7, 0, 0}},
		{"Read Only", zone{ro, no, 7, layout.RZR, 4}, zone{ro, no, 7, layout.RZR, 4}},
		{"Offline", zone{off, no, 7, 0, 0}, zone{off, no, 7, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := areaNamespace(0)
			zoneOf := func(s zone) layout.Zone {
				z := ns.EmptyZone(1)
				z.State, z.WP, z.Written, z.Attrs, z.AttrsInfo = s.state, z.Start+s.wp, z.Start+s.written, s.attrs, s.info
				if s.wp == no {
					z.WP = layout.NoWP
				}
				return z
			}
			got := zns.AtRest(ns, zoneOf(c.zone))
			if want := zoneOf(c.want); got != want {
				t.Errorf("%+v becomes %+v, want %+v", zoneOf(c.zone), got, want)
			}
			if again := zns.AtRest(ns, got); again != got {
				t.Errorf("a second power cycle makes %+v of %+v", again, got)
			}
		})
	}
}
