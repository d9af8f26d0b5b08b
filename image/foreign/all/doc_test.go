package all_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/layout"
)

// row is what docs/FORMATS.md says of f.
func row(f *foreign.Format) string {
	h := &f.Holds
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "-"
	}
	has := func(s layout.ZoneState) bool { return slices.Contains(h.States, s) }
	files := map[foreign.Shape]string{
		foreign.OneFile: "one", foreign.TwoFiles: "data, `" + f.Suffix + "`", foreign.Directory: "directory", foreign.Prefix: "two, by prefix", foreign.Device: "device",
	}[f.Shape]
	limits, ext, in := "-", "-", "-"
	switch {
	case h.Limits:
		limits = "open, active"
	case h.MaxOpen:
		limits = "open"
	}
	if h.Extensions > 0 {
		ext = fmt.Sprintf("%d bytes", h.Extensions)
	}
	switch {
	case h.Geometry && h.BlockSize:
		in = "zones, block size"
	case h.Geometry:
		in = "zones"
	}
	full := yes(h.FullWritten)
	if f.Shape == foreign.Device {
		full = "when written"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", f.Name, files, yes(has(layout.ImplicitlyOpened)), yes(has(layout.Offline)),
		yes(h.Capacity), ext, yes(h.Conventional), limits, full, yes(h.BlockMeta), in, yes(f.Probe != nil), yes(f.Encode != nil))
}

// docs/FORMATS.md has what the formats say of themselves, and a word on each.
func TestFormatsAreDocumented(t *testing.T) {
	const name = "../../../docs/FORMATS.md"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, f := range all.Formats {
		want.WriteString(row(f))
		if !strings.Contains(string(b), "\n## "+f.Name) && !strings.Contains(string(b), ", "+f.Name+",") && !strings.Contains(string(b), ", "+f.Name+"\n") {
			t.Errorf("no section on %s", f.Name)
		}
	}
	const begin = "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
	head, rest, ok1 := strings.Cut(string(b), begin)
	got, tail, ok2 := strings.Cut(rest, "\nNo format but")
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table", name)
	}
	if got == want.String() {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s differs; UPDATE=1 go test ./image/foreign/all writes it. It has\n%s", name, got)
	}
	if err := os.WriteFile(name, []byte(head+begin+want.String()+"\nNo format but"+tail), 0o666); err != nil {
		t.Fatal(err)
	}
}
