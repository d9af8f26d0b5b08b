package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zimg/cmd/internal/report"
)

// jsonSections are the parts of docs/JSON.md, each with the commands that it is about, the types that it describes, and
// the values that it names.
var jsonSections = []struct {
	name     string
	commands []string
	types    []any
	values   string
}{
	{"info", []string{"info d.zimg", "info d.qcow2"}, []any{infoView{}, foreignInfoView{}}, "qemu-img info | zimg | trailing | sidecar | clean | in-use | crashed | interrupted | zoned | nvm | usable | stale | useless"},
	{"report", []string{"report -e d.zimg"}, nil, "-e | seq-write-required | conventional | ZFC | FZR | RZR | ZRWAV | ZDEV | report --output nvme"},
	{"snapshot", []string{"snapshot d.zimg"}, []any{snapshotView{}}, ""},
	{"fault list", nil, []any{faultView{}}, "read | write | zone | zimg fault add --help | 0x4281 | 30s"},
	{"check", []string{"check d.zimg", "check --repair=all broken.zimg"}, []any{checkView{}, uncheckedView{}}, "--dry-run | --repair=all | ERROR | WARNING | NOTE | safe | lossy | none | data | journal"},
	{"compare", []string{"compare d.zimg other.zimg", "compare d.zimg third.zimg"}, []any{compareView{}}, "--all | --strict | geometry | type | state | write-pointer | capacity | attributes | extension | data | block-metadata | identity | written"},
	{"crash --list", nil, []any{crashList{}}, "write:N | flush:N | write | discard | flush | reset | finish | finish-all | zero | set"},
	{"qemu-args", []string{"qemu-args d.zimg"}, nil, ""},
	{"version", []string{"version"}, nil, ""},
	{"dump and restore", []string{"dump d.zimg", "dump all.zimg"}, nil, "zimg dump | zimg restore | report | zimg-dump | attributes-info | ZDEV | namespaces[0] | zones[3]"},
}

// Every key that a command writes as JSON is in docs/JSON.md, in the part on the command, and every
// key there is written; numbers are exact integers.
func TestJSONDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, part := range strings.Split(string(doc), "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		parts[title] = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
	}
	imagesForJSON(t)
	for _, s := range jsonSections {
		keys, documented := map[string]bool{}, map[string]bool{}
		for _, v := range s.types {
			typeKeys(reflect.TypeOf(v), keys)
		}
		for _, command := range s.commands {
			args := strings.Fields(command)
			if args[0] != "dump" {
				args = append(args, "--output", "json")
			}
			out, errs, _ := zimgStatus(args...)
			definition, of, _ := strings.Cut(command, " ")
			if of == "d.qcow2" {
				definition = "foreign-info"
			}
			if err := checkSchema(definition, out); err != nil {
				t.Errorf("zimg %s: %v", command, err)
			}
			d := json.NewDecoder(strings.NewReader(out))
			d.UseNumber()
			var v any
			if err := d.Decode(&v); err != nil || d.More() {
				t.Fatalf("zimg %s: %v\n%s%s", command, err, out, errs)
			}
			written := map[string]bool{}
			valueKeys(t, v, written)
			for k := range written {
				if len(s.types) > 0 && !keys[k] {
					t.Errorf("zimg %s writes %q, which its type does not have", command, k)
				}
				keys[k] = true
			}
		}
		values := append(strings.Split(s.values, " | "), report.StateKeys[:]...)
		for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(parts[s.name], -1) {
			for _, word := range strings.Split(m[1], ".") {
				if !keys[word] && !slices.Contains(values, word) {
					t.Errorf("%s: %q is documented, and nothing writes it", s.name, word)
				}
				documented[word] = true
			}
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if !documented[k] {
				t.Errorf("%s: %q is not documented", s.name, k)
			}
		}
		delete(parts, s.name)
	}
	if len(parts) > 0 {
		t.Errorf("parts that no command was compared with: %v", slices.Collect(maps.Keys(parts)))
	}
}

// imagesForJSON makes images that have what can be said of one.
func imagesForJSON(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("data", bytes.Repeat([]byte("data"), 2048), 0o666); err != nil {
		t.Fatal(err)
	}
	zimg(t, "create", "-q", "--ns", "zones=4,zone-size=1M,descr-ext-size=64", "--ns", "nvm,size=1M", "d.zimg")
	zimg(t, "zone", "set-ext", "--text", "journal", "d.zimg", "0")
	zimg(t, "write", "--zone", "1", "d.zimg", "data")
	zimg(t, "zone", "finish", "d.zimg", "2")
	zimg(t, "snapshot", "-q", "-c", "one", "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "plain.zimg")
	zimg(t, "create", "-q", "--ns", "zones=4,zone-size=1M,zrwas=64K,max-active=2,cross-read=on,metadata-size=16,mset=1,pi=1,pil=1,pif=2", "all.zimg")
	zimg(t, "convert", "-q", "-O", "qcow2", "plain.zimg", "d.qcow2")
	zimg(t, "convert", "-q", "d.zimg", "other.zimg")
	zimg(t, "zone", "reset", "other.zimg", "1")
	zimg(t, "convert", "-q", "d.zimg", "third.zimg")
	b, err := os.ReadFile("third.zimg")
	if err != nil {
		t.Fatal(err)
	}
	b[1<<20]++ // of zone 1's data
	for name, image := range map[string][]byte{"third.zimg": b, "broken.zimg": b[:len(b)-4096]} {
		if err := os.WriteFile(name, image, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// typeKeys collects the keys that a value of type t is written with.
func typeKeys(t reflect.Type, keys map[string]bool) {
	switch t.Kind() { //nolint:exhaustive // the rest has no keys
	case reflect.Pointer, reflect.Slice:
		typeKeys(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name != "" {
				keys[name] = true
			}
			typeKeys(t.Field(i).Type, keys)
		}
	}
}

// valueKeys collects the keys of v, except for states and the facts of a foreign format.
func valueKeys(t *testing.T, v any, keys map[string]bool) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			if slices.Contains(report.StateKeys[:], k) {
				continue
			}
			keys[k] = true
			if k != "facts" {
				valueKeys(t, item, keys)
			}
		}
	case []any:
		for _, item := range v {
			valueKeys(t, item, keys)
		}
	case json.Number:
		if _, err := v.Int64(); err != nil {
			t.Errorf("%s is not an exact integer", v)
		}
	}
}
