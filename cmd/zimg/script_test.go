package main

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"zimg/cmd/internal/vm"
)

func TestMain(m *testing.M) {
	vm.Guard()
	testscript.Main(m, map[string]func(){
		"zimg": main,
		"fsck.zimg": func() {
			os.Exit(run(append([]string{"fsck.zimg"}, os.Args[1:]...), streams{os.Stdin, os.Stdout, os.Stderr}))
		},
		"zimg-buggy": buggyMain,
	})
}

// The command line as a user sees it: a file a behaviour, whole outputs, exit codes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SOURCE_DATE_EPOCH", "1700000000")
			env.Setenv("U", "5a696d67-0000-4000-8000-000000000001")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": scriptStatus,
			"poke":   scriptPoke,
			"cut":    scriptCut,
			"random": scriptRandom,
			"schema": scriptSchema,
		},
	})
}

// status N COMMAND ARGS...: the command ends with exit status N.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		var ok bool
		if got, ok = exitCode(err); !ok {
			ts.Fatalf("%v", err)
		}
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

func exitCode(err error) (int, bool) {
	e, ok := err.(interface{ ExitCode() int })
	if !ok {
		return 0, false
	}
	return e.ExitCode(), true
}

// poke FILE OFFSET HEX [header|locator]: writes bytes; an offset below 0 counts from the end. With a
// third word the CRC of the structure at the offset's block is made right again.
func scriptPoke(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: poke FILE OFFSET HEX [header|locator]")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	off, err := strconv.Atoi(args[1])
	ts.Check(err)
	if off < 0 {
		off += len(b)
	}
	bytes, err := hex.DecodeString(args[2])
	ts.Check(err)
	copy(b[off:], bytes)
	if len(args) > 3 {
		base := off / 4096 * 4096
		at := map[string]int{"header": 508, "locator": 4092}[args[3]]
		block := b[base : base+4096]
		clear(block[at : at+4])
		sum := crc32.Checksum(block[:4092+4*strings.Count(args[3], "header")], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(block[at:], sum)
	}
	ts.Check(os.WriteFile(name, b, 0o666))
}

// cut FILE N: the file is N bytes long; below 0: shorter by so much.
func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE N")
	}
	name := ts.MkAbs(args[0])
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if n < 0 {
		info, err := os.Stat(name)
		ts.Check(err)
		n += info.Size()
	}
	ts.Check(os.Truncate(name, n))
}

// random FILE N: a file of N bytes that are always the same.
func scriptRandom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: random FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x>>24) | 1
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

// run is execute for those who want the exit code alone.
func run(args []string, s streams) int {
	code, _ := execute(args, s)
	return code
}
