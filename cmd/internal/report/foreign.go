package report

import (
	"bufio"
	"fmt"

	"zimg/layout"
)

// The zone reports of other tools, character by character.

// sectors is a number of blocks in units of 512 bytes.
func sectors(n *Namespace, b layout.LBA) uint64 { return uint64(n.ByteOff(b)) / 512 }

func bit(a, mask layout.ZoneAttrs) int {
	if a&mask != 0 {
		return 1
	}
	return 0
}

// blkzoneReport is what blkzone report of util-linux 2.42 prints.
type blkzoneReport struct{ w *bufio.Writer }

// blkzoneConditions are the conditions of include/uapi/linux/blkzoned.h in blkzone's words.
var blkzoneConditions = map[layout.ZoneState]string{
	layout.NotWP: "nw", layout.Empty: "em", layout.ImplicitlyOpened: "oi", layout.ExplicitlyOpened: "oe",
	layout.Closed: "cl", layout.ReadOnly: "ro", layout.Full: "fu", layout.Offline: "of",
}

func (r *blkzoneReport) Begin()                       {}
func (r *blkzoneReport) Namespace(*Namespace, uint64) {}

func (r *blkzoneReport) Zone(n *Namespace, _ uint64, z layout.Zone, _ []byte) {
	wp := "N/A"
	if z.State.HasWP() {
		wp = fmt.Sprintf("0x%06x", sectors(n, z.WP-z.Start))
	}
	kind := "SEQ_WRITE_REQUIRED"
	if z.Type == layout.Conventional {
		kind = "CONVENTIONAL"
	}
	fmt.Fprintf(r.w, "  start: 0x%09x, len 0x%06x, cap 0x%06x, wptr %s reset:%d non-seq:0, zcond:%2d(%s) [type: %d(%s)]\n",
		sectors(n, z.Start), sectors(n, n.ZoneSize), sectors(n, z.Cap), wp, bit(z.Attrs, layout.RZR), uint8(z.State), blkzoneConditions[z.State], uint8(z.Type), kind)
}

func (r *blkzoneReport) EndNamespace() {}
func (r *blkzoneReport) End()          {}

// nvmeReport is what nvme zns report-zones -o json prints, from nvme-cli 2.4 on.
type nvmeReport struct {
	w     *bufio.Writer
	zones int
}

var nvmeStates = map[layout.ZoneState]string{
	layout.Empty: "EMPTY", layout.ImplicitlyOpened: "IMP_OPENED", layout.ExplicitlyOpened: "EXP_OPENED",
	layout.Closed: "CLOSED", layout.ReadOnly: "READONLY", layout.Full: "FULL", layout.Offline: "OFFLINE",
}

func (r *nvmeReport) Begin() {}

func (r *nvmeReport) Namespace(_ *Namespace, total uint64) {
	fmt.Fprintf(r.w, "{\n  \"nr_zones\":%d,\n  \"zone_list\":[", total)
}

func (r *nvmeReport) Zone(_ *Namespace, _ uint64, z layout.Zone, _ []byte) {
	if r.zones > 0 {
		fmt.Fprint(r.w, ",")
	}
	r.zones++
	kind := "SEQWRITE_REQ"
	if z.Type == layout.Conventional {
		kind = "CONVENTIONAL"
	}
	fmt.Fprintf(r.w, "\n    {\n      \"slba\":%d,\n      \"wp\":%d,\n      \"cap\":%d,\n      \"state\":\"%s\",\n      \"type\":\"%s\",\n      \"attrs\":%d,\n      \"attrs_info\":%d\n    }",
		z.Start, z.WP, z.Cap, nvmeStates[z.State], kind, z.Attrs, z.AttrsInfo)
}

func (r *nvmeReport) EndNamespace() { fmt.Fprint(r.w, "\n  ]\n}\n") }
func (r *nvmeReport) End()          {}

// zbdReport is what zbd report prints.
type zbdReport struct{ w *bufio.Writer }

var zbdConditions = map[layout.ZoneState]string{
	layout.NotWP: "nw", layout.Empty: "em", layout.ImplicitlyOpened: "oi", layout.ExplicitlyOpened: "oe",
	layout.Closed: "cl", layout.ReadOnly: "ro", layout.Full: "fu", layout.Offline: "ol",
}

// zbdWP is the write pointer as Linux hands it to zbd: at the zone's end where
// there is none.
func zbdWP(n *Namespace, z layout.Zone) layout.Bytes {
	if z.State.HasWP() {
		return n.ByteOff(z.WP)
	}
	return n.ByteOff(z.Start + n.ZoneSize)
}

func (r *zbdReport) Begin()                       {}
func (r *zbdReport) Namespace(*Namespace, uint64) {}

func (r *zbdReport) Zone(n *Namespace, i uint64, z layout.Zone, _ []byte) {
	if z.Type == layout.Conventional {
		fmt.Fprintf(r.w, "Zone %05d: cnv, ofst %014d, len %014d, cap %014d\n", i, n.ByteOff(z.Start), n.ByteOff(n.ZoneSize), n.ByteOff(z.Cap))
		return
	}
	fmt.Fprintf(r.w, "Zone %05d: swr, ofst %014d, len %014d, cap %014d, wp %014d, %s, non_seq 0, reset %d\n",
		i, n.ByteOff(z.Start), n.ByteOff(n.ZoneSize), n.ByteOff(z.Cap), zbdWP(n, z), zbdConditions[z.State], bit(z.Attrs, layout.RZR))
}

func (r *zbdReport) EndNamespace() {}
func (r *zbdReport) End()          {}

// zbdCSVReport is what zbd report -csv prints.
type zbdCSVReport struct{ w *bufio.Writer }

func (r *zbdCSVReport) Begin() {
	fmt.Fprintln(r.w, "zone num, type, ofst, len, cap, wp, cond, non_seq, reset")
}
func (r *zbdCSVReport) Namespace(*Namespace, uint64) {}

func (r *zbdCSVReport) Zone(n *Namespace, i uint64, z layout.Zone, _ []byte) {
	fmt.Fprintf(r.w, "%05d, %d, %014d, %014d, %014d, %014d, %#x, 0, %d\n",
		i, uint8(z.Type), n.ByteOff(z.Start), n.ByteOff(n.ZoneSize), n.ByteOff(z.Cap), zbdWP(n, z), uint8(z.State), bit(z.Attrs, layout.RZR))
}

func (r *zbdCSVReport) EndNamespace() {}
func (r *zbdCSVReport) End()          {}
