package fsck_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"zimg/fsck"
)

// docs/CHECKS.md has the catalogue, row for row.
func TestCatalogueIsDocumented(t *testing.T) {
	var want strings.Builder
	for _, e := range fsck.Catalogue {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", e.Code, strings.ToLower(string(e.Severity)), e.Class, e.Text, e.Repair)
	}
	const name = "../docs/CHECKS.md"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "|---|---|---|---|---|\n", "\n## Foreign formats"
	head, rest, ok1 := strings.Cut(string(b), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table", name)
	}
	if got == want.String() {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s is not the catalogue; UPDATE=1 go test ./fsck writes it. It has\n%s", name, got)
	}
	if err := os.WriteFile(name, []byte(head+begin+want.String()+end+tail), 0o666); err != nil {
		t.Fatal(err)
	}
}

// A repair that may not lose anything leaves alone what it may not repair.
func TestCatalogue(t *testing.T) {
	seen := map[fsck.Code]bool{}
	for _, e := range fsck.Catalogue {
		if seen[e.Code] {
			t.Errorf("%s occurs twice", e.Code)
		}
		seen[e.Code] = true
		if e.Severity == fsck.Note && e.Class != fsck.ClassNone {
			t.Errorf("%s: a note that is repaired", e.Code)
		}
		if e.Text == "" || e.Repair == "" || strings.HasSuffix(e.Text, ".") {
			t.Errorf("%s: %q, %q", e.Code, e.Text, e.Repair)
		}
	}
}
