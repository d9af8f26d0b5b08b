package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// WriteJSON writes v indented, with a newline at the end. The shapes are promised in docs/JSON.md.
func WriteJSON(w io.Writer, v any) error {
	b, err := encodeJSON(v, "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// JSON is v in one line. It can be shown on a terminal: what does not print is escaped.
func JSON(v any) ([]byte, error) { return encodeJSON(v, "") }

func encodeJSON(v any, indent string) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	// The encoder escapes the control characters below U+0020 and leaves the others, and those that turn the
	// direction of writing. None of them is outside a string.
	var b []byte
	for _, r := range string(bytes.TrimRight(buf.Bytes(), "\n")) {
		switch {
		case r < 0x7F || strconv.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b, nil
}

// Fprintf is fmt.Fprintf for a person's eyes: a string among args, the name of a file for instance, cannot pass for more
// than a part of its line.
func Fprintf(w io.Writer, format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = OneLine(s)
		}
	}
	fmt.Fprintf(w, format, args...)
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
		return errors.New("not hexadecimal")
	}
	if len(b) != len(dst) {
		return fmt.Errorf("must have %d bytes, not %d", len(dst), len(b))
	}
	copy(dst, b)
	return nil
}

// ShellWord is path as one word of a shell, to be shown: what does not print is escaped as bash, zsh and ksh understand it,
// and no command takes it for a flag.
func ShellWord(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	if OneLine(path) == path {
		return POSIXWord(path)
	}
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		switch {
		case r == '\'' || r == '\\':
			b.WriteString("\\" + path[:n])
		case r != utf8.RuneError && strconv.IsPrint(r):
			b.WriteString(path[:n])
		default:
			for _, c := range []byte(path[:n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		}
		path = path[n:]
	}
	return "$'" + b.String() + "'"
}

// POSIXWord is path as one word of any shell, for a command that is run.
func POSIXWord(path string) string {
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
