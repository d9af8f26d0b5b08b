package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"
)

// An image that somebody packed, as a virtual disk of another program or compressed, is named for what it is by
// every command, and the command of the hint makes the image of it again.
func TestPackedImages(t *testing.T) {
	if testing.Short() {
		t.Skip("packs an image in every format of qemu-img")
	}
	imagetest.NeedsPrograms(t, "qemu-img, gzip, xz, zstd, bzip2, lz4, zip")
	dir := t.TempDir()
	t.Chdir(dir)
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "disk.zimg")
	data, _ := randomFile(t, 100000)
	zimg(t, "write", "--zone", "1", "disk.zimg", data)
	shell := func(command string) {
		t.Helper()
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	shell("printf secret > PASSPHRASEFILE")
	const key = "--object secret,id=s,file=PASSPHRASEFILE"
	for _, c := range []struct{ name, title, pack string }{
		{"q w.qcow2", "a qcow2 file without zones", "qemu-img convert -O qcow2 disk.zimg"},
		{"disk.zimg.qcow2", "a qcow2 file without zones", "qemu-img convert -c -O qcow2 disk.zimg"},
		{"old", "a qcow file", "qemu-img convert -O qcow disk.zimg"},
		{"disk.qed", "a QED file", "qemu-img convert -O qed disk.zimg"},
		{"disk.vmdk", "a VMDK file", "qemu-img convert -O vmdk disk.zimg"},
		{"stream.vmdk", "a VMDK file", "qemu-img convert -O vmdk -o subformat=streamOptimized disk.zimg"},
		{"flat.vmdk", "a VMDK descriptor", "qemu-img convert -O vmdk -o subformat=monolithicFlat disk.zimg"},
		{"disk.vdi", "a VDI file", "qemu-img convert -O vdi disk.zimg"},
		{"disk.vhdx", "a VHDX file", "qemu-img convert -O vhdx disk.zimg"},
		{"disk.vhd", "a VHD file", "qemu-img convert -O vpc -o force_size=on disk.zimg"},
		{"fixed.vhd", "a VHD file", "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on disk.zimg"},
		{"disk.hdd", "a Parallels disk", "qemu-img convert -O parallels disk.zimg"},
		{"disk.luks", "a LUKS volume", "qemu-img convert " + key + " -O luks -o key-secret=s,iter-time=10 disk.zimg"},
		{"secret.qcow2", "an encrypted qcow2 file", "qemu-img convert " + key + " -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 disk.zimg"},
		{"disk.zimg.gz", "compressed with gzip", "gzip -c disk.zimg >"},
		{"disk.xz", "compressed with xz", "xz -0c disk.zimg >"},
		{"disk.zst", "compressed with zstd", "zstd -qc disk.zimg >"},
		{"disk.zimg.bz2", "compressed with bzip2", "bzip2 -c disk.zimg >"},
		{"disk.lz4", "compressed with lz4", "lz4 -qc disk.zimg >"},
		{"disk.zip", "a zip archive", "zip -q - disk.zimg >"},
		{"disk.tar", "a tar archive", "tar -cS disk.zimg >"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "_"))
			if err := os.Mkdir(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			t.Chdir(folder)
			shell("ln ../disk.zimg ../PASSPHRASEFILE .; " + c.pack + " '" + c.name + "'; rm disk.zimg")
			var hint string
			for _, command := range [][]string{
				{"info"},
				{"report"},
				{"check"},
				{"check", "--repair"},
				{"map"},
				{"dump"},
				{"read"},
				{"append", "--zone", "0"},
				{"write", "--zone", "0"},
				{"snapshot", "-c", "a"},
				{"qemu-args"},
				{"serve"},
				{"restore"},
			} {
				_, stderr, code := zimgStatus(append(command, c.name)...)
				line, now, _ := strings.Cut(stderr, "hint: ")
				if code != 1 || !strings.Contains(line, "not a zimg image") || !strings.Contains(now, " is "+c.title+"; to ") {
					t.Errorf("zimg %s: status %d: %s", strings.Join(command, " "), code, stderr)
				}
				hint = now
			}
			for _, command := range [][]string{
				{"zone", "reset", c.name, "0"},
				{"resize", c.name, "+1"},
				{"compare", c.name, c.name},
				{"convert", c.name, "dst"},
				{"convert", "-f", "raw", "--geometry", "zone-size=4K", c.name, "dst"},
				{"create", "--like", c.name, "dst"},
			} {
				if _, stderr, code := zimgStatus(command...); code == 0 || !strings.Contains(stderr, c.title) {
					t.Errorf("zimg %s: status %d: %s", strings.Join(command, " "), code, stderr)
				}
			}
			_, run, ok := strings.Cut(hint, "run: ")
			if !ok {
				t.Fatalf("no command in the hint %q", hint)
			}
			before, _ := os.ReadDir(".")
			shell(run)
			after, _ := os.ReadDir(".")
			known := map[string]bool{}
			for _, e := range before {
				known[e.Name()] = true
			}
			var made []string
			for _, e := range after {
				if !known[e.Name()] {
					made = append(made, e.Name())
				}
			}
			if len(made) != 1 {
				t.Fatalf("%s made %q", run, made)
			}
			if _, stderr, code := zimgStatus("compare", "../disk.zimg", made[0]); code != 0 {
				t.Errorf("%s: what it made: status %d: %s", run, code, stderr)
			}
		})
	}
}
