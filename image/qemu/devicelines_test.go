package qemu

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zimg/image/imagetest"
)

// answers are what a guest sees of namespace nsid of the controller called id: identify controller without what makes it
// this one, identify namespace, both of the zoned command set, and all zones that fit a transfer.
func answers(t *testing.T, d *stock, id string, nsid uint32, ext bool) map[string][]byte {
	t.Helper()
	m, err := d.machine()
	if err != nil {
		t.Fatal(err)
	}
	place, err := findPCI(d.qmp, id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenController(d.qtest, m, place)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *queue, cmd command) []byte {
		t.Helper()
		if err := c.run(q, []command{cmd}, 0); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		b := make([]byte, cmd.length)
		if err := c.t.Read(c.ram+memData, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	identify := func(nsid, cns, csi uint32) []byte {
		return ask(&c.admin, command{
			opcode: adminIdentify, nsid: nsid, data: true, length: pageSize, cdw: [6]uint32{cns, csi << 24}, what: "identify",
		})
	}
	got := map[string][]byte{
		"id-ctrl":     identify(0, cnsController, 0),
		"id-ns":       identify(nsid, 0, 0),
		"zns id-ns":   identify(nsid, 5, 2),
		"zns id-ctrl": identify(0, 6, 2), // the limit of appends
	}
	clear(got["id-ctrl"][4:24])     // serial number
	clear(got["id-ctrl"][768:1024]) // subsystem, which has it in its name
	action := uint32(0)
	if ext {
		action = 1
	}
	length := c.transfer &^ 3
	got["report-zones"] = ask(&c.io, command{
		opcode: znsMgmtReceive, nsid: nsid, data: true, length: length, cdw: [6]uint32{0, 0, uint32(length/4 - 1), action}, what: "report zones",
	})
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return got
}

// stockArgs are the devices of lines for a QEMU without zimg: controller stock with a namespace on file. What wires a line is left
// out, and so is what the namespace cannot have without a subsystem of its own.
func stockArgs(lines []string, file string) []string {
	controller, space := []string{"nvme,id=stock"}, []string{"nvme-ns,drive=stock0,bus=stock"}
	logical, keys := "", map[string]bool{}
	for _, line := range lines {
		driver, rest, _ := strings.Cut(strings.TrimPrefix(line, "-device "), ",")
		if driver == "zoned" {
			driver, rest = "nvme-ns", "zoned=on,"+rest
		}
		for _, property := range strings.Split(rest, ",") {
			key, value, _ := strings.Cut(property, "=")
			keys[key] = true
			switch {
			case slices.Contains([]string{"drive", "bus", "id", "subsys", "shared", "detached"}, key):
			case driver == "nvme" || slices.Contains([]string{"mdts", "zoned.zasl", "max_ioqpairs"}, key):
				controller = append(controller, property)
			default:
				space = append(space, property)
				if key == "logical_block_size" {
					logical = value
				}
			}
		}
	}
	if logical != "" && !keys["physical_block_size"] {
		space = append(space, "physical_block_size="+logical) // QEMU wants it to be no smaller
	}
	if !keys["serial"] {
		controller = append(controller, "serial=stock")
	}
	return []string{
		"-drive", "if=none,id=stock0,format=raw,file=" + file,
		"-device", strings.Join(controller, ","), "-device", strings.Join(space, ","),
	}
}

// An image made by create -o from a line of QEMU's gives the guest the drive that QEMU makes of the line: one QEMU has both,
// and every byte that they say of themselves is the same.
func TestDeviceLines(t *testing.T) {
	t.Parallel()
	imagetest.NeedsPrograms(t, "QEMU")
	dir := t.TempDir()
	program := filepath.Join(dir, "zimg")
	if out, err := exec.Command("go", "build", "-o", program, "zimg/cmd/zimg").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile("../../testdata/devicelines.txt")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, group := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.Split(group, "\n")
		name, size, _ := strings.Cut(lines[0], " ")
		lines = lines[1:]
		t.Run(name, func(t *testing.T) {
			path, raw := filepath.Join(dir, name+".zimg"), filepath.Join(dir, name+".raw")
			args := []string{"create"}
			for _, line := range lines {
				args = append(args, "-o", line)
			}
			out, err := exec.Command(program, append(args, path, size)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			im := open(t, path)
			n := im.Namespaces()[0]
			if err := os.WriteFile(raw, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(raw, int64(n.Size())); err != nil {
				t.Fatal(err)
			}
			var controllers [][]Property
			if m := regexp.MustCompile(`--device '?([^'\s]+)`).FindSubmatch(out); m != nil {
				props, err := ParseProperties(string(m[1]))
				if err != nil {
					t.Fatal(err)
				}
				controllers = [][]Property{props}
			}
			command := append([]string{"qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg"}, stockArgs(lines, raw)...)
			d := pausedWith(t, im, controllers, command...)
			got := answers(t, d, d.images[0].id, uint32(n.ID), n.ZDES > 0)
			want := answers(t, d, "stock", uint32(n.ID), n.ZDES > 0)
			for what, w := range want {
				if g := got[what]; !bytes.Equal(g, w) {
					i := 0
					for g[i] == w[i] {
						i++
					}
					t.Errorf("%s: byte %d: %#x, QEMU's own drive has %#x", what, i, g[i], w[i])
				}
			}
			if zones := le.Uint64(want["report-zones"]); zones != n.ZoneCount {
				t.Errorf("QEMU's own drive has %d zones, the image %d", zones, n.ZoneCount)
			}
		})
		tried++
	}
	if tried != 14 {
		t.Errorf("%d lines", tried)
	}
}
