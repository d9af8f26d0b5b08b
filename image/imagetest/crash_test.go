package imagetest_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"zimg/image/disk"
	"zimg/image/imagetest"
)

const sector = imagetest.SectorSize

// history is what each sector and the size of a file have been since the last Sync.
type history struct {
	sizes   []int
	sectors []map[string]bool
}

func newHistory(m *model) *history {
	h := &history{sectors: make([]map[string]bool, 80)}
	h.add(m)
	return h
}

func (h *history) add(m *model) {
	h.sizes = append(h.sizes, len(m.b))
	for i := range h.sectors {
		var s [sector]byte
		if i*sector < len(m.b) {
			copy(s[:], m.b[i*sector:])
		}
		if h.sectors[i] == nil {
			h.sectors[i] = map[string]bool{}
		}
		h.sectors[i][string(s[:])] = true
	}
}

// TestAfterCrashOfOneFile checks every crash image against what the file has
// been since its last Sync: nothing else may be found, and nothing synced be lost.
func TestAfterCrashOfOneFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, now := imagetest.NewMemFS(), &model{}
		f := open(t, m, "a", disk.CreateNew)
		must(t, m.SyncDir("a"))
		synced, h := []byte{}, newHistory(now)
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "sync") == 0 {
				must(t, f.Sync())
				synced, h = slices.Clone(now.b), newHistory(now)
				continue
			}
			act(t, f, now, sector)
			h.add(now)
		}
		for what, after := range m.CrashImages(6) {
			got, err := after.ReadFile("a")
			must(t, err)
			if !slices.Contains(h.sizes, len(got)) {
				t.Fatalf("%s: size %d was none of %v", what, len(got), h.sizes)
			}
			for i := range len(got) / sector {
				if !h.sectors[i][string(got[i*sector:(i+1)*sector])] {
					t.Fatalf("%s: sector %d has what it never had", what, i)
				}
			}
			if again := after.AfterCrash(imagetest.KeepNone, 0); read(t, again, "a") != string(got) {
				t.Fatalf("%s: what was found was not durable", what)
			}
		}
		if got := read(t, m.AfterCrash(imagetest.KeepNone, 0), "a"); got != string(synced) {
			t.Fatal("keep none is not what was synced")
		}
		if got := read(t, m.AfterCrash(imagetest.KeepAll, 0), "a"); got != string(now.b) {
			t.Fatal("keep all is not what was written")
		}
		for _, p := range imagetest.Policies {
			if once, twice := read(t, m.AfterCrash(p, 7), "a"), read(t, m.AfterCrash(p, 7), "a"); once != twice {
				t.Fatalf("%v: one seed, two results", p)
			}
		}
		must(t, f.Sync())
		for what, after := range m.CrashImages(3) {
			if read(t, after, "a") != string(now.b) {
				t.Fatalf("%s: something synced was lost", what)
			}
		}
	})
}

// found collects which contents of "a" the crash images have.
func found(t *testing.T, m *imagetest.MemFS, name string, seeds int) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, after := range m.CrashImages(seeds) {
		all[read(t, after, name)] = true
	}
	return all
}

func TestCrashFindsReorderedAndTornWrites(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", bytes.Repeat([]byte{'0'}, 4*sector))
	f := open(t, m, "a", disk.ReadWrite)
	block := func(s string) string { return string(bytes.Repeat([]byte(s), sector)) }
	write(t, f, block("1")+block("1"), 0)
	write(t, f, block("2")+block("2"), 2*sector)
	all := found(t, m, "a", 200)
	for _, want := range []string{"0000", "1100", "0022", "1122", "1000", "0100", "0122", "1020"} {
		var s string
		for _, c := range want {
			s += block(string(c))
		}
		if !all[s] {
			t.Errorf("no crash image has %s", want)
		}
	}
	if len(all) != 16 {
		t.Errorf("%d different images, want all 16", len(all))
	}
}

func TestCrashOfSizes(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", []byte("old"))
	f := open(t, m, "a", disk.ReadWrite)
	must(t, f.Truncate(0))
	write(t, f, "new", 0)
	all := found(t, m, "a", 200)
	for _, want := range []string{"old", "", "\x00\x00\x00", "new"} {
		if !all[want] {
			t.Errorf("no crash image has %q", want)
		}
	}
}

