package image_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// A file that appears while an image is made in its place stays, and the error has the name that the user gave.
func TestNameTakenMeanwhile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.zimg")
	n := layout.Namespace{CSI: layout.ZNS, BlockBits: 12, Blocks: 4, ZoneCount: 4, ZoneSize: 1, ZoneCap: 1, MAR: layout.NoLimit, MOR: layout.NoLimit}
	err := image.Create(name, image.CreateOptions{
		Namespaces: []image.NamespaceSpec{{Namespace: n}},
		Fill:       func([]disk.File, *layout.Plan) error { return os.WriteFile(name, []byte("mine"), 0o600) },
	})
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), " "+name+":") || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}
