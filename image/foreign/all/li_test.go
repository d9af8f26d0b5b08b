package all_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// liImage makes an image with conventional zones at its start, then zones in every state in turn.
func liImage(t *testing.T, path string, n *layout.Namespace, conv uint64, states []layout.ZoneState) *layout.ZoneSlice {
	t.Helper()
	zones := &layout.ZoneSlice{}
	for i := range n.ZoneCount {
		z := n.EmptyZone(i)
		switch state := states[i%uint64(len(states))]; {
		case i < conv:
			z = foreign.ConventionalZone(n, i)
		case state == layout.Full:
			z = imagetest.Sequential(n, i, state, z.End())
		case state == layout.Offline:
			z = imagetest.Sequential(n, i, state, z.Start)
		case state != layout.Empty:
			z = imagetest.Sequential(n, i, state, z.Start+1+layout.LBA(i)%(n.ZoneCap-1))
		}
		zones.Table = append(zones.Table, z)
	}
	err := image.Create(path, image.CreateOptions{
		Namespaces: []image.NamespaceSpec{{Namespace: *n}}, Zones: []layout.Zones{zones},
		Fill: func(data []disk.File, _ *layout.Plan) error {
			for i, z := range zones.Table { // the last block written, and in conventional zones the first
				at := max(z.Start, z.Written-1)
				if z.Written == z.Start {
					continue
				}
				if _, err := data[0].WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 512), int64(n.ByteOff(at))); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return zones
}

// What is exported to the formats of Li opens as the originals open them, as a C program has it that
// is written from the descriptions alone, and shows the same limits, zones and data.
func TestLi(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "li")
	tool(t, ".", "gcc", "-Wall", "-Wextra", "-Werror", "-o", bin, "testdata/li.c")
	closed := []layout.ZoneState{layout.Empty, layout.Closed, layout.Full}
	every := append(closed, layout.ReadOnly, layout.Offline)
	for k, c := range []struct {
		format       string
		bits         uint8
		size, cap    layout.LBA
		count, conv  uint64
		open, active uint32 // 0: no limit
		states       []layout.ZoneState
		wantActive   uint64 // in the file
	}{
		{"qcow2", 9, 64, 64, 9, 0, 0, 0, closed, 0},
		{"qcow2", 12, 64, 48, 9, 0, 2, 3, closed, 3},
		{"qcow2", 12, 8, 5, 11, 3, 2, 7, closed, 7},
		{"qcow2", 9, 2048, 1000, 30, 1, 3, 0, closed, 30},
		{"qcow2", 9, 3, 3, 20000, 0, 0, 20000, closed, 20000},
		{"qcow2", 12, 2, 1, 5, 4, 8, 9, closed[:1], 5},
		{"zoned-raw", 9, 64, 64, 9, 0, 0, 0, every, 0},
		{"zoned-raw", 12, 64, 64, 9, 2, 2, 7, every, 7},
		{"zoned-raw", 9, 7, 7, 1000, 1, 3, 0, every, 0},
	} {
		n := &layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: c.bits, ZoneSize: c.size, ZoneCap: c.cap, ZoneCount: c.count, Blocks: layout.LBA(c.count) * c.size,
			MAR: layout.ZeroBased(c.active), MOR: layout.ZeroBased(c.open),
		}
		if c.open == 0 {
			n.MOR = n.MAR
		}
		a, b := filepath.Join(dir, fmt.Sprint(k)), filepath.Join(dir, fmt.Sprint(k, c.format))
		zones := liImage(t, a, n, c.conv, c.states)
		if err := transfer.Copy(a, b, transfer.Options{To: formatOf(c.format)}); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		open := min(n.MaxOpen(), c.count)
		if c.format == "qcow2" {
			open = min(open, c.count-c.conv)
		}
		fmt.Fprintf(&want, "limits %d %d\nmodel 1\nsequential %d\nsectors %d\n", open, c.wantActive, c.count-c.conv, n.Size()/512)
		for _, z := range zones.Table {
			wp := z.Written
			switch {
			case z.State == layout.NotWP:
				wp = z.Start
			case z.State == layout.Full && c.format == "zoned-raw":
				wp = z.Start + n.ZoneSize
			}
			fmt.Fprintf(&want, "zone %d %d\n", uint8(z.State), n.ByteOff(wp))
		}
		got := tool(t, dir, bin, strings.TrimPrefix(c.format, "zoned-"), b)
		got, sectors, _ := strings.Cut(got, "sector ")
		if got != want.String() {
			t.Errorf("%d, %s:\n%s\nwant\n%s", k, c.format, got, want.String())
		}
		if c.format == "zoned-raw" {
			checkLiSectors(t, "sector "+sectors, n, zones)
		}
	}
}

// checkLiSectors wants in every zone the sector that liImage wrote, and nothing else.
func checkLiSectors(t *testing.T, got string, n *layout.Namespace, zones *layout.ZoneSlice) {
	t.Helper()
	var want strings.Builder
	for i, z := range zones.Table {
		if z.Written == z.Start || byte(i+1) == 0 {
			continue
		}
		var sum uint32
		for range 512 {
			sum = sum*31 + uint32(byte(i+1))
		}
		if sum != 0 {
			fmt.Fprintf(&want, "sector %d %d\n", n.ByteOff(z.Written-1)/512, sum)
		}
	}
	if got != want.String() {
		t.Errorf("data\n%s\nwant\n%s", got, want.String())
	}
}
