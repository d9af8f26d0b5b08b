package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// pictureCommands make the drive whose picture is in the README: used for a while, with faults.
var pictureCommands = []string{
	"create -q --zones 256 --zone-size 64K --max-open 14 --max-active 14 drive.zimg",
	"write --zone 0 drive.zimg log", // zones 0 to 149
	"zone reset drive.zimg 11-13", "zone reset drive.zimg 31", "zone reset drive.zimg 46-61", "zone reset drive.zimg 90-94", "zone reset drive.zimg 120",
	"write --zone 46 drive.zimg few", "write --zone 92 drive.zimg half", "write --zone 160 drive.zimg half", "write --zone 161 drive.zimg few",
	"zone finish drive.zimg 160", "write --zone 162 drive.zimg half", "zone open drive.zimg 161-162", "zone open drive.zimg 170",
	"zone read-only drive.zimg 70", "zone offline drive.zimg 200-201",
}

// The README's picture is what the program draws today. UPDATE=1 draws it anew.
func TestMapPicture(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, size := range map[string]int{"log": 149*65536 + 40000, "few": 12000, "half": 37000} {
		if err := os.WriteFile(name, bytes.Repeat([]byte{1}, size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range pictureCommands {
		zimg(t, strings.Fields(c)...)
	}
	zimg(t, "check", "--data", "drive.zimg")
	picture := root + "/../../docs/map.svg"
	if os.Getenv("UPDATE") != "" {
		zimg(t, "map", "--svg", picture, "drive.zimg")
	}
	want, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	zimg(t, "map", "--svg", "now.svg", "drive.zimg")
	if got, err := os.ReadFile("now.svg"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/map.svg is not what zimg map --svg draws (%v): UPDATE=1 go test -run TestMapPicture ./cmd/zimg", err)
	}
	if readme, err := os.ReadFile(root + "/../../README.md"); err != nil || !strings.Contains(string(readme), "(docs/map.svg)") {
		t.Errorf("the README does not show docs/map.svg (%v)", err)
	}
}

// A picture has a square for every zone, or for several, within a width that a page has, whatever
// the image is called; and says which zones a square is.
func TestMapSVG(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		zones   string
		offline string
		squares int
		title   string // of the last square
		text    string
	}{
		{"1", "0", 1, "zone 0: Offline, 0 of 16 blocks written", "namespace 1: 1 zone"},
		{"16", "15", 16, "zone 15: Offline, 0 of 16 blocks written", "namespace 1: 16 zones"},
		{"3072", "3071", 3072, "zone 3071: Offline, 0 of 16 blocks written", "namespace 1: 3072 zones"},
		{"100000", "99990-99999", 3031, "zones 99990-99999: 10 Offline, 0% written", "namespace 1: 100000 zones, one square = 33 zones"},
	} {
		zimg(t, "create", "-q", "--force", "--zones", tt.zones, "--zone-size", "64K", "a<b>&.zimg")
		zimg(t, "zone", "offline", "a<b>&.zimg", tt.offline)
		zimg(t, "map", "--svg", "a.svg", "a<b>&.zimg")
		b, err := os.ReadFile("a.svg")
		if err != nil {
			t.Fatal(err)
		}
		squares, title, texts := 0, "", ""
		d := xml.NewDecoder(bytes.NewReader(b))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s zones: %v", tt.zones, err)
			}
			start, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			var text string
			switch start.Name.Local {
			case "title":
				squares++
				if err := d.DecodeElement(&title, &start); err != nil {
					t.Fatal(err)
				}
			case "text":
				if err := d.DecodeElement(&text, &start); err != nil {
					t.Fatal(err)
				}
				texts += text + "\n"
			}
		}
		if squares != tt.squares || title != tt.title || !strings.Contains(texts, tt.text+"\n") || !strings.HasPrefix(texts, "a<b>&.zimg\n") {
			t.Errorf("%s zones: %d squares, the last %q; texts %s", tt.zones, squares, title, texts)
		}
	}
}