func TestCrashOfNames(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("gone", []byte("gone"))
	m.WriteFile("old", []byte("old"))
	f := open(t, m, "new", disk.CreateNew)
	write(t, f, "new", 0)
	must(t, f.Sync())
	if all := found(t, m, "new", 20); !all["-"] || !all["new"] || len(all) != 2 {
		t.Errorf("a synced file of a name that is not: %v", all)
	}
	must(t, m.SyncDir("new"))
	if all := found(t, m, "new", 20); !all["new"] || len(all) != 1 {
		t.Errorf("a synced file of a synced name: %v", all)
	}
	must(t, m.Rename("new", "old"), m.Remove("gone"))
	seen := map[string]bool{}
	for what, after := range m.CrashImages(100) {
		old, fresh := read(t, after, "old"), read(t, after, "new")
		if !(old == "old" && fresh == "new") && !(old == "new" && fresh == "-") {
			t.Errorf("%s: half a rename: old has %q, new has %q", what, old, fresh)
		}
		seen[fmt.Sprint(old, read(t, after, "gone"))] = true
	}
	if len(seen) != 4 {
		t.Errorf("rename and removal are not independent: %v", seen)
	}
	must(t, m.SyncDir("old"))
	if all := found(t, m, "gone", 20); !all["-"] || len(all) != 1 {
		t.Errorf("the removal was synced: %v", all)
	}
}

func TestSyncDirIsOfOneDirectory(t *testing.T) {
	m := imagetest.NewMemFS()
	must(t, open(t, m, "d/a", disk.CreateNew).Close(), open(t, m, "e/a", disk.CreateNew).Close(), m.SyncDir("d/x"))
	if got := m.AfterCrash(imagetest.KeepNone, 0).Names(); len(got) != 1 {
		t.Errorf("durable are %q", got)
	}
}

// replace writes a file anew by way of a second one; with syncs or, to see whether
// the crash images find out, without one of them.
func replace(m *imagetest.MemFS, skip string) error {
	f, err := m.Open("tmp", disk.CreateNew, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("new"), 0); err != nil {
		return err
	}
	if skip != "sync" {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := m.Rename("tmp", "a"); err != nil {
		return err
	}
	if skip == "syncdir" {
		return nil
	}
	return m.SyncDir("a")
}

// TestCrashAtEveryOperation is how the rest of the project uses MemFS; that it
// fails the two careless ways shows that it can.
func TestCrashAtEveryOperation(t *testing.T) {
	for skip, want := range map[string]string{"": "", "sync": "torn", "syncdir": "undone"} {
		t.Run("without "+skip, func(t *testing.T) {
			verdict := ""
			for n := 1; ; n++ {
				m := imagetest.NewMemFS()
				m.WriteFile("a", []byte("old"))
				m.CrashAt(n)
				err := replace(m, skip)
				if err != nil && !errors.Is(err, imagetest.ErrCrashed) {
					t.Fatal(err)
				}
				for _, after := range m.CrashImages(10) {
					switch got := read(t, after, "a"); {
					case got != "old" && got != "new":
						verdict = "torn"
					case got == "old" && err == nil && verdict == "":
						verdict = "undone"
					}
				}
				if err == nil {
					if n < 4 {
						t.Fatalf("no crash at operation %d", n)
					}
					break
				}
			}
			if verdict != want {
				t.Errorf("verdict is %q, want %q", verdict, want)
			}
		})
	}
}

func TestEverythingFailsAfterTheCrash(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", []byte("old"))
	f := open(t, m, "a", disk.ReadWrite)
	m.CrashAt(2)
	write(t, f, "1", 0)
	for what, err := range map[string]error{
		"write": second(f.WriteAt([]byte("2"), 1)), "write after": second(f.WriteAt([]byte("3"), 2)),
		"read": second(f.ReadAt(make([]byte, 1), 0)), "sync": f.Sync(), "punch": f.PunchHole(0, 1), "truncate": f.Truncate(0),
		"seek": second(f.SeekData(0)), "lock": f.Lock(disk.LockRead), "size": second(f.Size()), "close": f.Close(),
		"open": second(m.Open("a", disk.ReadOnly, 0)), "stat": second(m.Stat("a")), "rename": m.Rename("a", "b"),
		"remove": m.Remove("a"), "syncdir": m.SyncDir("a"), "create": second(m.Open("b", disk.CreateNew, 0)),
	} {
		// The map's values are made in the order above: the first write is operation 2.
		if !errors.Is(err, imagetest.ErrCrashed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := m.Ops(); n != 2 {
		t.Errorf("%d operations, want none after the crash", n)
	}
	all := found(t, m, "a", 100)
	for _, want := range []string{"old", "1ld", "12d", "o2d"} {
		if !all[want] {
			t.Errorf("no crash image has %q", want)
		}
	}
	if len(all) != 4 {
		t.Errorf("crash images are %v", all)
	}
}
