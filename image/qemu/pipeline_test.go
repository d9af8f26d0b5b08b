package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// Writes go out before the next read, in order and without an answer being waited for, or with Flush; what was dropped does not.
func TestQTestCollectsWrites(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	sent := make(chan string, 100)
	answers := make(chan string, 100) // a socket has room for them
	go func() {
		for a := range answers {
			_, _ = theirs.Write([]byte(a))
		}
	}()
	go func() {
		defer close(answers)
		defer close(sent)
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			sent <- lines.Text()
			answer := "OK\n"
			if strings.HasPrefix(lines.Text(), "read") {
				answer = "OK 0x2a\n"
			}
			answers <- answer
		}
	}()
	q := NewQTest(ours, 10*time.Second)
	for _, err := range []error{q.WriteL(0x10, 1), q.WriteQ(0x20, 2), q.OutL(0xcf8, 3), q.Clear(0x1000, 16)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(sent) > 0 {
		t.Errorf("%q was sent before a read", <-sent)
	}
	if v, err := q.ReadL(0x30); err != nil || v != 42 {
		t.Fatalf("%d, %v", v, err)
	}
	if err := q.WriteL(0x40, 4); err != nil {
		t.Fatal(err)
	}
	q.drop()
	if err := q.WriteL(0x50, 5); err != nil {
		t.Fatal(err)
	}
	if err := q.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := q.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	var got []string
	for line := range sent {
		got = append(got, line)
	}
	want := []string{"writel 0x10 0x1", "writeq 0x20 0x2", "outl 0xcf8 0x3", "memset 0x1000 0x10 0x0", "readl 0x30", "writel 0x50 0x5"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A command is executed with every argument, also after one that QEMU has refused, and each answer belongs to its argument.
func TestQMPDoEach(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	go func() {
		say := func(text string) { _, _ = fmt.Fprintln(theirs, text) }
		say(`{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}`)
		requests := make(chan string, 100) // a socket has room for them
		go func() {
			defer close(requests)
			for lines := bufio.NewScanner(theirs); lines.Scan(); {
				requests <- lines.Text()
			}
		}()
		for line := range requests {
			var r struct {
				Execute   string
				Arguments struct{ Name string }
				ID        int
			}
			_ = json.Unmarshal([]byte(line), &r)
			switch {
			case r.Arguments.Name == "b":
				say(fmt.Sprintf(`{"id": %d, "error": {"class": "GenericError", "desc": "no %s"}}`, r.ID, r.Arguments.Name))
			default:
				say(fmt.Sprintf(`{"id": %d, "return": {}}`, r.ID))
			}
		}
	}()
	q, err := NewQMP(ours, 10*time.Second, 10*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	named := func(name string) any { return map[string]any{"name": name} }
	refused, err := q.doEach("set", []any{named("a"), named("b"), named("c")})
	if err != nil || len(refused) != 3 {
		t.Fatalf("%v, %v", refused, err)
	}
	if refused[0] != nil || refused[1] == nil || refused[1].Desc != "no b" || refused[1].Command != "set" || refused[2] != nil {
		t.Errorf("%v", refused)
	}
	if err := q.Do("query-status", nil, nil); err != nil {
		t.Error(err)
	}
}
