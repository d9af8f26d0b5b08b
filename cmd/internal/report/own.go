package report

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"strings"

	"zimg/cmd/internal/cli"
	"zimg/layout"
)

// wpText is the write pointer of z, or none: what is in the field of a state that has no write pointer means nothing.
func wpText(z layout.Zone, none string) string {
	wp := z.WP
	if wp == layout.NoWP || !z.State.HasWP() {
		return none
	}
	return fmt.Sprint(uint64(wp))
}

// tableReport is the form for people: columns of fixed width, since a report
// may have a million lines and must not wait for the last to know the widths.
type tableReport struct {
	w      *bufio.Writer
	seen   int
	number int // width of a zone number
	lba    int // width of an LBA
}

func (r *tableReport) Begin() {}

func (r *tableReport) Namespace(n *Namespace, _ uint64) {
	if !n.Alone {
		if r.seen > 0 {
			fmt.Fprintln(r.w)
		}
		fmt.Fprintf(r.w, "namespace %d\n", n.ID)
	}
	r.seen++
	r.number = max(4, len(fmt.Sprint(n.ZoneCount-1)))
	r.lba = max(7, len(fmt.Sprint(uint64(n.Blocks))))
	fmt.Fprintf(r.w, "%*s  %*s  %*s  %*s  %*s  %-17s  %s\n", r.number, "ZONE", r.lba, "ZSLBA", r.lba, "ZCAP", r.lba, "WP", r.lba, "WRITTEN", "STATE", "ATTRIBUTES")
}

func (r *tableReport) Zone(_ *Namespace, i uint64, z layout.Zone, ext []byte) {
	attrs := strings.Join(z.Attrs.Names(), ",")
	state := z.State.String()
	if z.Type == layout.Conventional {
		state = "Conventional"
	}
	line := fmt.Sprintf("%*d  %*d  %*d  %*s  %*d  %-17s  %s", r.number, i, r.lba, z.Start, r.lba, z.Cap, r.lba, wpText(z, "-"), r.lba, z.Written-min(z.Start, z.Written), state, attrs)
	fmt.Fprintln(r.w, strings.TrimRight(line, " "))
	if ext != nil {
		for _, l := range strings.Split(strings.TrimRight(hex.Dump(ext), "\n"), "\n") {
			fmt.Fprintf(r.w, "%*s  %s\n", r.number, "", l)
		}
	}
}

func (r *tableReport) EndNamespace() {}
func (r *tableReport) End()          {}

// csvReport has one line per zone, with LBAs.
type csvReport struct{ w *bufio.Writer }

func (r *csvReport) Begin() {
	fmt.Fprintln(r.w, "nsid,zone,type,state,zslba,zone_size,zcap,wp,written,attributes")
}
func (r *csvReport) Namespace(*Namespace, uint64) {}

func (r *csvReport) Zone(n *Namespace, i uint64, z layout.Zone, _ []byte) {
	fmt.Fprintf(r.w, "%d,%d,%s,%s,%d,%d,%d,%s,%d,%s\n", n.ID, i, z.Type.Key(), z.State.Key(), z.Start, n.ZoneSize, z.Cap, wpText(z, ""), z.Written-min(z.Start, z.Written), strings.Join(z.Attrs.Names(), " "))
}

func (r *csvReport) EndNamespace() {}
func (r *csvReport) End()          {}

// ZoneView is a zone in JSON.
type ZoneView struct {
	Zone      uint64   `json:"zone"`
	Type      string   `json:"type"`
	State     string   `json:"state"`
	Start     uint64   `json:"zslba"`
	Cap       uint64   `json:"zcap"`
	WP        *uint64  `json:"wp"`
	Written   uint64   `json:"written"`
	Attrs     []string `json:"attributes"`
	AttrsInfo uint8    `json:"attributes-info"`
	Ext       *string  `json:"extension,omitempty"`
}

// jsonReport writes one document, with one line per zone.
type jsonReport struct {
	w      *bufio.Writer
	from   Source
	spaces int
	zones  int
}

func (r *jsonReport) Begin() {
	fmt.Fprintf(r.w, "{\n  \"filename\": %s,\n", quoteJSON(r.from.Path))
	if r.from.State != "" {
		fmt.Fprintf(r.w, "  \"state\": %s,\n", quoteJSON(r.from.State))
	}
	fmt.Fprint(r.w, "  \"namespaces\": [")
}

func (r *jsonReport) Namespace(n *Namespace, _ uint64) {
	if r.spaces > 0 {
		fmt.Fprint(r.w, ",")
	}
	r.spaces++
	r.zones = 0
	fmt.Fprintf(r.w, "\n    {\n      \"nsid\": %d,\n      \"block-size\": %d,\n      \"zone-nr\": %d,\n      \"zone-size\": %d,\n      \"zones\": [", n.ID, n.BlockSize(), n.ZoneCount, n.ZoneSize)
}

func (r *jsonReport) Zone(_ *Namespace, i uint64, z layout.Zone, ext []byte) {
	v := ZoneView{
		Zone: i, Type: z.Type.Key(), State: z.State.Key(), Start: uint64(z.Start), Cap: uint64(z.Cap),
		Written: uint64(z.Written - min(z.Start, z.Written)), Attrs: z.Attrs.Names(), AttrsInfo: z.AttrsInfo,
	}
	if z.WP != layout.NoWP && z.State.HasWP() {
		v.WP = (*uint64)(&z.WP)
	}
	if ext != nil {
		text := hex.EncodeToString(ext)
		v.Ext = &text
	}
	b, err := cli.JSON(&v)
	if err != nil {
		panic(err) // plain numbers and strings always marshal
	}
	if r.zones > 0 {
		fmt.Fprint(r.w, ",")
	}
	r.zones++
	fmt.Fprintf(r.w, "\n        %s", b)
}

func (r *jsonReport) EndNamespace() { fmt.Fprint(r.w, "\n      ]\n    }") }
func (r *jsonReport) End()          { fmt.Fprint(r.w, "\n  ]\n}\n") }

func quoteJSON(s string) string {
	b, err := cli.JSON(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(b)
}
