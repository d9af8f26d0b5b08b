package house_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every function that docs/ARCHITECTURE.md names exists.
func TestDocumentedFunctions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	known, packages := map[string]bool{}, map[string]bool{}
	for name := range functions(sources(t)) {
		short := name[strings.LastIndex(name, "/")+1:]
		known[short] = true
		pkg, _, _ := strings.Cut(short, ".")
		packages[pkg] = true
	}
	names := 0
	for _, m := range regexp.MustCompile("`([a-z]+)(\\.[A-Za-z]+)+`").FindAllStringSubmatch(string(text), -1) {
		name := strings.Trim(m[0], "`")
		if !packages[m[1]] {
			t.Errorf("%s: there is no package %s", name, m[1])
			continue
		}
		names++
		if !known[name] {
			t.Errorf("there is no function %s", name)
		}
	}
	if names < 20 {
		t.Errorf("%d functions are named", names)
	}
}
