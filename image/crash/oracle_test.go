package crash_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"

	"zimg/image"
	"zimg/image/crash"
	"zimg/layout"
)

// drive is what a drive would hold: the simplest model there is.
type drive struct {
	data []byte // of both namespaces, as they are in the file
	end  [4]int // blocks written, by zone
}

func (d *drive) clone() *drive { return &drive{bytes.Clone(d.data), d.end} }

func (d *drive) fill(off, length int, c byte) {
	for i := off; i < off+length; i++ {
		d.data[i] = c
	}
}

// workload makes random requests: commands for qemu-io and, for each write and for each flush that
// has something to do, the drive after it as it is and as it would be had the power failed.
func workload(rnd *rand.Rand, d *drive) (commands []string, kept, dropped map[crash.Kind][]*drive) {
	kept, dropped = map[crash.Kind][]*drive{}, map[crash.Kind][]*drive{}
	flushed, dirty := d.clone(), false
	for range 120 {
		kind := crash.AtWrite
		c := byte('a' + rnd.IntN(26))
		switch z := rnd.IntN(4); rnd.IntN(10) {
		case 0, 1, 2, 3, 4: // a write to a zone, some of zeroes
			n := min(1+rnd.IntN(6), 16-d.end[z])
			if n == 0 {
				continue
			}
			off := z*zone + d.end[z]*block
			command := fmt.Sprintf("write -P %d %d %d", c, off, n*block)
			if rnd.IntN(4) == 0 {
				c, command = 0, fmt.Sprintf("write -z -u %d %d", off, n*block)
			}
			d.fill(off, n*block, c)
			d.end[z] += n
			commands = append(commands, command)
		case 5: // a reset: it is durable at once
			if d.end[z] == 0 {
				continue
			}
			commands = append(commands, fmt.Sprintf("write -z -u %d %d", z*zone, zone))
			for _, d := range []*drive{d, flushed} {
				d.fill(z*zone, zone, 0)
				d.end[z] = 0
			}
		case 6, 7:
			first := rnd.IntN(16)
			n := 1 + rnd.IntN(16-first)
			d.fill(plainOff+first*block, n*block, c)
			commands = append(commands, fmt.Sprintf("write -P %d %d %d", c, plainOff+first*block, n*block))
		case 8:
			first := rnd.IntN(16)
			n := 1 + rnd.IntN(16-first)
			d.fill(plainOff+first*block, n*block, 0)
			commands = append(commands, fmt.Sprintf("discard %d %d", plainOff+first*block, n*block))
		case 9:
			if !dirty {
				continue
			}
			commands = append(commands, "flush")
			kind, flushed = crash.AtFlush, d.clone()
		}
		dirty = kind == crash.AtWrite
		kept[kind] = append(kept[kind], d.clone())
		dropped[kind] = append(dropped[kind], flushed.clone())
	}
	return commands, kept, dropped
}

// sameAs compares an image with d, and with the rules for zones.
func (d *drive) sameAs(t *testing.T, path string) error {
	t.Helper()
	im, err := image.Open(path, image.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = im.Close() }()
	for _, n := range im.Namespaces() {
		b := make([]byte, n.Size())
		if _, err := n.ReadAt(b, 0); err != nil {
			return err
		}
		want := d.data[n.DataOff:][:len(b)]
		for i := range b {
			if b[i] != want[i] {
				return fmt.Errorf("namespace %d byte %d: %q, want %q", n.ID, i, b[i], want[i])
			}
		}
	}
	i := 0
	for z, err := range im.Namespaces()[0].All(0, 4) {
		if err != nil {
			return err
		}
		want := layout.Closed
		switch d.end[i] {
		case 0:
			want = layout.Empty
		case 16:
			want = layout.Full
		}
		if z.Written != z.Start+layout.LBA(d.end[i]) || z.State != want {
			return fmt.Errorf("zone %d: %v to %d, want %v to %d", i, z.State, z.Written-z.Start, want, d.end[i])
		}
		i++
	}
	return nil
}

// QEMU's own filter records random requests: the image of every point is what a simple model
// of a drive has then, and the last one is the file that QEMU wrote.
func TestAgainstQEMU(t *testing.T) {
	t.Parallel()
	imagetest.NeedsPrograms(t, "qemu-io")
	for seed := range uint64(3) {
		path, dir := filepath.Join(t.TempDir(), "d.zimg"), filepath.Join(t.TempDir(), "rec")
		n := zoned(0)
		if err := image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}, {Namespace: plain}}}); err != nil {
			t.Fatal(err)
		}
		prepare(t, dir, path)
		commands, kept, dropped := workload(rand.New(rand.NewPCG(seed, 0)), &drive{data: make([]byte, plainOff+16*block)})
		nodes := fmt.Sprintf("driver=blklogwrites,file.driver=file,file.filename=%s,file.discard=unmap,log.driver=file,log.filename=%s,log-sector-size=512,discard=unmap",
			path, filepath.Join(dir, crash.LogName))
		qemu := exec.Command("qemu-io", "-t", "writeback", "--image-opts", nodes)
		qemu.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
		if out, err := qemu.CombinedOutput(); err != nil || bytes.Contains(out, []byte("failed")) {
			t.Fatalf("qemu-io: %v\n%s", err, out)
		}
		r := open(t, dir)
		for _, kind := range []crash.Kind{crash.AtWrite, crash.AtFlush} {
			points := r.Points(kind)
			// QEMU flushes once more when it ends.
			if len(points) < len(kept[kind]) || len(points) > len(kept[kind])+1 {
				t.Fatalf("seed %d: %d points of kind %s, want %d", seed, len(points), kind, len(kept[kind]))
			}
			for fate, want := range map[crash.Unflushed][]*drive{crash.Keep: kept[kind], crash.Drop: dropped[kind]} {
				w, err := r.Walk(t.Context(), r.Dir, fate, 1)
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range want {
					dst := w.Path(string(kind))
					if err := w.Make(dst, points[i]); err != nil {
						t.Fatal(err)
					}
					if err := d.sameAs(t, dst); err != nil {
						t.Fatalf("seed %d %s:%d %s: %v\n%s", seed, kind, i+1, fate, err, strings.Join(commands[:min(i+8, len(commands))], "\n"))
					}
					if err := os.Remove(dst); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		last := kept[crash.AtWrite][len(kept[crash.AtWrite])-1]
		if file, err := os.ReadFile(path); err != nil || !bytes.Equal(file[:plainOff+16*block], last.data) {
			t.Errorf("the model is not what QEMU does: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(dir, "*.zimg"))
		if err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// A walk makes the same images as one at a time.
func TestWalkIsMake(t *testing.T) {
	t.Parallel()
	l := first()
	l.write(plainOff, 'p', 5)
	l.finish(0)
	l.write(zone+2*block, 'f', 3)
	r := open(t, record(t, l, 0, true))
	for _, fate := range []crash.Unflushed{crash.Keep, crash.Drop, crash.Torn} {
		w, err := r.Walk(t.Context(), r.Dir, fate, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i, entries := range r.Points(crash.AtWrite) {
			one, other := w.Path("one"), w.Path("other")
			if err := w.Make(one, entries); err != nil {
				t.Fatal(err)
			}
			if err := r.Make(t.Context(), other, entries, fate, 7, i > 0); err != nil {
				t.Fatal(err)
			}
			if a, b := state(t, one), state(t, other); a != b {
				t.Errorf("write:%d %s: %s and %s", i+1, fate, a, b)
			}
			if err := os.Remove(one); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
