package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "64": 64, "64M": 64 << 20, "64m": 64 << 20, "64MiB": 64 << 20, "64MB": 64e6, "1k": 1024, "1KB": 1000, "3T": 3 << 40, "7E": 7 << 60, "512b": 512,
		"9223372036854775807": math.MaxInt64, "1.5G": 3 << 29, ".5k": 512, "0.001KB": 1, "1.0000000000000000000": 1, "7.5E": 15 << 59, "0x10": 16, "0x1B": 27, "0x7fffffffffffffff": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "1e3", "0.3k", "1.", ".", "1.2.3", "8.0E", "1.00000000000000000000", "-1", "+1", " 1", "1zz", "8E", "18446744073709551615", "9223372036854775808", "1MM", "1iB", "0x", "0x1K", "0x8000000000000000"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := OneLine("a\nstate: clean\x1b[31m"); got != `a\nstate: clean\x1b[31m` {
		t.Errorf("%q", got)
	}
}

func FuzzSize(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(64 << 20))
	f.Add(int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 {
			return
		}
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Errorf("%d is written %q, which reads %d, %v", n, FormatSize(n), got, err)
		}
	})
}

// JSON can be shown on a terminal, and is read back as what it was made of.
func TestJSONIsPrintable(t *testing.T) {
	const text = "e\x1b[31m\u009b2J\u202egnp.exe\U000e0041 <Zürich>\n"
	b, err := JSON(map[string]string{"name": text})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"e\u001b[31m\u009b2J\u202egnp.exe\udb40\udc41 <Zürich>\n"}`; string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
	var back map[string]string
	if err := json.Unmarshal(b, &back); err != nil || back["name"] != text {
		t.Errorf("%q, %v", back, err)
	}
	var out, line bytes.Buffer
	if err := WriteJSON(&out, back); err != nil || out.String() != "{\n  "+string(b[1 : len(b)-1])[:6]+": "+string(b[8:len(b)-1])+"\n}\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	Fprintf(&line, "Formatted '%s', %d zones\n", "a\nb\x1b[0m", 3)
	if got := line.String(); got != `Formatted 'a\nb\x1b[0m', 3 zones`+"\n" {
		t.Errorf("%q", got)
	}
}
