package house_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const architecture = root + "/docs/ARCHITECTURE.md"

// imports is what each package of the module imports of it, as go list says for Linux; the formats of other
// programs are one line, "image/foreign/*".
func imports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "zimg/...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	short := func(path string) string {
		path = strings.TrimPrefix(path, "zimg/")
		rest, ok := strings.CutPrefix(path, "image/foreign/")
		if ok && rest != "all" {
			return "image/foreign/*"
		}
		return path
	}
	graph := map[string]map[string]bool{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := short(words[0])
		if strings.Contains(from, "test") || strings.HasPrefix(from, "scripts/") || from == "cmd/internal/house" {
			continue
		}
		if graph[from] == nil {
			graph[from] = map[string]bool{}
		}
		for _, to := range words[1:] {
			if strings.HasPrefix(to, "zimg/") && short(to) != from {
				graph[from][short(to)] = true
			}
		}
	}
	return graph
}

// picture draws graph, lowest layer first: a package stands in the first layer above all that it imports. What
// comes with another import is left out.
func picture(graph map[string]map[string]bool) string {
	below := map[string]map[string]bool{} // all that a package imports, directly or not
	level := map[string]int{}
	var visit func(p string)
	visit = func(p string) {
		if below[p] != nil {
			return
		}
		below[p] = map[string]bool{}
		for q := range graph[p] {
			visit(q)
			below[p][q] = true
			maps.Copy(below[p], below[q])
			level[p] = max(level[p], level[q]+1)
		}
	}
	for p := range graph {
		visit(p)
	}
	names := slices.Collect(maps.Keys(graph))
	slices.SortFunc(names, func(a, b string) int {
		if level[a] != level[b] {
			return level[a] - level[b]
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, p := range names {
		if i > 0 && level[p] != level[names[i-1]] {
			b.WriteString("\n")
		}
		var direct []string
		for q := range graph[p] {
			through := false
			for r := range graph[p] {
				through = through || below[r][q]
			}
			if !through {
				direct = append(direct, q)
			}
		}
		slices.Sort(direct)
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-22s %s", p, strings.Join(direct, " ")), " ") + "\n")
	}
	return b.String()
}

// The picture in the document is that of the code.
func TestImports(t *testing.T) {
	t.Parallel()
	graph := imports(t)
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	const start, end = "<!-- imports -->\n```\n", "```\n<!-- end of imports -->"
	head, rest, ok1 := strings.Cut(string(text), start)
	was, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("the document has no picture")
	}
	is := picture(graph)
	if is == was {
		return
	}
	if *update {
		if err := os.WriteFile(architecture, []byte(head+start+is+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the imports are not those of docs/ARCHITECTURE.md; go test ./cmd/internal/house -update draws them:\n%s", is)
}

// Imports go one way; formats of other programs, and what uses them, are above images.
func TestLayers(t *testing.T) {
	t.Parallel()
	layer := func(p string) int {
		top, rest, _ := strings.Cut(p, "/")
		if second, _, _ := strings.Cut(rest, "/"); top == "image" && slices.Contains([]string{"foreign", "transfer", "compare"}, second) {
			top = "image/" + second
		}
		return slices.Index([]string{"layout", "image", "image/foreign", "image/transfer", "image/compare", "fsck", "docs", "cmd"}, top)
	}
	for from, tos := range imports(t) {
		if layer(from) < 0 {
			t.Errorf("%s is in no layer", from)
		}
		for to := range tos {
			if layer(to) > layer(from) {
				t.Errorf("%s imports %s, which is above it", from, to)
			}
		}
	}
}

// The linter has a rule for what each package may import.
func TestImportRules(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile(root + "/.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range sources(t) {
		folder := path.Dir(s.path)
		if s.test() || seen[folder] || !s.below("layout", "image", "fsck", "cmd") || s.below("image/imagetest") || path.Base(folder) == "drivetest" {
			continue
		}
		seen[folder] = true
		if folder != "cmd/internal/house" && !strings.Contains(string(rules), `"**/`+folder+`/*.go"`) {
			t.Errorf("no rule says what %s may import", folder)
		}
	}
}
