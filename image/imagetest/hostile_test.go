package imagetest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"zimg/image/imagetest"
)

const hostileDir = "../../testdata/hostile"

// The corpus in testdata is what the generator makes. UPDATE=1 writes it.
func TestHostileCorpus(t *testing.T) {
	t.Parallel()
	list, err := imagetest.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 200 {
		t.Errorf("%d files, want 200 at least", len(list))
	}
	want := map[string][]byte{}
	for _, f := range list {
		if want[f.Name+".gz"] != nil {
			t.Errorf("two files are called %s", f.Name)
		}
		want[f.Name+".gz"] = append([]byte{}, f.Data...)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.RemoveAll(hostileDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(hostileDir, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, data := range want {
			var b bytes.Buffer
			z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := z.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(hostileDir, name), b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	have, err := os.ReadDir(hostileDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range have {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("%s is not made by the generator", e.Name())
		}
	}
	for name, data := range want {
		packed, err := os.ReadFile(filepath.Join(hostileDir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s is not what the generator makes, %v", name, err)
		}
	}
}
