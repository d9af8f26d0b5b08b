package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"zimg/image/imagetest"

	"zimg/image"
	"zimg/image/imagetest/guest"
	"zimg/layout"
)

// zimg runs a command in this process and returns what it printed.
func zimg(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := zimgStatus(args...)
	if code != 0 {
		t.Fatalf("zimg %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// zimgStatus is zimg for commands that may fail.
func zimgStatus(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(append([]string{"zimg"}, args...), streams{strings.NewReader(""), &out, &errs})
	return out.String(), errs.String(), code
}

func builtGuest(t *testing.T) guest.Guest {
	t.Helper()
	imagetest.NeedsPrograms(t, "QEMU")
	g, err := guest.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// boot runs script in a guest with the image attached by qemu-args.
func boot(t *testing.T, path, script string, more ...string) string {
	t.Helper()
	args := append(more, strings.Fields(zimg(t, "qemu-args", path))...)
	res, err := builtGuest(t).Run(t.Context(), args, "set -e\n"+script)
	if err != nil || res.Status != 0 {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	return res.Output
}

// section is what a script printed between "## name" and the next "## ".
func section(t *testing.T, output, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(output, "## "+name+"\n")
	if !ok {
		t.Fatalf("the script has not come to %q:\n%s", name, output)
	}
	text, _, _ := strings.Cut(rest, "## ")
	return text
}

// randomFile makes a file of n bytes and returns its path and SHA-256.
func randomFile(t *testing.T, n int) (path, sum string) {
	t.Helper()
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = src.Read(b)
	path = filepath.Join(t.TempDir(), "random")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%x", sha256.Sum256(b))
}

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// attrsInfo matches two keys of an nvme report; old versions print only one.
var attrsInfo = regexp.MustCompile(`"attrs":\d+,\s+"attrs_info":(\d+)`)

// A real kernel and the tools of the field see the image as zimg says it is.
func TestGuestSeesWhatZimgSays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--ns", "zones=16,zone-size=1M,zone-capacity=768K,max-open=4,max-active=6,descr-ext-size=64,block-size=512",
		"--ns", "zones=8,zone-size=4M,zone-capacity=3M", "--ns", "type=nvm,size=8M", path)
	before, beforeSum := randomFile(t, 300*1024)
	zimg(t, "write", "--ns", "1", "--zone", "2", path, before)
	zimg(t, "write", "--ns", "3", "--lba", "16", path, before)
	// Without zimg run the guest begins with Empty zones, so they are compared as such.
	zimg(t, "zone", "reset", "--ns", "1", path, "all")
	out := boot(t, path, `
for n in 1 2; do
	d=/dev/drive0n$n
	echo "## blkzone$n"; blkzone report $d
	echo "## nvme$n"; nvme zns report-zones $d -o json
	echo "## idns$n"; nvme zns id-ns $d -o json
	echo "## zbd$n"; zbd report $d
	echo "## zbdcsv$n"; zbd report -csv $d
	echo "## size$n"; blockdev --getsize64 $d
done
echo "## plain"; cat /sys/block/$(basename $(readlink -f /dev/drive0n3))/queue/zoned; blockdev --getsize64 /dev/drive0n3
echo "## before"; dd if=/dev/drive0n3 bs=4096 skip=16 count=75 2>/dev/null | sha256sum | cut -d' ' -f1
dd if=/dev/urandom of=/tmp/r bs=4096 count=64 2>/dev/null
dd if=/tmp/r of=/dev/drive0n1 bs=64K oflag=direct 2>/dev/null
dd if=/tmp/r of=/dev/drive0n3 bs=64K seek=32 oflag=direct conv=notrunc 2>/dev/null
echo "## written"; sha256sum </tmp/r | cut -d' ' -f1
`)
	for n := range 2 {
		ns := fmt.Sprint(n + 1)
		for _, form := range []struct{ section, output string }{{"blkzone", "blkzone"}, {"nvme", "nvme"}, {"zbd", "zbd"}, {"zbdcsv", "zbd-csv"}} {
			want := zimg(t, "report", "--ns", ns, "--output", form.output, path)
			if form.output == "nvme" {
				// nvme-cli before 2.4 says the info under the key of the attributes.
				want = attrsInfo.ReplaceAllString(want, `"attrs":$1`)
			}
			got := section(t, out, form.section+ns)
			if i := strings.Index(got, "Zone 00000"); form.output == "zbd" && i > 0 {
				got = got[i:]
			}
			if got != want {
				t.Errorf("namespace %s: %s in the guest\n%s\nzimg report --output %s\n%s", ns, form.section, got, form.output, want)
			}
		}
		var id struct {
			MAR, MOR int64 // nvme-cli prints "no limit" as -1
			LBAFE    []struct{ ZSZE, ZDES uint64 }
		}
		if err := json.Unmarshal([]byte(section(t, out, "idns"+ns)), &id); err != nil {
			t.Fatal(err)
		}
		var info infoView
		if err := json.Unmarshal([]byte(zimg(t, "info", "--output", "json", path)), &info); err != nil {
			t.Fatal(err)
		}
		v := info.FormatSpecific.Data.Namespaces[n]
		if got := strings.TrimSpace(section(t, out, "size"+ns)); got != fmt.Sprint(v.Size) {
			t.Errorf("namespace %s: %s bytes in the guest, %d by info", ns, got, v.Size)
		}
		if uint32(id.MAR) != layout.ZeroBased(uint32(v.Zoned.MaxAct)) || uint32(id.MOR) != layout.ZeroBased(uint32(v.Zoned.MaxOpen)) {
			t.Errorf("namespace %s: mar %d, mor %d in the guest, %d and %d by info", ns, id.MAR, id.MOR, v.Zoned.MaxAct, v.Zoned.MaxOpen)
		}
		var found bool
		for _, f := range id.LBAFE {
			found = found || int64(f.ZSZE)*v.BlockSize == v.Zoned.Size && int(f.ZDES)*64 == v.Zoned.ExtSize
		}
		if !found {
			t.Errorf("namespace %s: no LBA format of %+v has zones as info says: %+v", ns, id.LBAFE, v.Zoned)
		}
	}
	if got, want := section(t, out, "plain"), "none\n8388608\n"; got != want {
		t.Errorf("the plain namespace is %q, want %q", got, want)
	}
	if got := strings.TrimSpace(section(t, out, "before")); got != beforeSum {
		t.Errorf("the guest reads %s where zimg wrote %s", got, beforeSum)
	}
	written := strings.TrimSpace(section(t, out, "written"))
	for _, args := range [][]string{
		{"read", "--ns", "1", "--lba", "0", "--count", "512", path},
		{"read", "--ns", "3", "--lba", "512", "--count", "64", path},
	} {
		if got := sum(zimg(t, args...)); got != written {
			t.Errorf("zimg %s reads %s, the guest wrote %s", strings.Join(args, " "), got, written)
		}
	}
}

// A guest that writes every byte it can reach does not reach the metadata.
func TestGuestCannotReachMetadata(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--ns", "zones=4,zone-size=1M", "--ns", "type=nvm,size=3M", path)
	metadata := func() []byte {
		im, err := image.Open(path, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer closeQuietly(im)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b[im.Header().MetaOff:]
	}
	before := metadata()
	boot(t, path, `
tr '\0' '\377' </dev/zero | dd of=/dev/drive0n1 bs=1M count=4 iflag=fullblock oflag=direct 2>/dev/null
tr '\0' '\377' </dev/zero | dd of=/dev/drive0n2 bs=1M count=3 iflag=fullblock oflag=direct 2>/dev/null
! tr '\0' '\377' </dev/zero | dd of=/dev/drive0n2 bs=4096 count=1 seek=768 iflag=fullblock oflag=direct 2>/dev/null
`)
	if !bytes.Equal(before, metadata()) {
		t.Error("the metadata area has changed")
	}
	full := strings.Repeat("\xff", 3<<20)
	if got := zimg(t, "read", "--ns", "2", "--lba", "0", path); got != full {
		t.Error("the guest's data did not arrive in the plain namespace")
	}
}
