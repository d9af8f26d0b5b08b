package house_test

import (
	"bytes"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A phrase is a turn of phrase that makes a reader stop, and what to write instead.
type phrase struct {
	not *regexp.Regexp
	but string
}

const (
	noun = `zone|namespace|line|block|call|image|byte|sector|request|command|point|file|queue|host|write|wait|argument|slot|name|row|second`
	unit = `bytes?|blocks?|bits?|lines?|rows?|columns?|files?|zones?|entry|entries|squares?|words?|sectors?|extensions?|sums?`
)

// phrases are refused in everything that a person reads: messages, help, documents and comments.
var phrases = []phrase{
	{re(`(is|are|was|were|be) no (multiple|whole|number|size|zone|image|file|property|power|block|range|directory|regular|hole|holes|terminal|point|secret|part|flag)`), "is not a ..."},
	{re(`mend(s|ed|ing|able)?`), "repair"},
	{re(`tells?|told`), "say, show, report, distinguish, notify"},
	{re(`behind`), "after, past"},
	{re(`lies?|lain|lying|lay`), "is"},
	{re(`of which`), "including, whose"},
	{re(`(?:,|and|all|nothing|none) but for`), "except for"},
	{re(`but with --?[a-z]+`), "unless ... is given"},
	{re(`may be had|to be had|can be had`), "is available"},
	{re(`all the same`), "anyway"},
	{re(`would have to`), "must, needs"},
	{re(`(?:one|two|three|four|eight|half|few|[0-9]+|an?) (?:` + unit + `) an? (?:` + noun + `)`), "... per ..."},
	{re(`(?:one|two|three|four|eight|half) an? (?:` + noun + `)`), "one per ..."},
	{re(`(is|are) taken for`), "counts as"},
	{re(`brings? back|brought back`), "restore"},
	{re(`nobody (looks|knows|asks|reads|sees|has)`), "it is not ..."},
	{re(`of itself`), "automatically"},
	{re(`in the way of`), "blocks"},
	{re(`for ever`), "forever"},
	{re(`hence|thereby|whereby|wherein|thereof|herein|therein|whatsoever`), "the common word"},
	{re(`the one or the other`), "one of the two"},
	{re(`sees to (it|that)`), "makes sure"},
	{re(`(than|that) of before|of before the`), "the previous"},
}

// visiblePhrases are refused in messages, help and documents as well.
var visiblePhrases = []phrase{
	{re(`as of`), "for, after, from"},
	{re(`says? (which|where|what)(:| with)`), "choose one with"},
	{re(`is to be|are to be|as it is to be`), "will be, must be"},
	{re(`and nothing else`), "only"},
	{re(`zeroes`), "zeros"},
}

// allowed are phrases in a sense that is good English.
var allowed = []string{
	"behind a bridge", "behind bridges", "write zeroes", "writes zeroes", "there is no ", "there can be no ", "each of which",
	"the first of which", "nobody has waited", "zeroes.zimg", "no zones",
}

func re(pattern string) *regexp.Regexp { return regexp.MustCompile(`\b(?:` + pattern + `)\b`) }

// A text is something that a person reads, with the line at which it begins.
type text struct {
	path    string
	line    int
	body    string
	comment bool
}

// texts are all comments and messages of the Go files, and the documents.
func texts(t *testing.T) []text {
	t.Helper()
	var list []text
	for _, s := range sources(t) {
		for _, group := range s.ast.Comments {
			list = append(list, text{s.path, fset.Position(group.Pos()).Line, commentText(group), true})
		}
		if s.test() {
			continue
		}
		s.eachString(t, func(line int, body string) { list = append(list, text{s.path, line, body, false}) })
	}
	for _, pattern := range []string{"*.md", "docs/*.md", "scripts/*.sh", "scripts/*.py", "testdata/foreign/*.md", "Makefile"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			body, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, text{filepath.ToSlash(rel), 1, string(body), false})
		}
	}
	return list
}

// commentText is the text of a comment without its slashes, line for line.
func commentText(group *ast.CommentGroup) string {
	var b bytes.Buffer
	for _, c := range group.List {
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(c.Text, "//"), " ") + "\n")
	}
	return b.String()
}

// Everything that a person reads is plain English.
func TestWords(t *testing.T) {
	t.Parallel()
	visible := slices.Concat(phrases, visiblePhrases)
	anyPhrase, anyVisible := union(phrases), union(visible)
	for _, x := range texts(t) {
		list, first := visible, anyVisible
		if x.comment {
			list, first = phrases, anyPhrase
		}
		body := strings.ToLower(strings.ReplaceAll(x.body, "\n", " "))
		for _, a := range allowed {
			body = strings.ReplaceAll(body, a, strings.Repeat("_", len(a)))
		}
		for _, at := range first.FindAllStringIndex(body, -1) {
			line := x.line + strings.Count(x.body[:min(at[0], len(x.body))], "\n")
			lo, hi := max(0, at[0]-60), min(len(body), at[1]+60)
			for _, p := range list {
				if p.not.MatchString(body[at[0]:at[1]]) {
					t.Errorf("%s:%d: %q, write %s: ...%s...", x.path, line, body[at[0]:at[1]], p.but, body[lo:hi])
					break
				}
			}
		}
	}
}

// union matches what one of the phrases matches.
func union(list []phrase) *regexp.Regexp {
	var all []string
	for _, p := range list {
		all = append(all, p.not.String())
	}
	return regexp.MustCompile(strings.Join(all, "|"))
}

// The phrases match what they are meant for, and not the sentences that replace it.
func TestPhrases(t *testing.T) {
	t.Parallel()
	all := union(slices.Concat(phrases, visiblePhrases))
	for bad, good := range map[string]string{
		"size 100m is no multiple of the zone size":   "size 100m is not a multiple of the zone size",
		"what is left cannot be mended":               "the remaining problems cannot be repaired",
		"the bitmap tells how far it was written":     "the bitmap shows how far it was written",
		"qemu cannot be told of offline zones":        "qemu has no way to set a zone offline",
		"directly behind the one before it":           "right after the previous one",
		"what lies beyond the write pointer":          "data beyond the write pointer",
		"one line a namespace":                        "one line per namespace",
		"64 bytes a zone":                             "64 bytes per zone",
		"every key, but for uuid":                     "every key except uuid",
		"refused but with --lossy":                    "refused unless --lossy is given",
		"several zoned namespaces: say which with --": "more than one zoned namespace; choose one with --ns",
		"it is reported all the same":                 "it is reported anyway",
	} {
		if !all.MatchString(bad) {
			t.Errorf("%q is accepted", bad)
		}
		if m := all.FindString(good); m != "" {
			t.Errorf("%q is refused for %q", good, m)
		}
	}
}
