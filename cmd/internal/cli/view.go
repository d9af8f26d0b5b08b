package cli

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteJSON writes v indented, with a newline at the end. The shapes are promised in docs/JSON.md.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Printable makes text that may come from a file safe for a terminal.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		if r != '\n' && !strconv.IsPrint(r) {
			clean = false
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRuneToASCII(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// OneLine is printable text of one line: a name or a label must not pass for more lines of a listing.
func OneLine(s string) string { return strings.ReplaceAll(Printable(s), "\n", `\n`) }

// ParseHex fills dst from hexadecimal digits; dashes, as in a UUID, do not count.
func ParseHex(text string, dst []byte) error {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil {
		return errors.New("must be hexadecimal")
	}
	if len(b) != len(dst) {
		return fmt.Errorf("must have %d bytes, not %d", len(dst), len(b))
	}
	copy(dst, b)
	return nil
}

// ShellWord is path as one word of a shell.
func ShellWord(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Count is n with the right word.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
