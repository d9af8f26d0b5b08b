package layout_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"zimg/layout"
)

func TestCheckFileName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "disk.zimg", "...", "with space", "größe", "-x", strings.Repeat("n", 256)} {
		if err := layout.CheckFileName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a/b", "/a", "../a", "a/", `a\b`, "a\x00b", "a\nb", "a\x7fb", "a\u009bb", "a\xffb", strings.Repeat("n", 257),
	} {
		var bad *layout.NameError
		if err := layout.CheckFileName(name); !errors.As(err, &bad) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// plain is the entry of a namespace in data file number file called name.
func plain(id layout.NSID, file uint32, name string) *layout.Entry {
	return &layout.Entry{Namespace: layout.Namespace{ID: id, BlockBits: 12, Blocks: 256, DataFile: file}, Name: name}
}

// The rules for names and data files that span the entries of a table.
func TestPlaceNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		kind    layout.Kind
		entries []*layout.Entry
		refused string // "" for none
	}{
		{"one file, no name", layout.Sidecar, []*layout.Entry{plain(1, 0, ""), plain(2, 0, "")}, ""},
		{"one file, one name", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 0, "a")}, ""},
		{"one file, two names", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 0, "b")}, `namespaces with the same data file name it "a" and "b"`},
		{"two files", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 1, "b")}, ""},
		{"two files of one name", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 1, "a")}, `two data files are named "a"`},
		{"two files, one without a name", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 1, "")}, "namespace 2: data file name"},
		{"two files for three namespaces", layout.Sidecar, []*layout.Entry{plain(1, 0, "a"), plain(2, 0, "a"), plain(3, 1, "b")}, "3 namespaces in 2 data files: namespaces must share one data file or each have their own"},
		{"a path", layout.Sidecar, []*layout.Entry{plain(1, 0, "../a")}, "namespace 1: data file name"},
		{"a trailing image needs no name", layout.Trailing, []*layout.Entry{plain(1, 0, "a")}, ""},
	} {
		p, err := layout.Place(c.kind, c.entries)
		if (c.refused == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), c.refused) {
			t.Errorf("%s: %v, want %q", c.what, err, c.refused)
		}
		if err == nil && c.kind == layout.Trailing && p.Entries[0].Name != "" {
			t.Errorf("%s: it has the name %q", c.what, p.Entries[0].Name)
		}
	}
}

// A decoder that is given too few bytes says so.
func TestShortInput(t *testing.T) {
	t.Parallel()
	p, err := layout.Place(layout.Sidecar, []*layout.Entry{plain(1, 0, "a")})
	if err != nil {
		t.Fatal(err)
	}
	h := &layout.Header{Generation: 1, Counts: make([]layout.Counts, 1)}
	p.Header(h)
	table := layout.EncodeTable(p.Entries)
	sums := layout.EncodeChecksums(make([]uint32, p.ChecksumCount))
	for _, n := range []int{0, 1, 511, layout.NamespaceLen - 1} {
		if _, err := layout.DecodeEntry(table[:n], 0); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("an entry of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, 1, layout.BlockLen - 1} {
		if _, err := layout.DecodeTable(h, table[:n], 0); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("a table of %d bytes: %v", n, err)
		}
		if _, err := layout.DecodeChecksums(h, sums[:n], 0); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("a checksum array of %d bytes: %v", n, err)
		}
	}
	for n := range layout.DescriptorSize {
		b := make([]byte, n)
		if _, err := layout.DecodeZoneDescriptor(b); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("a zone descriptor of %d bytes: %v", n, err)
		}
		if got := layout.DescriptorReserved(b); got != n {
			t.Errorf("a zone descriptor of %d bytes has reserved bits at %d", n, got)
		}
		for _, i := range []int{-1, n / layout.WPLen, n, math.MaxInt} {
			if _, err := layout.DecodeWP(b, i); !errors.Is(err, layout.ErrDamaged) && (i < 0 || i >= n/layout.WPLen) {
				t.Errorf("entry %d of %d bytes of write pointers: %v", i, n, err)
			}
		}
	}
	if _, err := layout.DecodeTable(&layout.Header{}, table, 0); !errors.Is(err, layout.ErrDamaged) {
		t.Errorf("a table of no namespaces: %v", err)
	}
	h.ChecksumCount = 1 << 62
	if _, err := layout.DecodeChecksums(h, sums, 0); !errors.Is(err, layout.ErrDamaged) {
		t.Errorf("2^62 checksums: %v", err)
	}
}
