package house_test

import (
	"go/ast"
	"strings"
	"testing"
)

// A panic in a goroutine that nobody guards ends the process with a stack trace and exit status 2. So goroutines are started by
// package goroutine alone, and what a timer or a context calls begins with its Recover.
func TestGoroutines(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test() || s.below("image/goroutine", "image/imagetest") {
			continue
		}
		groups := waitGroups(s)
		ast.Inspect(s.ast, func(n ast.Node) bool {
			line := 0
			if n != nil {
				line = fset.Position(n.Pos()).Line
			}
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s:%d: a go statement; use goroutine.Go or a goroutine.Group", s.path, line)
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				switch {
				case !ok:
				case f.Sel.Name == "AfterFunc" && !recovers(s, n.Args[len(n.Args)-1]):
					t.Errorf("%s:%d: what AfterFunc calls does not begin with 'defer goroutine.Recover'", s.path, line)
				case f.Sel.Name == "Go" && groups[lastName(f.X)]:
					t.Errorf("%s:%d: a goroutine of a sync.WaitGroup; use a goroutine.Group", s.path, line)
				}
			}
			return true
		})
	}
}

// recovers reports whether fn is a function literal whose first statement is the recovery.
func recovers(s *source, fn ast.Expr) bool {
	lit, ok := fn.(*ast.FuncLit)
	if !ok || len(lit.Body.List) == 0 {
		return false
	}
	first := fset.Position(lit.Body.List[0].Pos()).Offset
	return strings.HasPrefix(string(s.text[first:]), "defer goroutine.Recover(")
}

// waitGroups are the names of the variables and fields of s that are a sync.WaitGroup.
func waitGroups(s *source) map[string]bool {
	names := map[string]bool{}
	add := func(list []*ast.Ident, kind ast.Expr) {
		if f, ok := kind.(*ast.SelectorExpr); ok && lastName(f) == "WaitGroup" {
			for _, name := range list {
				names[name.Name] = true
			}
		}
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			add(n.Names, n.Type)
		case *ast.ValueSpec:
			add(n.Names, n.Type)
		}
		return true
	})
	return names
}

// lastName is the last name of a selector such as s.running, or the name that x is.
func lastName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}
