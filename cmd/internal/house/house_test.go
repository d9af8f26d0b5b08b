package house_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "draw the picture of the imports in docs/ARCHITECTURE.md")

const root = "../../.."

// source is one Go file of the module.
type source struct {
	path string // from the root, with slashes
	text []byte
	ast  *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// below says whether s is in one of the folders.
func (s *source) below(folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(s.path, f+"/") })
}

// eachString calls fn for each string literal of s, with its line.
func (s *source) eachString(t *testing.T, fn func(line int, text string)) {
	t.Helper()
	ast.Inspect(s.ast, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		fn(fset.Position(lit.Pos()).Line, text)
		return true
	})
}

var fset = token.NewFileSet()

// sources are all Go files.
func sources(t *testing.T) []*source {
	t.Helper()
	list, err := readSources()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 300 {
		t.Fatalf("%d files: this is not the whole module", len(list))
	}
	return list
}

var readSources = sync.OnceValues(func() ([]*source, error) {
	var list []*source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		list = append(list, &source{filepath.ToSlash(rel), text, f})
		return err
	})
	return list, err
})

// A file that a person can read in one go.
func TestFileLength(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > 400 {
			t.Errorf("%s: %d lines, want at most 400", s.path, n)
		}
	}
}

// commandWords are what only the command line may speak of: its name with a verb, and flags.
var commandWords = regexp.MustCompile(`\bzimg (check|compare|convert|crash|create|dump|info|map|qemu-args|read|report|resize|restore|run|serve|snapshot|undo|version|write|append|zone)\b|(^|[^\w-])--[a-z]`)

// foreignCommands are the commands of other programs, which may be named.
var foreignCommands = regexp.MustCompile(`^rublk add `)

// The library does not know the command line: errors have types, and the command adds what to do.
func TestNoCommandLineBelowCmd(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test() || !s.below("layout", "image", "fsck") || s.below("image/imagetest") {
			continue
		}
		s.eachString(t, func(line int, text string) {
			if commandWords.MatchString(text) && !foreignCommands.MatchString(text) {
				t.Errorf("%s:%d: %q speaks of the command line", s.path, line, text)
			}
		})
	}
}

// calls are the places, by file, where a function or method called name is called.
func calls(s *source, name string) int {
	n := 0
	ast.Inspect(s.ast, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && sel.Sel.Name == name {
			n++
		}
		return true
	})
	return n
}

// Only the replacement gives a file the name of another one, and the journal, whose mark of a run appears whole.
func TestOneRename(t *testing.T) {
	t.Parallel()
	allowed := []string{"image/disk/", "image/journal/journal.go", "image/imagetest/"}
	for _, s := range sources(t) {
		if s.test() || slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(s.path, a) }) {
			continue
		}
		for _, name := range []string{"Rename", "RenameNew", "Renameat2", "Renameat"} {
			if n := calls(s, name); n > 0 {
				t.Errorf("%s calls %s: files are replaced by disk.Replacement", s.path, name)
			}
		}
	}
}

// functions are the functions of all packages with their receivers, as "zimg/image/zns.AtRest" and
// "zimg/image.Namespace.SetZone".
func functions(list []*source) map[string]*ast.FuncDecl {
	found := map[string]*ast.FuncDecl{}
	for _, s := range list {
		if s.test() {
			continue
		}
		pkg := s.path[:strings.LastIndex(s.path, "/")] + "."
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := pkg
			if f.Recv != nil {
				typ := f.Recv.List[0].Type
				if star, ok := typ.(*ast.StarExpr); ok {
					typ = star.X
				}
				if generic, ok := typ.(*ast.IndexExpr); ok {
					typ = generic.X
				}
				if id, ok := typ.(*ast.Ident); ok {
					name += id.Name + "."
				}
			}
			found[name+f.Name.Name] = f
		}
	}
	return found
}

// A rule exists once: what a power cycle makes of a zone, and which geometries are possible.
func TestOneOfEach(t *testing.T) {
	t.Parallel()
	for _, rule := range []struct {
		name    *regexp.Regexp
		allowed []string
	}{
		// PowerCycle and Content.AtRest do it to all zones; fsck's is a finding about data beyond a write pointer.
		{regexp.MustCompile(`(?i)\.(atrest|powercycle)$`), []string{"image/zns.AtRest", "image/zns.Machine.PowerCycle", "image/foreign.Content.AtRest", "fsck.state.atRest"}},
		{regexp.MustCompile(`(?i)\.(validate|checkgeometry|validgeometry)$`), []string{"layout.Namespace.Validate"}},
	} {
		seen := 0
		for name := range functions(sources(t)) {
			if !rule.name.MatchString(name) {
				continue
			}
			seen++
			if !slices.Contains(rule.allowed, name) {
				t.Errorf("%s: there is %v already", name, rule.allowed)
			}
		}
		if seen == 0 {
			t.Errorf("nothing is called %v", rule.name)
		}
	}
}

// What varies comes in through options: no package sets a variable of another one.
func TestNoVariableOfAnotherPackage(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test() || s.below("image/imagetest") {
			continue
		}
		ours := map[string]bool{} // names of the packages of the module that s imports
		for _, i := range s.ast.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(name, "zimg/"); ok && i.Name == nil {
				ours[rest[strings.LastIndex(rest, "/")+1:]] = true
			}
		}
		check := func(e ast.Expr) {
			sel, ok := e.(*ast.SelectorExpr)
			if !ok {
				return
			}
			// A name that the file declares is a variable of its own that hides the package.
			if id, ok := sel.X.(*ast.Ident); ok && ours[id.Name] && id.Obj == nil {
				t.Errorf("%s:%d: %s.%s is set", s.path, fset.Position(e.Pos()).Line, id.Name, sel.Sel.Name)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					check(e)
				}
			case *ast.IncDecStmt:
				check(n.X)
			}
			return true
		})
	}
}

// A test waits for what is meant, not for a time: time.Sleep is only between two looks at something, after each round of
// a loop.
func TestNoFixedSleeps(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		polls := map[ast.Node]bool{}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if loop, ok := n.(*ast.ForStmt); ok && loop.Post != nil {
				if post, ok := loop.Post.(*ast.ExprStmt); ok {
					polls[post.X] = true
				}
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || polls[n] {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
				t.Errorf("%s:%d: a fixed sleep", s.path, fset.Position(n.Pos()).Line)
			}
			return true
		})
	}
}
