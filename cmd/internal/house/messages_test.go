package house_test

import (
	"bufio"
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var messagesOut = flag.String("messages", "", "write the list of all messages, each with a test that sees it, to `FILE`")

// untestedMessages lists the messages that no test sees, with the reason.
const untestedMessages = root + "/testdata/messages/untested.txt"

// messageCalls are the functions whose first string is a message for a user.
var messageCalls = map[string]bool{
	"Errorf": true, "UsageError": true, "Warn": true, "marked": true, "errorf": true, "refuse": true, "New": true, "stepf": true,
}

// messages collects the messages of the product, each with the places where it is made.
func messages(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	add := func(s *source, e ast.Expr) {
		text, ok := constant(e)
		if ok && strings.Count(strings.TrimSpace(text), " ") > 0 {
			found[text] = append(found[text], s.path)
		}
	}
	for _, s := range sources(t) {
		if s.test() || !s.below("layout", "image", "fsck", "cmd") || s.below("image/imagetest", "image/drive/drivetest", "image/drive/tcp/host") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if messageCalls[calledName(n)] {
					for _, arg := range n.Args {
						if _, ok := constant(arg); ok {
							add(s, arg)
							break
						}
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Hint" {
					add(s, n.Value)
				}
			}
			return true
		})
	}
	return found
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// constant is the text of a string literal, or of a sum of them with other strings between, which are %s.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok1 := constant(e.X)
		right, ok2 := constant(e.Y)
		if !ok1 && !ok2 {
			return "", false
		}
		if !ok1 {
			left = "%s"
		}
		if !ok2 {
			right = "%s"
		}
		return left + right, true
	}
	return "", false
}

// testedTexts are the texts that tests compare with what zimg says: strings of test files, and scripts.
func testedTexts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, s := range sources(t) {
		if !s.test() || s.below("cmd/internal/house") {
			continue
		}
		var b strings.Builder
		s.eachString(t, func(_ int, text string) { b.WriteString(text + "\n") })
		texts[s.path] = b.String()
	}
	for _, pattern := range []string{"testdata/script/*.txtar", "testdata/damage/*/*", "testdata/foreign/*.txt", "README.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			if pattern == "README.md" { // only the tour is compared with what zimg prints
				_, text, _ = strings.Cut(text, "<!-- tour -->")
				text, _, _ = strings.Cut(text, "<!-- end of tour -->")
			}
			texts[strings.TrimPrefix(filepath.ToSlash(name), root+"/")] = text
		}
	}
	// What regular expressions escape, and what quoting doubles.
	plain := strings.NewReplacer(`\(`, "(", `\)`, ")", `\.`, ".", `\[`, "[", `\]`, "]", `\{`, "{", `\}`, "}", `\+`, "+", `\?`, "?", `\|`, "|", `\*`, "*", "''", "'")
	for name, text := range texts {
		texts[name] = plain.Replace(text)
	}
	return texts
}

var verb = regexp.MustCompile(`%[-+# 0]*[0-9*]*(?:\.[0-9*]+)?(?:\[[0-9]+\])?[a-zA-Z%]`)

// distinctive are the parts of a message by which a test recognizes it: runs of three longer words without a verb, or all
// words of the longest part if it is shorter.
func distinctive(message string) []string {
	var parts []string
	longest := ""
	for _, part := range verb.Split(message, -1) {
		part = strings.Trim(part, " :;,.'\"")
		words := strings.Fields(part)
		if len(part) > len(longest) {
			longest = part
		}
		for i := 0; i+3 <= len(words); i++ {
			if run := strings.Join(words[i:i+3], " "); len(run) >= 13 { // "is not a", for one, is in many
				parts = append(parts, run)
			}
		}
	}
	if len(parts) == 0 {
		parts = append(parts, longest)
	}
	return parts
}

// Every message that a user can see is seen by a test, or is listed with the reason why not.
func TestMessages(t *testing.T) {
	t.Parallel()
	tested := testedTexts(t)
	names := slices.Sorted(maps.Keys(tested))
	excused := readUntested(t)
	list := messages(t)
	if len(list) < 400 {
		t.Fatalf("%d messages: these are not all", len(list))
	}
	var lines []string
	for _, message := range slices.Sorted(maps.Keys(list)) {
		parts := distinctive(message)
		by := ""
		for _, name := range names {
			if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(tested[name], p) }) {
				by = name
				break
			}
		}
		reason, listed := excused[message]
		delete(excused, message)
		switch {
		case by == "" && !listed:
			t.Errorf("%s: no test sees %q; add one (testdata/script/messages.txtar), or a line with the reason to testdata/messages/untested.txt", list[message][0], message)
		case by != "" && listed:
			t.Errorf("%s sees %q, which testdata/messages/untested.txt lists: remove the line", by, message)
		case listed:
			by = "none: " + reason
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s", list[message][0], strconv.Quote(message), by))
	}
	for message := range excused {
		t.Errorf("testdata/messages/untested.txt lists %q, which is not a message: remove the line", message)
	}
	if *messagesOut != "" {
		if err := os.WriteFile(*messagesOut, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readUntested reads the list of messages without a test: lines of a quoted message, a tab and the reason.
func readUntested(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(untestedMessages)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := map[string]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		quoted, reason, ok := strings.Cut(in.Text(), "\t")
		message, err := strconv.Unquote(quoted)
		if err != nil || !ok || reason == "" {
			t.Fatalf("%s: %q is not a quoted message and a reason", untestedMessages, in.Text())
		}
		list[message] = reason
	}
	return list
}
